"""Local search by measurement: the layers' densities are varied at a fixed cost, and the best that was tried stays.

It needs no curves, only measurements; it finds what curves miss near a good plan.
Good plans lie along ridges, where one layer keeps more and another less, and accuracy is rugged at the scale of a few
tenths of a point. So plans are drawn about a mean, and the mean and the shape of the cloud follow those that measure
best: CMA-ES (Hansen 2016, The CMA Evolution Strategy: A Tutorial), as the package `cma` of its author has it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from prunebench.planning.costs import Cost, Inventory, layer_cost

FIRST_SPREAD, LAST_SPREAD = 0.12, 0.01
"""Standard deviation of the logarithm of a density at first, and where a search ends: about an eighth, a hundredth."""

_SCALES = 2**40


def local_search(
    kept: Mapping[str, int],
    scores: Callable[[Sequence[dict[str, int]]], Sequence[float]],
    *,
    inventory: Inventory,
    cost: Cost,
    limit: float,
    evaluations: int,
    seed: int = 0,
) -> dict[str, int]:
    """The best of the plans that were tried, near `kept` (elements by layer), each as large as `limit` allows.

    What varies is the logarithm of each layer's density, less that of the layer that costs most; one factor for all
    then brings the model to the limit. A layer that costs nothing, or is empty, stays as it is, and none is emptied.
    Higher scores are better. Choose on other images than those the result is reported on: the best of many tries is
    flattered by those it was chosen on.

    Args:
        scores: of several plans, which may be measured at once.
        evaluations: plans that are scored at most; fewer where the search comes to its end. A generation takes about
            ten, and the mean that it is drawn about.
        seed: of the draws; equal seeds and scores give equal searches.
    """
    import cma  # noqa: PLC0415 - takes a second, and matplotlib

    layers = {layer.name: layer for layer in inventory.layers}
    price = {name: layer_cost(cost, layers[name], kept[name]) - layer_cost(cost, layers[name], 0) for name in kept}
    free = sorted((name for name in kept if price[name] > 0), key=lambda name: price[name])
    if len(free) < 2 or evaluations < 1:
        return dict(kept)
    *varied, _ = free
    tried: list[tuple[float, dict[str, int]]] = []

    def plan(change: NDArray[np.float64]) -> dict[str, int]:
        wanted = dict(kept) | {name: kept[name] * float(np.exp(by)) for name, by in zip(varied, change, strict=True)}
        return as_large_as(limit, {name: wanted[name] for name in free}, kept, inventory=inventory, cost=cost)

    draws = np.random.default_rng(seed)
    options = {
        "randn": lambda *shape: draws.standard_normal(shape),
        "seed": np.nan,  # or it would seed numpy for the whole process
        "tolx": LAST_SPREAD,
        "verbose": -9,
    }
    strategy = cma.CMAEvolutionStrategy(np.zeros(len(varied)), FIRST_SPREAD, options)
    while len(tried) < evaluations:
        generation = [] if strategy.stop() else strategy.ask()
        plans = [plan(change) for change in (strategy.mean, *generation)][: evaluations - len(tried)]
        found = scores(plans)
        tried += zip(found, plans, strict=True)
        if not generation or len(plans) <= len(generation):
            break
        strategy.tell(generation, [-each for each in found[1:]])
    return max(tried, key=lambda pair: pair[0])[1]


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
