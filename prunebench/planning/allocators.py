"""Published allocators: from a number of nonzeros over the model to how many each layer keeps. No scan needed.

By single elements all of them hit the number exactly. `nonzeros` counts over all parameters, batch norm and bias
included, which are never pruned; what is returned is by layer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import partial

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


def global_threshold(scores: Mapping[str, Tensor]) -> Allocator:
    """The lowest scores over all layers at once; of equals, the earlier layer and the lower index is pruned first.

    Source, with |w| as the score: Han, Pool, Tran, Dally, Learning both Weights and Connections for Efficient Networks,
    NeurIPS 2015, with one threshold for the model, as compared in Blalock et al., What is the State of Neural Network
    Pruning?, MLSys 2020.

    Args:
        scores: of units, each of as many elements of its layer; one that goes takes all of them.
    """
    return partial(_by_threshold, {name: score.detach().flatten().cpu() for name, score in scores.items()})


def global_normalized(scores: Mapping[str, Tensor]) -> Allocator:
    """One threshold on the scores of each layer divided by their L2 norm, so that no layer's scale decides.

    Source: Molchanov, Tyree, Karras, Aila, Kautz, Pruning Convolutional Neural Networks for Resource Efficient
    Inference, ICLR 2017.
    """
    return global_threshold({name: _normalized(score.detach().cpu().double()) for name, score in scores.items()})


def _normalized(score: Tensor) -> Tensor:
    return score / (torch.linalg.vector_norm(score) or 1.0)


def lamp(scores: Mapping[str, Tensor]) -> Allocator:
    """Layer-adaptive magnitude: one threshold for the model on s_u^2 / sum of s_v^2 over s_v >= s_u in the layer.

    s is |w|, or another score that is never negative. The largest of a layer scores 1, so no layer is emptied before
    the others.
    Source: Lee, Park, Mo, Ahn, Shin, Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021, equation 2.

    Raises:
        PlanError: a score is negative.
    """
    for name, score in scores.items():
        if bool((score < 0).any()):
            raise PlanError(f"scores of '{name}' are of either sign, and lamp squares them: expected allocation global")
    return global_threshold({name: lamp_scores(score) for name, score in scores.items()})


def lamp_scores(scores: Tensor) -> Tensor:
    """LAMP scores, float64, on the CPU, of the shape of `scores`; of equal ones the first has the lowest."""
    squares = scores.detach().cpu().double().square().flatten()
    ascending = torch.sort(squares, stable=True)
    remaining = ascending.values.flip(0).cumsum(0).flip(0)
    found = torch.where(remaining > 0, ascending.values / remaining, 0.0)
    return torch.empty_like(squares).scatter_(0, ascending.indices, found).view(scores.shape)


def allocate_to_limit(allocator: Allocator, inventory: Inventory, *, cost: Cost, limit: float) -> dict[str, int]:
    """The allocation with the most nonzeros that costs at most `limit` (bits, bytes or MACs of one image).

    Raises:
        PlanError: not even an empty model is that cheap.
    """
    counts = range(inventory.other_nonzeros, inventory.nonzeros + 1)

    def spent(nonzeros: int) -> float:
        return inventory.total(cost, allocator(inventory, nonzeros))

    found = bisect_right(counts, limit / BITS)
    # So many nonzeros have the same size however they are shared, but in whole units there may be more of them.
    if cost != "size" or (found and spent(counts[found - 1]) > limit):
        found = bisect_right(counts, limit, key=spent)
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


def _by_threshold(scores: Mapping[str, Tensor], inventory: Inventory, nonzeros: int) -> dict[str, int]:
    layers = [(layer, scores[layer.name]) for layer in inventory.layers]
    together, sizes = torch.cat([score for _, score in layers]), [layer.numel // len(score) for layer, score in layers]
    pruned = sum(layer.numel for layer, _ in layers) - _layers_nonzeros(inventory, nonzeros)
    if set(sizes) != {1}:
        each = torch.tensor(sizes).repeat_interleave(torch.tensor([len(score) for _, score in layers]))
        pruned = _nearest_count(together, each, pruned)
    parts = torch.split(keep_mask(together, pruned, name="all layers"), [len(score) for _, score in layers])
    return {
        layer.name: min(layer.nonzeros, int(part.sum()) * size)
        for (layer, _), part, size in zip(layers, parts, sizes, strict=True)
    }


def _nearest_count(scores: Tensor, sizes: Tensor, pruned: int) -> int:
    """The number of units that, the lowest scores first, have together nearest to `pruned` elements."""
    elements = sizes[torch.sort(scores + 0.0, stable=True).indices].cumsum(0)  # + 0.0: -0.0 is 0.0
    return int((torch.cat([torch.zeros(1), elements]) - pruned).abs().argmin())


def _layers_nonzeros(inventory: Inventory, nonzeros: int) -> int:
    least, most = inventory.other_nonzeros, inventory.nonzeros
    if not least <= nonzeros <= most:
        raise PlanError(
            f"nonzeros must be between {least:,} (batch norm and bias alone) and the base model's {most:,}, "
            f"got {nonzeros:,}"
        )
    return nonzeros - least
