"""Batches on the model's device, augmented a whole batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from prunebench.data.examples import Examples


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random crop and flip of each training image; the distributions are torchvision's.

    Attributes:
        crop_padding: zero pixels added on every side before a crop of the old size at a uniform place
            (`RandomCrop(size, padding)`).
        flip: mirror left to right with probability one half (`RandomHorizontalFlip`).
    """

    crop_padding: int = 4
    flip: bool = True


def whole_batches(data: Examples, *, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All of `data` in order, as a model gets it: (inputs, targets); the last batch may be smaller."""
    for start in range(0, len(data), batch_size):
        batch = slice(start, start + batch_size)
        yield data.fed(data.inputs[batch]), data.targets[batch]


def training_batches(
    data: Examples,
    *,
    batch_size: int,
    augmentation: Augmentation | None,
    generator: torch.Generator,
    limit: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of `data` in random order as (inputs, targets); the last batch may be smaller.

    `generator` lives on the CPU and draws everything, so that order and augmentation are the same on every device.
    With `limit`, only the first `limit` examples of the order are used.
    """
    order = torch.randperm(len(data), generator=generator)[:limit]
    for start in range(0, len(order), batch_size):
        chosen = _sent(order[start : start + batch_size], data.inputs.device)
        inputs = data.inputs[chosen]
        if augmentation is not None:
            inputs = augment(inputs, augmentation, generator)
        yield data.fed(inputs), data.targets[chosen]


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Crop and flip each image of a batch (n, channels, height, width) on its own, on the batch's device."""
    n, _, height, width = images.shape
    pad, device = augmentation.crop_padding, images.device
    corner = _sent(torch.randint(0, 2 * pad + 1, (2, n, 1), generator=generator), device)
    rows = corner[0] + torch.arange(height, device=device)
    columns = corner[1] + torch.arange(width, device=device)
    if augmentation.flip:
        flipped = _sent(torch.rand((n, 1), generator=generator), device) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    first = torch.arange(n, device=device)[:, None, None]
    # Indexing around a slice puts the channels last, (n, height, width, channels): channels_last for the model.
    return padded[first, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _sent(drawn: Tensor, device: torch.device) -> Tensor:
    """`drawn` on `device`. A GPU fetches it from pinned memory in its own time; else the host would wait for it."""
    return drawn.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else drawn.to(device)
