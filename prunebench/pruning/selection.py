"""The one rounding rule and the one tie rule: exactly how many elements a sparsity prunes, and which."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from prunebench.errors import PlanError, percent_hint

# For floats of at least 0 the bit pattern, read as an unsigned integer, has the order of the values; a sign or NaN is
# above infinity. `_in_order` makes the same of floats of either sign.
_BITS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}

Bits = npt.NDArray[np.unsignedinteger[Any]]
Digits = npt.NDArray[np.signedinteger[Any]]
Counts = npt.NDArray[np.int64]

DIGIT = 16
"""Bits of a digit of the radix selection: 65,536 counters fit a core's cache."""


def as_sparsity(value: object, *, name: str = "a weight") -> float:
    """`value` as a float: any real number in [0, 1], also a Fraction, a Decimal, or one of numpy's or torch's.

    Its nearest double, which is what a record holds: counts that follow from the one follow from the other.

    Raises:
        PlanError: it is no real number, or not in [0, 1].
    """
    number: Any = value.item() if isinstance(value, Tensor | np.generic | np.ndarray) and value.ndim == 0 else value
    is_real = isinstance(number, Real | Decimal) and not isinstance(number, bool)
    if not is_real:
        raise PlanError(f"sparsity of '{name}' must be a number in [0, 1], got {value!r}")
    is_nan = isinstance(number, Decimal) and number.is_nan()
    if is_nan or not 0 <= number <= 1:  # a float's NaN too
        hint = "" if is_nan else percent_hint(number)
        raise PlanError(f"sparsity of '{name}' must be in [0, 1], got {number}{hint}")
    return float(number)


def pruned_count(numel: int, sparsity: float, *, name: str = "a weight") -> int:
    """The number of `numel` elements that a sparsity prunes: `round(sparsity * numel)`, Python's (halves to even).

    Source: the documented recipe. Truncating, rounding up or interpolating a quantile gives other counts.

    Raises:
        PlanError: as `as_sparsity`.
    """
    return round(as_sparsity(sparsity, name=name) * numel)


