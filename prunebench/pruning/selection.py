"""The one rounding rule and the one tie rule: exactly how many elements a sparsity prunes, and which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from prunebench.errors import PlanError

# For floats of at least 0 the bit pattern, read as an integer, has the order of the values, and integers partition
# faster than floats, which must look out for NaN.
_BITS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}


def pruned_count(numel: int, sparsity: float, *, name: str = "a weight") -> int:
    """How many of `numel` elements a sparsity prunes: `round(sparsity * numel)`, Python's round (halves to even).

    Source: the documented protocol. Truncating, rounding up or interpolating a quantile gives other counts.

    Raises:
        PlanError: sparsity is not a number in [0, 1].
    """
    if isinstance(sparsity, bool) or not isinstance(sparsity, int | float):
        raise PlanError(f"sparsity of '{name}' must be a number in [0, 1], got {sparsity!r}")
    if not 0 <= sparsity <= 1:  # NaN too
        raise PlanError(f"sparsity of '{name}' must be in [0, 1], got {sparsity}")
    return round(sparsity * numel)


def keep_mask(scores: Tensor, count: int, *, name: str = "a weight") -> Tensor:
    """A bool mask, False at exactly the `count` smallest of `scores` (any shape; floating point, at least 0).

    Equal scores are pruned by flat index in logical (row-major) order, lowest first, whatever the memory format.

    Raises:
        PlanError: a score is NaN, or the scores are not of a floating-point type.
    """
    return keep_masks(scores, [count], name=name)[0]


def keep_masks(scores: Tensor, counts: Sequence[int], *, name: str = "a weight") -> list[Tensor]:
    """The masks of `keep_mask` for several counts, from one selection (CPU) or one sort (elsewhere).

    Masks nest: what a count prunes, every higher count prunes too.

    Raises:
        PlanError: as `keep_mask`.
    """
    if scores.dtype not in _BITS:
        raise PlanError(f"scores of '{name}' must be floating point, got {scores.dtype}")
    if torch.isnan(scores).any():
        raise PlanError(f"'{name}' has {int(torch.isnan(scores).sum())} NaN values: expected numbers to prune by")
    flat = scores.detach().reshape(-1)
    inner = [count for count in counts if 0 < count < flat.numel()]
    select = _keep_by_partition if flat.device.type == "cpu" else _keep_by_sort
    kept = iter(select(flat, inner) if inner else [])
    masks = (
        next(kept) if 0 < count < flat.numel() else torch.full_like(flat, count <= 0, dtype=torch.bool)
        for count in counts
    )
    return [mask.view(scores.shape) for mask in masks]


def _keep_by_partition(flat: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """Selection in linear time; numpy's partition is several times faster than torch's `kthvalue` on the CPU."""
    bits = flat.abs().contiguous().view(_BITS[flat.dtype]).numpy()  # abs: the bits of -0.0 would sort first
    places = np.array(counts) - 1
    masks = []
    for count, threshold in zip(counts, np.partition(bits, places)[places], strict=True):
        keep = bits > threshold
        surplus = flat.numel() - int(np.count_nonzero(keep)) - count  # at most `threshold`, yet not to be pruned
        if surplus:
            ties = np.flatnonzero(bits == threshold)
            keep[ties[len(ties) - surplus :]] = True
        masks.append(torch.from_numpy(keep))
    return masks


def _keep_by_sort(flat: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """One stable sort, which on a GPU is faster than a selection; stable, so ties keep their index order."""
    order = torch.sort(flat, stable=True).indices
    return [torch.ones_like(flat, dtype=torch.bool).index_fill_(0, order[:count], False) for count in counts]
