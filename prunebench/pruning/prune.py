"""One-shot pruning of a model by a sparsity plan."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from prunebench.models import check_model, prunable_parameters
from prunebench.pruning.criteria import Criterion, magnitude
from prunebench.pruning.granularities import find_granularity
from prunebench.pruning.masks import Masks, zero_pruned_
from prunebench.pruning.plans import SparsityPlan
from prunebench.pruning.selection import keep_mask


def prune_(
    model: nn.Module,
    plan: Mapping[str, float],
    *,
    criterion: Criterion = magnitude,
    granularity: str = "element",
    example: Tensor | None = None,
) -> Masks:
    """Set the least important units of each weight to zero, in place, and return the masks.

    Each weight on its own loses exactly `round(sparsity * units)` of its units: elements or, by granularity `channel`,
    output channels with the bias and the batch norm after them. Sparsity is absolute: pruning twice by one
    plan changes nothing, and a higher sparsity keeps every zero there was.

    Args:
        example: a batch of inputs (n, ...); for granularity `channel`, which finds the batch norms with it.

    Raises:
        ModelError: a weight cannot be pruned, as one that is computed from others (`prunebench.models.check_model`).
        PlanError, UnknownNameError: the plan does not fit the model, or a weight holds NaN. The model is unchanged.
    """
    plan, model, units = SparsityPlan(plan), check_model(model), find_granularity(granularity)
    plan.check_fits(model)
    weights = prunable_parameters(model)
    companions = units.companions(model, [name for name in weights if plan[name] > 0], example)

    def keep(name: str) -> Tensor:
        weight = weights[name]
        count = units.pruned_units(weight.shape, plan[name], name=name)
        return units.expand(keep_mask(units.unit_scores(criterion(weight)), count, name=name), weight.shape)

    # Numpy selects in one thread and lets others run. Were torch's threads to join in each of them, they would spin for
    # work on the very cores, and wait for one another at every weight where another program has a core. A thread's
    # setting is its own, but also that of threads to come: hence the last line. Large weights first, so that no thread
    # is left with the largest at the end.
    order = sorted(weights, key=lambda name: weights[name].numel(), reverse=True)
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            kept = dict(zip(order, pool.map(keep, order), strict=True))
            first = {each: kept[name].flatten(1)[:, 0] for name, those in companions.items() for each in those}
            masks = Masks({name: kept[name] for name in weights} | first)
            masks.check_fits(model)  # before the first weight is changed
            parameters = dict(model.named_parameters())
            list(pool.map(lambda name: zero_pruned_(parameters[name], masks[name]), [*order, *first]))
    finally:
        torch.set_num_threads(threads)
    return masks
