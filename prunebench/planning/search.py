"""Local search by measurement: the layers' densities are varied at a fixed cost, and the best that was tried stays.

It needs no curves and no law of how layers act together, only measurements; it finds what they miss near a good plan.
Each measurement evaluates a model, so few have to do: scipy's COBYQA fits a quadratic to those it has and measures
where that is best within a trust region (Ragonneau, Model-Based Derivative-Free Optimization Methods and Software,
PhD thesis, 2022).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from prunebench.planning.costs import Cost, Inventory, layer_cost

FIRST_RADIUS, LAST_RADIUS = 0.2, 0.01
"""How far densities are varied at first and at last: about a fifth and a hundredth of themselves."""

_SCALES = 2**40


def local_search(
    kept: Mapping[str, int],
    score: Callable[[dict[str, int]], float],
    *,
    inventory: Inventory,
    cost: Cost,
    limit: float,
    evaluations: int,
) -> dict[str, int]:
    """The best of the plans that were tried, near `kept` (elements by layer), each as large as `limit` allows.

    What varies is the logarithm of each layer's density, less that of the layer that costs most; one factor for all
    then brings the model to the limit. A layer that costs nothing, or is empty, stays as it is, and none is emptied.
    Higher scores are better. Choose on other images than those the result is reported on: the best of many tries is
    flattered by those it was chosen on.

    Args:
        evaluations: how often `score` is called at most. It is called less often where the radius comes to its end.
    """
    layers = {layer.name: layer for layer in inventory.layers}
    price = {name: layer_cost(cost, layers[name], kept[name]) - layer_cost(cost, layers[name], 0) for name in kept}
    free = sorted((name for name in kept if price[name] > 0), key=lambda name: price[name])
    if len(free) < 2 or evaluations < 1:
        return dict(kept)
    *varied, _ = free
    best: tuple[float, dict[str, int]] | None = None

    def objective(change: NDArray[np.float64]) -> float:
        nonlocal best
        wanted = dict(kept) | {name: kept[name] * float(np.exp(by)) for name, by in zip(varied, change, strict=True)}
        plan = as_large_as(limit, {name: wanted[name] for name in free}, kept, inventory=inventory, cost=cost)
        scored = score(plan)
        if best is None or scored > best[0]:
            best = scored, plan
        return -scored

    minimize(
        objective,
        np.zeros(len(varied)),
        method="COBYQA",
        options={"maxfev": evaluations, "initial_tr_radius": FIRST_RADIUS, "final_tr_radius": LAST_RADIUS},
    )
    assert best is not None, "evaluated once at least"
    return best[1]


def as_large_as(
    limit: float, shares: Mapping[str, float], kept: Mapping[str, int], *, inventory: Inventory, cost: Cost
) -> dict[str, int]:
    """The largest plan within `limit` whose layers keep elements in proportion to `shares`, the others as in `kept`.

    A layer keeps one element at least, and no more than the base model has.
    """
    most = inventory.base_kept
    # A trifle beyond full, or rounding of the quotient would withhold a layer's last element.
    full = max(most[name] / share for name, share in shares.items()) * (1 + 1e-12)

    def plan(index: int) -> dict[str, int]:
        scale = full * index / _SCALES
        return dict(kept) | {name: max(1, min(most[name], int(scale * share))) for name, share in shares.items()}

    fitting = bisect_right(range(_SCALES + 1), limit, key=lambda index: inventory.total(cost, plan(index)))
    return plan(max(0, fitting - 1))
