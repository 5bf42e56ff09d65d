"""One-shot pruning of a model by a sparsity plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from prunebench.errors import PlanError
from prunebench.models import check_model, prunable_parameters, unwrapped
from prunebench.pruning.criteria import Criterion, find_criterion, scores_of
from prunebench.pruning.evidence import Evidence
from prunebench.pruning.granularities import Granularity, find_granularity
from prunebench.pruning.granularities.channel import Channel
from prunebench.pruning.masks import Masks, zero_pruned_
from prunebench.pruning.plans import SparsityPlan
from prunebench.pruning.selection import keep_mask


def prune_(
    model: nn.Module,
    plan: Mapping[str, float],
    *,
    criterion: str | Criterion = "magnitude",
    granularity: str | Granularity = "element",
    example: Tensor | None = None,
    evidence: Evidence | None = None,
) -> Masks:
    """Set the least important units of each weight to zero, in place, and return the masks.

    Each weight loses exactly `round(sparsity * units)` of its units: elements, blocks or, by granularity `channel`,
    output channels with the bias and the batch norm after them; by `coupled-channel`, layers that share channels lose
    the same ones. Sparsity is absolute: pruning twice by one plan and magnitude changes nothing, and a higher sparsity
    keeps every zero there was.

    Args:
        example: a batch of inputs (n, ...); with it, granularity `channel` finds the batch norms, and `coupled-channel`
            the layers that share channels.
        evidence: of the model on training examples, for a criterion that needs it.

    Raises:
        ModelError: a weight cannot be pruned, as one that is computed from others (`prunebench.models.check_model`).
        PlanError, UnknownNameError: the plan does not fit the model, a weight holds NaN, or the criterion lacks
            evidence. The model is unchanged.
        ShrinkError: torch-pruning, which `coupled-channel` needs, is missing or cannot follow the model.
    """
    masks = plan_masks(model, plan, criterion=criterion, granularity=granularity, example=example, evidence=evidence)
    parameters = dict(unwrapped(model).named_parameters())
    order = sorted(masks, key=lambda name: masks[name].numel(), reverse=True)
    with _threads() as pool:
        list(pool.map(lambda name: zero_pruned_(parameters[name], masks[name]), order))
    return masks


def plan_masks(
    model: nn.Module,
    plan: Mapping[str, float],
    *,
    criterion: str | Criterion = "magnitude",
    granularity: str | Granularity = "element",
    example: Tensor | None = None,
    evidence: Evidence | None = None,
    alive: Masks | None = None,
) -> Masks:
    """The masks by which `prune_` would prune `model`, which stays as it is; arguments and errors are the same.

    Args:
        alive: masks so far: units that they prune go first, whatever their scores.
    """
    model = check_model(model)
    plan, criterion, units = SparsityPlan(plan), find_criterion(criterion), find_granularity(granularity)
    check_units(criterion, units)
    plan.check_fits(model)
    weights = prunable_parameters(model)
    pruned = [name for name in weights if plan[name] > 0]
    companions = units.companions(model, pruned, example)
    scores = scores_of(criterion, model, pruned, evidence)

    def unit_scores(name: str) -> Tensor:
        found = units.unit_scores(scores[name], criterion.aggregation)
        if alive is None:
            return found
        dead = units.unit_scores(alive[name].float(), "sum") == 0
        return found.masked_fill(dead.to(found.device), -torch.inf)

    together = units.kept_together(model, plan, unit_scores, aggregation=criterion.aggregation, example=example)

    def keep(name: str) -> Tensor:
        weight = weights[name]
        if name in together:
            return units.expand(together[name], weight.shape).to(weight.device)
        if plan[name] == 0:
            return keep_mask(weight.detach().abs(), 0, name=name)  # all are kept; NaN is refused
        count = units.pruned_units(weight.shape, plan[name], name=name)
        order = units.order(unit_scores(name), name=name)
        return units.expand(keep_mask(order, count, name=name), weight.shape).to(weight.device)

    # Large weights first, so that no thread is left with the largest at the end.
    largest = sorted(weights, key=lambda name: weights[name].numel(), reverse=True)
    with _threads() as pool:
        kept = dict(zip(largest, pool.map(keep, largest), strict=True))
    first = {each: kept[name].flatten(1)[:, 0] for name, those in companions.items() for each in those}
    masks = Masks({name: kept[name] for name in weights} | first)
    masks.check_fits(model)
    return masks


def check_units(criterion: Criterion, units: Granularity) -> None:
    """Check that `criterion` scores what `units` prunes.

    Raises:
        PlanError: it scores output channels, and others are pruned.
    """
    if criterion.by_channel and not isinstance(units, Channel):
        raise PlanError(
            f"criterion '{criterion.name}' scores output channels: expected granularity 'channel', got '{units.name}'"
        )


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for one weight each.

    Numpy selects in one thread and lets others run. Were torch's threads to join in each of them, they would spin for
    work on the very cores, and wait for one another at every weight where another program has a core.
    """
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)  # a thread's setting is its own, but also that of threads to come
