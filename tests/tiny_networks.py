"""Models and images small enough to scan in milliseconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from prunebench.data import Examples

CLASSES = 4


def images(count: int = 90, *, seed: int = 0) -> Examples:
    """Random images and labels: which are right is chance, and changes with every weight."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return Examples(
        pixels.contiguous(memory_format=torch.channels_last), torch.randint(0, CLASSES, (count,), generator=generator)
    )


class Plain(nn.Module):
    """Convolutions in a sequence, a function and a linear layer, as the VGG."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.backbone(images).mean(dim=(2, 3)))


class Residual(nn.Module):
    """A value that is used again after the layers that follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.third = nn.Conv2d(6, 6, 1)
        self.classifier = nn.Linear(6, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        skipped = self.first(images).relu()
        added = self.third(self.second(skipped).relu()) + skipped
        return self.classifier(added.relu().mean(dim=(2, 3)))


class Centred(Residual):
    """A constant in the code, which tracing makes an attribute of."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))


class Spoiling(Residual):
    """Adds into the value it skipped with: recomputing from it a second time starts from another value."""

    def forward(self, images: Tensor) -> Tensor:
        skipped = self.first(images).relu()
        skipped.add_(self.third(self.second(skipped).relu()))
        return self.classifier(skipped.relu().mean(dim=(2, 3)))


class Adding(Residual):
    """As Spoiling, but goes on with the sum: that the value was spoiled shows only where something was added."""

    def forward(self, images: Tensor) -> Tensor:
        skipped = self.first(images).relu()
        added = skipped.add_(self.third(self.second(skipped).relu()))
        return self.classifier(added.relu().mean(dim=(2, 3)))


class Stating(Residual):
    """Changes a value in place by a statement: no operation reads what that one returns."""

    def forward(self, images: Tensor) -> Tensor:
        features = self.second(self.first(images))
        features.relu_()
        return self.classifier(self.third(features).mean(dim=(2, 3)))


class Normalising(Residual):
    """Changes the images it is given, the second time by a statement."""

    def forward(self, images: Tensor) -> Tensor:
        images.sub_(0.5).div_(0.2)
        return super().forward(images)


class Rereading(Residual):
    """Reads a value again that was changed in place by what came between."""

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images)
        beside = self.second(features.relu_())
        return self.classifier((beside + self.third(features + features.flip(3))).mean(dim=(2, 3)))


class SequenceFirst(nn.Module):
    """Layers over pixels, which come before the images, as in torch's transformers by default."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 8)
        self.second = nn.Linear(8, 8)
        self.classifier = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.first(images.flatten(2).permute(2, 0, 1)).relu()
        return self.classifier(self.second(tokens).relu().mean(dim=0))


class Prototypes(Plain):
    """Compares with normalised weights, one for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(CLASSES * 5, CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        scores = linear(super().forward(images), nn.functional.normalize(self.prototypes))
        return scores.unflatten(1, (CLASSES, 5)).sum(dim=2)


class Keeping(Plain):
    """Keeps what it computes: to count with, and to be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.looked_at: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.asked = self.asked + images.mean()
        scores = super().forward(images)
        self.looked_at = [scores]
        return scores


class Branching(Plain):
    """Its path depends on its input: it cannot be traced."""

    def forward(self, images: Tensor) -> Tensor:
        features = self.backbone(images)
        if features.mean() > 0:
            features = features * 2
        return self.classifier(features.mean(dim=(2, 3)))


class Direct(nn.Module):
    """Weights that no module of their own applies, one of them used twice; one that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Parameter(torch.randn(8 * 8 * 3, 8 * 8 * 3) / 14)
        self.head = nn.Parameter(torch.randn(CLASSES, 8 * 8 * 3) / 14)
        self.unused = nn.Parameter(torch.randn(4, 4))

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        hidden = linear(linear(flat, self.shared).relu(), self.shared)
        return linear(hidden.relu(), self.head)


class Folded(Direct):
    """Multiplies two weights of a list by one another: tracing computes that once and for all."""

    def __init__(self) -> None:
        super().__init__()
        self.listed = [self.head, self.shared]

    def forward(self, images: Tensor) -> Tensor:
        return linear(images.flatten(1), self.listed[0] @ self.listed[1])


class Branches(nn.Module):
    """Two branches that know nothing of one another, and meet."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 6, 3, padding=1)
        self.right = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(inplace=True), nn.Conv2d(6, 6, 1))
        self.classifier = nn.Linear(6, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        left = self.left(images).relu()
        return self.classifier((left + self.right(images)).mean(dim=(2, 3)))


class Sequence(nn.Sequential):
    """One-dimensional convolutions: weights of three dimensions."""

    def __init__(self) -> None:
        super().__init__(
            nn.Flatten(2),
            nn.Conv1d(3, 5, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(5, 5, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(1),
            nn.Linear(5 * 64, CLASSES),
        )


def built(kind: type[nn.Module], *, seed: int = 0) -> nn.Module:
    """Freshly initialised, by seed, batch norm with statistics of its own."""
    torch.manual_seed(seed)
    model = kind()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model


def calls_of(model: nn.Module) -> list[str]:
    """The names of the layers that are run from now on, as they are."""
    calls: list[str] = []
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    return calls
