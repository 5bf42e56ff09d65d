"""The documented evaluation in plain PyTorch, without prunebench: an oracle for its counts of right answers.

    python tests/oracles/plain_pytorch.py CIFAR10.tar.xz CHECKPOINT.pth

prints how many of the 10,000 test images the dense model and the model pruned by run 3 get right.
"""

from __future__ import annotations

import io
import sys
import tarfile
from collections import OrderedDict

import numpy as np
import torch
from PIL import Image
from torch import nn

RUN3 = {"conv3": 0.65, "conv4": 0.60, "conv5": 0.65, "conv6": 0.75, "conv7": 0.90}


def vgg(state: dict[str, torch.Tensor]) -> nn.Module:
    layers: list[tuple[str, nn.Module]] = []
    channels = 3
    for i, width in enumerate([64, 128, 256, 256, 512, 512, 512, 512]):
        layers += [
            (f"conv{i}", nn.Conv2d(channels, width, 3, padding=1, bias=False)),
            (f"bn{i}", nn.BatchNorm2d(width)),
        ]
        layers += [(f"relu{i}", nn.ReLU())] + ([(f"pool{i}", nn.MaxPool2d(2))] if i in {1, 3, 5, 7} else [])
        channels = width
    model = nn.ModuleDict({"backbone": nn.Sequential(OrderedDict(layers)), "classifier": nn.Linear(512, 10)})
    model.load_state_dict(state)
    return nn.Sequential(model["backbone"], nn.AdaptiveAvgPool2d(1), nn.Flatten(), model["classifier"]).eval()


def prune(state: dict[str, torch.Tensor], sparsity: dict[str, float]) -> dict[str, torch.Tensor]:
    pruned = dict(state)
    for layer, fraction in sparsity.items():
        weight = state[f"backbone.{layer}.weight"]
        threshold = weight.abs().flatten().kthvalue(round(fraction * weight.numel())).values
        pruned[f"backbone.{layer}.weight"] = weight * (weight.abs() > threshold)
    return pruned


def test_images(archive: str) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = [], []
    with tarfile.open(archive) as tar:
        members = sorted(
            (m for m in tar.getmembers() if m.name.startswith("test/") and m.isfile()), key=lambda m: m.name
        )
        classes = sorted({member.name.split("/")[1] for member in members})
        for member in members:
            file = tar.extractfile(member)
            assert file is not None
            images.append(torch.from_numpy(np.array(Image.open(io.BytesIO(file.read())).convert("RGB"))))
            labels.append(classes.index(member.name.split("/")[1]))
    return torch.stack(images).permute(0, 3, 1, 2) / 255, torch.tensor(labels)


@torch.no_grad()
def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([model(batch) for batch in images.split(512)])


if __name__ == "__main__":
    inputs, targets = test_images(sys.argv[1])
    dense = torch.load(sys.argv[2], map_location="cpu", weights_only=True)
    for name, weights in (("dense", dense), ("run 3", prune(dense, RUN3))):
        right = int((logits(vgg(weights), inputs).argmax(1) == targets).sum())
        print(f"{name}: {right} of {len(targets)} right")
