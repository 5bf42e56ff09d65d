"""Examples held whole as two tensors, and a data set as a training and a test set of them."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from prunebench.errors import DataError
from prunebench.machine.values import value_bytes


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """Mean and std of each channel: a model gets an image in [0, 1] less `mean`, over `std`.

    Raises:
        DataError: not one number of each a channel, or a `std` that is not above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise DataError(f"normalize needs one mean and one std a channel, got {len(self.mean)} and {len(self.std)}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            for value in values:
                if not math.isfinite(value) or (name == "std" and value <= 0):
                    least = " above 0" if name == "std" else ""
                    raise DataError(f"{name} of normalize must be finite numbers{least}, got {value}")

    def apply(self, images: Tensor) -> Tensor:
        """Normalised float images (n, channels, ...).

        Raises:
            DataError: they have another number of channels.
        """
        if images.dim() < 2 or images.shape[1] != len(self.mean):
            raise DataError(f"normalize is for {len(self.mean)} channels, got inputs of shape {tuple(images.shape)}")
        shape = (1, -1, *(1,) * (images.dim() - 2))
        mean, std = (torch.tensor(values, device=images.device).view(shape) for values in (self.mean, self.std))
        return (images - mean) / std


@dataclass(frozen=True)
class Examples:
    """Inputs and targets, whole, in a fixed order.

    Attributes:
        inputs: (n, ...). uint8 images (n, channels, height, width), which a model gets as floats in [0, 1]; anything
            else a model gets as it is: float features, int64 tokens.
        targets: (n, ...); of a classification int64 (n,), each an index into the classes.
        normalization: of images, after they were made floats.
    """

    inputs: Tensor
    targets: Tensor
    normalization: Normalization | None = None

    def __post_init__(self) -> None:
        for name, value in (("inputs", self.inputs), ("targets", self.targets)):
            if not isinstance(value, Tensor):
                got = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
                raise DataError(f"{name} must be a torch tensor, got a {got}: torch.as_tensor makes one of it")
        if self.inputs.dim() < 2 or (self.inputs.dtype == torch.uint8 and self.inputs.dim() != 4):
            raise DataError(
                "inputs must be (n, ...), and images uint8 (n, channels, height, width), got "
                f"{self.inputs.dtype} of shape {tuple(self.inputs.shape)}"
            )
        if self.targets.shape[:1] != self.inputs.shape[:1]:
            raise DataError(
                f"targets must be one for each of the {len(self.inputs)} inputs, got shape {tuple(self.targets.shape)}"
            )

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.inputs.shape[1:])

    def take(self, indices: Tensor) -> Examples:
        """The examples at `indices`, in that order."""
        inputs = self.inputs[indices]
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return replace(self, inputs=inputs, targets=self.targets[indices])

    def to(self, device: torch.device) -> Examples:
        """The same examples on `device`."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))

    def fed(self, inputs: Tensor) -> Tensor:
        """Prepare `inputs`, of this set or made of its own, as a model gets them: (n, ...), images normalised."""
        if inputs.dtype == torch.uint8:
            inputs = to_float(inputs)
        return inputs if self.normalization is None else self.normalization.apply(inputs)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over shape, targets and inputs, in order: two orders of the same examples are two digests."""
        images = self.inputs.dtype == torch.uint8
        about: list[object] = list(self.inputs.shape)
        if not images or self.targets.dtype != torch.int64:
            about = [about, str(self.inputs.dtype), str(self.targets.dtype), list(self.targets.shape)]
        if self.normalization:
            about = [about, self.normalization.mean, self.normalization.std]
        digest = hashlib.sha256(json.dumps(about).encode())
        digest.update(value_bytes(self.targets).data)
        digest.update(value_bytes(self.inputs.permute(0, 2, 3, 1) if images else self.inputs).data)
        return digest.hexdigest()


def to_float(images: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1], the values of torchvision's `ToTensor`."""
    # By a tensor: CUDA multiplies by the reciprocal of a number, which rounds some of the 256 values differently.
    return images.float().div_(torch.full((), 255.0, device=images.device))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A training and a test set.

    Attributes:
        classes: of a classification, in the order of the targets; else empty.
        origin: where it was found, for people (a path, or "scikit-learn"); not part of the digest.
        is_original: whether it is known to be the data set as published, and not a copy that may be harder.
        source: what it was decoded from, where a decoded copy is kept; None where loading reads the source each time.
    """

    name: str
    train: Examples
    test: Examples
    classes: tuple[str, ...] = ()
    origin: str = ""
    is_original: bool = False
    source: Path | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 over classes and both sets. Two copies of one data set that differ in a pixel differ here."""
        parts = [list(self.classes), self.train.digest, self.test.digest]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def normalized(self, normalization: Normalization | None) -> Dataset:
        """The same data, whose images are normalised before a model gets them."""
        if normalization is None:
            return self
        sets = {name: replace(getattr(self, name), normalization=normalization) for name in ("train", "test")}
        return replace(self, **sets)

    def with_test_images(self, count: int) -> Dataset:
        """The same data with `count` test examples: the first of one shuffle, so that more of them begin with these.

        Its name and digest say so.

        Raises:
            DataError: there are not so many.
        """
        if not 0 < count <= len(self.test):
            raise DataError(f"test images must be between 1 and {len(self.test):,}, got {count:,}")
        order = torch.randperm(len(self.test), generator=torch.Generator().manual_seed(0))
        name = f"{self.name}, {count:,} of {len(self.test):,} test images"
        return replace(self, name=name, test=self.test.take(order[:count]))


def split_validation(train: Examples, *, size: int, seed: int) -> tuple[Examples, Examples]:
    """The training set less `size` examples chosen by `seed`, and those examples, to choose the epoch on.

    Raises:
        DataError: `size` leaves one of the two empty.
    """
    if not 0 < size < len(train):
        raise DataError(f"validation size must be between 1 and {len(train) - 1}, got {size}")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    return train.take(order[size:].sort().values), train.take(order[:size].sort().values)
