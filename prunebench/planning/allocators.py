"""Published allocators: from a number of nonzeros over the model to how many each layer keeps. No scan needed.

All of them hit the number exactly. `nonzeros` counts over all parameters, batch norm and bias included, which are never
pruned; what is returned is by layer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.errors import PlanError
from prunebench.planning.costs import BITS, Cost, Inventory, told_apart
from prunebench.pruning import keep_mask

Allocator = Callable[[Inventory, int], dict[str, int]]
"""Kept elements by layer from the base model and a number of nonzeros over all parameters."""


def uniform(inventory: Inventory, nonzeros: int) -> dict[str, int]:
    """The same sparsity for every layer; one that is sparser already stays as it is, and the others keep more.

    Remainders go to the layers that rounding down robbed most.

    Raises:
        PlanError: so many nonzeros cannot be had.
    """
    return _in_proportion(inventory, {layer.name: float(layer.numel) for layer in inventory.layers}, nonzeros)


def erk(inventory: Inventory, nonzeros: int) -> dict[str, int]:
    """Erdos-Renyi-Kernel: density in proportion to (n_in + n_out + k_h + k_w) / (n_in * n_out * k_h * k_w).

    That is the sum of the lengths of a weight's dimensions over their product, for any number of them. A layer that
    would keep more than it has keeps all, and the others share the rest. Remainders as in `uniform`.
    Source: Evci, Gale, Menick, Castro, Elsen, Rigging the Lottery: Making All Tickets Winners, ICML 2020, section 3.

    Raises:
        PlanError: so many nonzeros cannot be had.
    """
    return _in_proportion(inventory, {layer.name: float(sum(layer.shape)) for layer in inventory.layers}, nonzeros)


def global_magnitude(weights: Mapping[str, Tensor]) -> Allocator:
    """The smallest |w| over all layers at once; of equals, the earlier layer and the lower index is pruned first.

    Source: Han, Pool, Tran, Dally, Learning both Weights and Connections for Efficient Networks, NeurIPS 2015, with one
    threshold for the model, as compared in Blalock et al., What is the State of Neural Network Pruning?, MLSys 2020.
    """
    return _by_global_threshold({name: weight.detach().abs() for name, weight in weights.items()})


def lamp(weights: Mapping[str, Tensor]) -> Allocator:
    """Layer-adaptive magnitude: one threshold for the model on w_u^2 / sum of w_v^2 over |w_v| >= |w_u| in the layer.

    The largest weight of a layer scores 1, so no layer is emptied before the others.
    Source: Lee, Park, Mo, Ahn, Shin, Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021, equation 2.
    """
    return _by_global_threshold({name: lamp_scores(weight) for name, weight in weights.items()})


def lamp_scores(weight: Tensor) -> Tensor:
    """LAMP scores, float64, on the CPU, of the shape of `weight`; of equal weights the first has the lowest score."""
    squares = weight.detach().cpu().double().square().flatten()
    ascending = torch.sort(squares, stable=True)
    remaining = ascending.values.flip(0).cumsum(0).flip(0)
    scores = torch.where(remaining > 0, ascending.values / remaining, 0.0)
    return torch.empty_like(squares).scatter_(0, ascending.indices, scores).view(weight.shape)


def allocate_to_limit(allocator: Allocator, inventory: Inventory, *, cost: Cost, limit: float) -> dict[str, int]:
    """The allocation with the most nonzeros that costs at most `limit` (bits, bytes or MACs of one image).

    Raises:
        PlanError: not even an empty model is that cheap.
    """
    counts = range(inventory.other_nonzeros, inventory.nonzeros + 1)
    if cost == "size":  # the same for every allocation of so many nonzeros
        found = bisect_right(counts, limit / BITS)
    else:
        found = bisect_right(counts, limit, key=lambda nonzeros: inventory.total(cost, allocator(inventory, nonzeros)))
    if found == 0:
        empty = inventory.percent(cost, allocator(inventory, inventory.other_nonzeros))
        wanted, least = told_apart(100 * limit / inventory.dense_total(cost), empty)
        raise PlanError(f"{cost} {wanted} % of dense cannot be had: with every layer empty it is {least} %")
    return allocator(inventory, counts[found - 1])


def _in_proportion(inventory: Inventory, shares: Mapping[str, float], nonzeros: int) -> dict[str, int]:
    """Keep in proportion to `shares`, no layer more than it has, exactly `nonzeros` over the model."""
    wanted = _layers_nonzeros(inventory, nonzeros)
    names = [layer.name for layer in inventory.layers]
    share = np.array([shares[name] for name in names])
    most = np.array([layer.nonzeros for layer in inventory.layers], dtype=float)
    full = np.zeros(len(names), dtype=bool)
    exact = np.zeros(len(names))
    while True:  # each turn fills at least one more layer
        free = share[~full].sum()
        scale = (wanted - most[full].sum()) / free if free else 0.0
        exact = np.where(full, most, share * scale)
        overfull = (exact > most) & ~full
        if not overfull.any():
            return dict(zip(names, _whole(exact, most, wanted), strict=True))
        full |= overfull


def _whole(exact: NDArray[np.float64], most: NDArray[np.float64], total: int) -> list[int]:
    """Whole numbers of the given total, each within one of `exact` and at most `most`: the largest remainders gain."""
    whole = np.floor(exact + 1e-9)
    missing = total - int(whole.sum())
    gaining = [index for index in np.argsort(-(exact - whole), kind="stable") if whole[index] < most[index]][:missing]
    whole[gaining] += 1
    return [int(count) for count in whole]


def _by_global_threshold(scores: Mapping[str, Tensor]) -> Allocator:
    together = torch.cat([score.flatten().cpu() for score in scores.values()])

    def allocate(inventory: Inventory, nonzeros: int) -> dict[str, int]:
        kept = keep_mask(together, len(together) - _layers_nonzeros(inventory, nonzeros), name="all layers")
        parts = torch.split(kept, [score.numel() for score in scores.values()])
        counts = {name: int(part.sum()) for name, part in zip(scores, parts, strict=True)}
        return {layer.name: counts[layer.name] for layer in inventory.layers}

    return allocate


def _layers_nonzeros(inventory: Inventory, nonzeros: int) -> int:
    least, most = inventory.other_nonzeros, inventory.nonzeros
    if not least <= nonzeros <= most:
        raise PlanError(
            f"nonzeros must be between {least:,} (batch norm and bias alone) and the base model's {most:,}, "
            f"got {nonzeros:,}"
        )
    return nonzeros - least
