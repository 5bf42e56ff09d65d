"""Small architectures, each pruned by channel: what is shared in them, and how, differs. No command of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import cast

import torch
import torchvision
from torch import Tensor, nn

from prunebench.models import build_model, prunable_parameters
from prunebench.pruning import prune_


class UNet(nn.Module):
    """Down, up by a transposed convolution, and what was before beside it; answers by the mean of each map."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle, self.up = step(3, 8), step(8, 16), nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.last, self.maps = step(16, 8), nn.Conv2d(8, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (n, 4) of images (n, 3, height, width)."""
        first = self.down(images)
        deep = self.up(self.middle(nn.functional.max_pool2d(first, 2)))
        return cast(Tensor, self.maps(self.last(torch.cat([deep, first], dim=1))).mean(dim=(2, 3)))


class Recurrent(nn.Module):
    """An LSTM over tokens, and a linear layer on its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.lstm, self.classifier = (
            nn.Embedding(20, 12),
            nn.LSTM(12, 16, batch_first=True),
            nn.Linear(16, 5),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores (n, 5) of tokens (n, length)."""
        return cast(Tensor, self.classifier(self.lstm(self.tokens(tokens))[0][:, -1]))


def step(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


@dataclass(frozen=True)
class Architecture:
    """A model and how to prune it.

    Attributes:
        dense: patterns of weights that are not pruned, first that of the layer which answers.
        least: the share of parameters that shrinking removes.
    """

    build: Callable[[], nn.Module]
    dense: tuple[str, ...]
    least: float
    size: int = 16

    def inputs(self, count: int = 4, *, seed: int = 1) -> Tensor:
        """Normal noise (count, 3, size, size), or tokens (count, 7)."""
        generator = torch.Generator().manual_seed(seed)
        if self.build is Recurrent:
            return torch.randint(0, 20, (count, 7), generator=generator)
        return torch.randn(count, 3, self.size, self.size, generator=generator)

    def masked(self, sparsity: float = 0.5, *, granularity: str = "channel") -> nn.Module:
        """The model with channels pruned, and statistics of batch norm as if fine-tuned."""
        torch.manual_seed(0)
        model = self.build().train()
        norms = [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
        for norm in norms:
            norm.weight.data.uniform_(0.5, 1.5)
            norm.bias.data.normal_()
        plan = {name: 0.0 if any(fnmatchcase(name, each) for each in self.dense) else sparsity
                for name in prunable_parameters(model)}  # fmt: skip
        prune_(model, plan, granularity=granularity, example=self.inputs())
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            model(self.inputs(32, seed=0))
        for norm in norms:
            norm.momentum = 0.1
        return model.eval()


def resnet(name: str, shortcut: str) -> Architecture:
    least = 0.45 if name == "resnet20" else 0.4
    return Architecture(partial(build_model, name, {"shortcut": shortcut}), ("linear.weight",), least)


ARCHITECTURES = {
    "vgg": Architecture(partial(build_model, "vgg"), ("classifier.weight",), 0.7),
    "resnet20": resnet("resnet20", "projection"),
    "resnet20-padding": resnet("resnet20", "padding"),
    "resnet56": resnet("resnet56", "projection"),
    "resnet56-padding": resnet("resnet56", "padding"),
    "densenet": Architecture(
        partial(torchvision.models.DenseNet, growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=10),
        ("classifier.weight",), 0.35, size=32,
    ),
    "mobilenet": Architecture(
        partial(torchvision.models.MobileNetV2, width_mult=0.25, num_classes=10), ("classifier.1.weight",), 0.4, size=32
    ),
    "vit": Architecture(partial(build_model, "vit"), ("head.weight", "positions.weight"), 0.3),
    "lstm": Architecture(Recurrent, ("classifier.weight", "tokens.weight"), 0.2),
    "unet": Architecture(UNet, ("maps.weight", "up.weight"), 0.4),
}  # fmt: skip
