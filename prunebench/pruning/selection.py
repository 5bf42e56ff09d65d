"""The one rounding rule and the one tie rule: exactly how many elements a sparsity prunes, and which."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
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

Bits = npt.NDArray[np.signedinteger[Any]]


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
    if scores.dtype not in _BITS:
        raise PlanError(f"scores of '{name}' must be floating point, got {scores.dtype}")
    scores = scores.detach()
    if (nan := _nan_count(scores)) > 0:
        raise PlanError(f"'{name}' has {nan} NaN values: expected numbers to prune by")
    if count <= 0:
        return torch.ones_like(scores, dtype=torch.bool)
    if count >= scores.numel():
        return torch.zeros_like(scores, dtype=torch.bool)
    if scores.device.type == "cpu":
        return _keep_by_partition(scores, count)
    return _keep_by_sort(scores.reshape(-1), count).view(scores.shape)


def _nan_count(scores: Tensor) -> int:
    """Number of NaN values; where there are none, on the CPU, in a fraction of the time that `isnan` takes."""
    if scores.device.type == "cpu" and scores.numel():
        infinity = torch.tensor(torch.inf, dtype=scores.dtype).view(_BITS[scores.dtype]).item()
        if _bits(_in_memory_order(scores)[0]).max() <= infinity:
            return 0
    return int(torch.isnan(scores).sum())


def _keep_by_partition(scores: Tensor, count: int) -> Tensor:
    """Selection in linear time; numpy's partition is several times faster than torch's `kthvalue` on the CPU.

    Works in the order of memory, and gives the mask the memory format of the scores. Only ties ask for logical order.
    """
    ordered, back = _in_memory_order(scores)
    bits = _bits(ordered)
    threshold = _smallest(bits, count)
    keep = bits > threshold
    mask = torch.from_numpy(keep).view(ordered.shape).permute(back)
    surplus = scores.numel() - int(np.count_nonzero(keep)) - count  # at most `threshold`, yet not to be pruned
    if surplus:
        tied = torch.from_numpy(bits == threshold).view(ordered.shape).permute(back).numpy()
        ties = np.flatnonzero(tied)  # of the logical order
        mask.numpy()[np.unravel_index(ties[len(ties) - surplus :], mask.shape)] = True
    return mask


def _smallest(bits: Bits, count: int) -> int:
    """The `count`-th smallest. Zeros are set aside where they are many, as in a weight that was pruned before.

    On such, numpy 2's partition was measured 30 to 60 times slower than on distinct values.
    """
    zeros = bits.size - int(np.count_nonzero(bits))
    if count <= zeros:
        return 0
    if zeros > bits.size // 5:
        bits, count = bits[bits != 0], count - zeros
    return int(np.partition(bits, count - 1)[count - 1])


def _keep_by_sort(flat: Tensor, count: int) -> Tensor:
    """One stable sort, which on a GPU is faster than a selection; stable, so ties keep their index order."""
    pruned = torch.sort(flat, stable=True).indices[:count]
    return torch.ones_like(flat, dtype=torch.bool).index_fill_(0, pruned, False)


def _in_memory_order(scores: Tensor) -> tuple[Tensor, list[int]]:
    """`scores` with its dimensions sorted by stride and contiguous, and the permutation that leads back."""
    order = sorted(range(scores.dim()), key=scores.stride, reverse=True)
    back = sorted(range(scores.dim()), key=lambda place: order[place])
    return scores.permute(order).contiguous(), back


def _bits(ordered: Tensor) -> Bits:
    """The bit patterns of contiguous scores, flat, without their signs: -0.0 would sort first, a NaN before all."""
    bits: Bits = ordered.view(-1).view(_BITS[ordered.dtype]).numpy()
    return bits if bits.min() >= 0 else bits & np.iinfo(bits.dtype).max
