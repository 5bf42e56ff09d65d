"""Labelled images as two tensors, and a data set as a training and a test set of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from prunebench.errors import DataError


@dataclass(frozen=True)
class ImageSet:
    """Labelled images, whole, in a fixed order.

    Attributes:
        images: uint8 (n, 3, height, width), usually channels_last in memory.
        labels: int64 (n,), each an index into the data set's classes.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        for name, value in (("images", self.images), ("labels", self.labels)):
            if not isinstance(value, Tensor):
                got = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
                raise DataError(f"{name} must be a torch tensor, got a {got}: torch.as_tensor makes one of it")
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise DataError(
                f"images must be uint8 (n, channels, height, width), got {self.images.dtype} "
                f"of shape {tuple(self.images.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"labels must be int64, one for each of the {len(self.images)} images, got {self.labels.dtype} "
                f"of shape {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> ImageSet:
        """The images at `indices`, in that order."""
        images = self.images[indices].contiguous(memory_format=torch.channels_last)
        return ImageSet(images, self.labels[indices])

    def to(self, device: torch.device) -> ImageSet:
        """The same images on `device`."""
        return ImageSet(self.images.to(device), self.labels.to(device))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over shape, labels and pixels, in order: two orders of the same images are two digests."""
        digest = hashlib.sha256(json.dumps(list(self.images.shape)).encode())
        digest.update(self.labels.cpu().numpy().tobytes())
        digest.update(self.images.cpu().permute(0, 2, 3, 1).contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A training and a test set with the same classes.

    Attributes:
        origin: where it was found, for people (a path, or "scikit-learn"); not part of the digest.
        is_original: whether it is known to be the data set as published, and not a copy that may be harder.
        source: what it was decoded from, where a decoded copy is kept; None where loading reads the source each time.
    """

    name: str
    train: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    origin: str
    is_original: bool = False
    source: Path | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 over classes and both sets. Two copies of one data set that differ in a pixel differ here."""
        parts = [list(self.classes), self.train.digest, self.test.digest]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def split_validation(train: ImageSet, *, size: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """The training set less `size` images chosen by `seed`, and those images, to choose the epoch on.

    Raises:
        DataError: `size` leaves one of the two empty.
    """
    if not 0 < size < len(train):
        raise DataError(f"validation size must be between 1 and {len(train) - 1}, got {size}")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    return train.take(order[size:].sort().values), train.take(order[:size].sort().values)