def keep_mask(scores: Tensor, count: int, *, name: str = "a weight") -> Tensor:
    """A bool mask, False at exactly the `count` smallest of `scores` (any shape; floating point, of either sign).

    Equal scores, as 0.0 and -0.0 are, are pruned by flat index in logical (row-major) order, lowest first, whatever the
    memory format. Infinities are ordered as numbers are: -inf is pruned before all others, inf after them.

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
    scores = scores.detach()
    if scores.device.type == "cpu":
        return _keep_by_selection(scores, counts, name=name)
    refuse_nan(scores, name=name)
    return [mask.view(scores.shape) for mask in _keep_by_sort(scores.reshape(-1), counts)]


def _keep_by_selection(scores: Tensor, counts: Sequence[int], *, name: str) -> list[Tensor]:
    """Selection in linear time, several times faster than torch's `kthvalue` on the CPU.

    Works in the order of memory, and gives the masks the memory format of the scores. Only ties ask for logical order.
    """
    order = sorted(range(scores.dim()), key=scores.stride, reverse=True)
    back = sorted(range(scores.dim()), key=lambda dimension: order[dimension])
    ordered = scores.permute(order).contiguous()
    bits: Bits = _unsigned(ordered.view(-1))
    infinity = _unsigned(torch.tensor([torch.inf], dtype=ordered.dtype))[0]
    thresholds, highest = _smallest(bits, counts)
    if highest > infinity:
        refuse_nan(ordered, name=name)
        bits = _in_order(bits)
        thresholds, _ = _smallest(bits, counts)
    masks = []
    for count, threshold in zip(counts, thresholds, strict=True):
        if count <= 0:
            masks.append(torch.ones_like(scores, dtype=torch.bool))
            continue
        keep = bits > threshold
        mask = torch.from_numpy(keep).view(ordered.shape).permute(back)
        surplus = keep.size - int(np.count_nonzero(keep)) - count  # at most `threshold`, yet not to be pruned
        if surplus:
            tied = torch.from_numpy(bits == threshold).view(ordered.shape).permute(back).numpy()
            ties = np.flatnonzero(tied)  # in logical order
            mask.numpy()[np.unravel_index(ties[len(ties) - surplus :], mask.shape)] = True
        masks.append(mask)
    return masks


def _unsigned(flat: Tensor) -> Bits:
    bits = flat.view(_BITS[flat.dtype]).numpy()
    return bits.view(f"u{bits.dtype.itemsize}")


def _in_order(bits: Bits) -> Bits:
    """Patterns of floats, none of them NaN, as unsigned integers in the order of the values; of -0.0 as of 0.0."""
    sign = np.iinfo(bits.dtype).max // 2 + 1
    zeros = np.where(bits == sign, 0, bits)
    if not (negative := zeros >= sign).any():
        return zeros
    return np.where(negative, ~zeros, zeros | sign)


def _smallest(bits: Bits, counts: Sequence[int]) -> tuple[list[int], int]:
    """The `count`-th smallest for each count, 0 for a count of none; and one that no pattern of `bits` exceeds.

    Radix selection (Knuth, TAOCP 3, 5.2.5), 16 bits at a time from the top: count the patterns by their digit, then go
    on among those with the digit in question, a few in a hundred. Its time hardly depends on the values, where numpy's
    partition took 4 times as long on AMD's Zen 4, and 30 to 60 times as long on a weight that was pruned before.
    """
    shift = 8 * bits.itemsize - DIGIT
    digits = _digits(bits, shift)
    up_to = _counted(digits).cumsum()
    thresholds = [_ranked(bits, digits, up_to, count - 1) if count > 0 else 0 for count in counts]
    return thresholds, (len(up_to) << shift) - 1


def _ranked(bits: Bits, digits: Digits, up_to: Counts, rank: int) -> int:
    """The pattern that `rank` others come before.

    Args:
        digits: the first of each pattern.
        up_to: how many patterns have a first digit up to each.
    """
    value, shift = 0, 8 * bits.itemsize - DIGIT
    while True:
        digit = int(np.searchsorted(up_to, rank, side="right"))
        value |= digit << shift
        zero = value == 0 and rank < bits.size - np.count_nonzero(bits)  # many, in a weight that was pruned before
        if shift == 0 or zero:
            return value
        rank -= int(up_to[digit - 1]) if digit else 0
        bits = bits[np.flatnonzero(digits == digit)]  # where few are found, faster than by the mask itself
        shift -= DIGIT
        digits = _digits(bits, shift)
        up_to = _counted(digits).cumsum()


def _digits(bits: Bits, shift: int) -> Digits:
    """The 16 bits of each pattern that stand `shift` bits from its end, in integers that may be negative."""
    if bits.itemsize == 2:
        return bits.astype(np.int32)
    shifted = bits >> shift
    if shift + DIGIT < 8 * bits.itemsize:
        shifted &= 2**DIGIT - 1
    return shifted.view(f"i{bits.itemsize}")


def _counted(digits: Digits) -> Counts:
    counts: Counts = torch.bincount(torch.from_numpy(digits)).numpy()  # three times as fast as numpy's
    return counts


def _keep_by_sort(flat: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """One stable sort, which on a GPU is faster than a selection; stable, so ties keep their index order.

    Adding 0.0 makes 0.0 of -0.0: a sort by bit patterns tells them apart.
    """
    order = torch.sort(flat + 0.0, stable=True).indices
    return [torch.ones_like(flat, dtype=torch.bool).index_fill_(0, order[: max(count, 0)], False) for count in counts]


def refuse_nan(scores: Tensor, *, name: str) -> None:
    """Raise an error where a score is NaN.

    Raises:
        PlanError: one is.
    """
    if nan := int(torch.isnan(scores).sum()):
        raise PlanError(f"'{name}' has {nan} NaN values: expected numbers to prune by")
