"""ResNets for CIFAR-10 (He et al. 2016, Deep Residual Learning for Image Recognition, section 4.2)."""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor, nn
from torch.nn.functional import pad, relu

Shortcut = Literal["projection", "padding"]


class ResNet(nn.Module):
    """Three stages of `blocks` residual blocks of 16, 32 and 64 channels, mean over positions, one linear layer.

    Input: float images (n, 3, height, width), usually 32x32. Output: logits (n, classes).
    With 3 blocks a stage (ResNet-20) and `projection` shortcuts: 270,896 convolution and linear weights, 40,813,184
    multiply-accumulates an image; with 9 (ResNet-56): 851,504 and 125,747,840. With `padding` shortcuts, which have no
    parameters: 268,336 and 848,944 weights.

    Args:
        blocks: a stage.
        shortcut: where channels double: `projection`, a 1x1 convolution with batch norm (the paper's option B), or
            `padding`, every second position and zeros for the new channels (option A, which the paper used here).
    """

    def __init__(self, blocks: int, *, shortcut: Shortcut = "projection", classes: int = 10) -> None:
        super().__init__()
        if shortcut not in ("projection", "padding"):
            raise ValueError(f"shortcut must be 'projection' or 'padding', got {shortcut!r}")
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(blocks, 16, 16, shortcut)
        self.layer2 = _stage(blocks, 16, 32, shortcut)
        self.layer3 = _stage(blocks, 32, 64, shortcut)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, 3, height, width)."""
        features = relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        return cast(Tensor, self.linear(features.mean(dim=(2, 3))))


def _stage(blocks: int, channels: int, width: int, shortcut: Shortcut) -> nn.Sequential:
    first = Block(channels, width, stride=1 if channels == width else 2, shortcut=shortcut)
    return nn.Sequential(first, *(Block(width, width, stride=1, shortcut=shortcut) for _ in range(blocks - 1)))


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to their input."""

    def __init__(self, channels: int, width: int, *, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            if shortcut == "projection":
                self.downsample = nn.Sequential(
                    nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
                )
            else:
                self.downsample = PaddingShortcut(stride, channels, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features (n, width, height / stride, width / stride)."""
        features = relu(self.bn1(self.conv1(inputs)))
        return relu(self.bn2(self.conv2(features)) + self.downsample(inputs))


class PaddingShortcut(nn.Module):
    """Every `stride`-th position, and channels of zeros on both sides of the `channels` there are, `width` in all.

    Attributes:
        before: the channels of zeros before the input's.
    """

    def __init__(self, stride: int, channels: int, width: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (width - channels) // 2
        self.out_channels = width

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, out_channels, height / stride, width / stride)."""
        after = self.out_channels - self.before - inputs.shape[1]
        return pad(inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, after))

    def extra_repr(self) -> str:
        """Settings that `repr` shows."""
        return f"stride={self.stride}, before={self.before}, out_channels={self.out_channels}"


def resnet20(*, shortcut: Shortcut = "projection", classes: int = 10) -> ResNet:
    """ResNet-20: three blocks a stage."""
    return ResNet(3, shortcut=shortcut, classes=classes)


def resnet56(*, shortcut: Shortcut = "projection", classes: int = 10) -> ResNet:
    """ResNet-56: nine blocks a stage."""
    return ResNet(9, shortcut=shortcut, classes=classes)
