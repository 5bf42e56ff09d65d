"""A workload: horizontal or vertical strokes in noise."""

import torch
from torch import nn

import prunebench as pb


class Strokes(pb.Workload):
    """Trains itself in a second."""

    name = "strokes"
    trains_itself = True
    recipes = {
        "quick": pb.Recipe(epochs=1, batch_size=32, learning_rate=0.01),
        "dense": pb.Recipe(epochs=4, batch_size=32, learning_rate=0.05),
    }

    def build(self):
        """A small network."""
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, 2)
        )

    def data(self, source=None, progress=None):
        """Pictures of 8x8."""
        return pb.Dataset(name="strokes", train=pictures(400, 1), test=pictures(200, 2), classes=("row", "column"))


def pictures(count, seed):
    """As many of both kinds."""
    drawn = torch.Generator().manual_seed(seed)
    images = torch.rand((count, 1, 8, 8), generator=drawn) / 2
    places = torch.randint(8, (count,), generator=drawn)
    for index, place in enumerate(places):
        (images[index, 0, place] if index % 2 else images[index, 0, :, place]).fill_(1)
    return pb.Examples(images, 1 - torch.arange(count) % 2)
