"""Local search by measurement: sparsity is moved from layer to layer, and a move stays where accuracy rises.

It needs no curves and no law of how layers act together, only measurements; it finds what they miss near a good plan.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping

from prunebench.planning.costs import Cost, Inventory, layer_cost

STEPS = (0.2, 0.1, 0.05)
"""Share of what the poorer of the two layers costs that a move takes; the next when no move of this one helps."""


def exchange(
    kept: Mapping[str, int],
    score: Callable[[dict[str, int]], float],
    *,
    inventory: Inventory,
    cost: Cost,
    limit: float,
    best: float,
    evaluations: int,
    seed: int = 0,
) -> dict[str, int]:
    """The best of the plans that were tried, starting from `kept` (elements by layer), which scores `best`.

    Pairs of layers, those that can move most first: one gives elements, the other takes as many as cost the same, so
    that the model never costs more than `limit`; a move that helps is made again. Higher scores are better. Choose on
    other images than those the result is reported on: the best of many tries is flattered by those it was chosen on.

    Args:
        evaluations: how often `score` is called at most.
    """
    now, order, left = dict(kept), random.Random(seed), evaluations
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            pairs = list(itertools.permutations(now, 2))
            order.shuffle(pairs)
            pairs.sort(key=lambda pair: -min(now[pair[0]], now[pair[1]]))  # what moves most first
            for giver, taker in pairs:
                while (
                    tried := moved(now, giver, taker, step, inventory=inventory, cost=cost, limit=limit)
                ) is not None:
                    if left == 0:
                        return now
                    left -= 1
                    scored = score(tried)
                    if scored <= best:
                        break
                    now, best, improved = tried, scored, True
    return now


def moved(
    kept: Mapping[str, int], giver: str, taker: str, step: float, *, inventory: Inventory, cost: Cost, limit: float
) -> dict[str, int] | None:
    """The plan after one move; None where nothing can be given, taken, or afforded. No layer is emptied."""
    layers = {layer.name: layer for layer in inventory.layers}
    price = {name: layer_cost("size" if cost == "file" else cost, layers[name], 1) for name in (giver, taker)}
    if not all(price.values()):
        return None
    amount = step * min(kept[giver] * price[giver], kept[taker] * price[taker])
    amount = min(amount, (layers[taker].nonzeros - kept[taker]) * price[taker])
    taken = int(amount / price[taker] + 1e-9)
    given = -int(-taken * price[taker] // price[giver])
    if taken < 1 or not 0 < given < kept[giver]:
        return None
    plan = {**kept, giver: kept[giver] - given, taker: kept[taker] + taken}
    return plan if inventory.total(cost, plan) <= limit else None
