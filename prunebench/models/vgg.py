"""The CIFAR-10 VGG of the documented runs, under its documented parameter names."""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

from torch import Tensor, nn

CONFIGURATION: tuple[int | str, ...] = (64, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


class VGG(nn.Module):
    """Convolution, batch-norm and ReLU blocks, 2x2 max-pools (`M`), mean over height and width, one linear layer.

    Input: float images (n, 3, height, width) in [0, 1], no mean/std normalisation, height and width multiples of 16.
    Output: logits (n, classes). 9,228,362 parameters; 605,754,368 multiply-accumulates an image at 32x32.
    Source: MIT 6.5940 (EfficientML.ai), Lab 1.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels, block, pool = 3, 0, 0
        for entry in CONFIGURATION:
            if entry == "M":
                layers[f"pool{pool}"] = nn.MaxPool2d(2)
                pool += 1
                continue
            width = cast(int, entry)
            layers[f"conv{block}"] = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
            layers[f"bn{block}"] = nn.BatchNorm2d(width)
            layers[f"relu{block}"] = nn.ReLU(inplace=True)
            channels, block = width, block + 1
        self.backbone = nn.Sequential(layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, 3, height, width)."""
        features = self.backbone(images).mean(dim=(2, 3))
        return cast(Tensor, self.classifier(features))
