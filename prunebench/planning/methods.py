"""A pruning method on a model: criterion, granularity and allocation become a sparsity plan and masks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from prunebench.documented.method import TotalOf
from prunebench.errors import PlanError, UnknownNameError
from prunebench.models import check_model, prunable_parameters
from prunebench.planning.allocations import Allocation, allocate, find_allocation
from prunebench.planning.allocators import allocate_to_limit
from prunebench.planning.costs import Inventory
from prunebench.pruning import (
    Criterion,
    Evidence,
    Granularity,
    Masks,
    SparsityPlan,
    as_sparsity,
    check_units,
    find_criterion,
    find_granularity,
    plan_masks,
    scores_of,
)


@dataclass(frozen=True, kw_only=True)
class MethodMasks:
    """The plan and the masks that a method comes to on a model.

    Attributes:
        plan: the sparsity of every prunable parameter; `masks` prune exactly that.
        reached: the fraction that is pruned of what the total is a fraction of.
    """

    plan: SparsityPlan
    masks: Masks
    reached: float


def method_masks(
    model: nn.Module,
    example: Tensor,
    *,
    criterion: str | Criterion = "magnitude",
    granularity: str | Granularity = "element",
    allocation: str | Allocation,
    total: float,
    of: TotalOf = "elements",
    limits: Mapping[str, float] | None = None,
    keep_dense: Collection[str] = (),
    evidence: Evidence | None = None,
) -> MethodMasks:
    """The plan and the masks of a method on `model`, which stays as it is; arguments and errors are `method_plan`'s."""
    plan, reached = method_plan(
        model, example, criterion=criterion, granularity=granularity, allocation=allocation, total=total, of=of,
        limits=limits, keep_dense=keep_dense, evidence=evidence,
    )  # fmt: skip
    masks = plan_masks(model, plan, criterion=criterion, granularity=granularity, example=example, evidence=evidence)
    return MethodMasks(plan=plan, masks=masks, reached=reached)


def method_plan(
    model: nn.Module,
    example: Tensor,
    *,
    criterion: str | Criterion = "magnitude",
    granularity: str | Granularity = "element",
    allocation: str | Allocation,
    total: float,
    of: TotalOf = "elements",
    limits: Mapping[str, float] | None = None,
    keep_dense: Collection[str] = (),
    evidence: Evidence | None = None,
    folder: Path | None = None,
) -> tuple[SparsityPlan, float]:
    """The sparsity of every prunable parameter, so that `total` is pruned; and the fraction that comes to.

    By single elements `total` of all prunable elements is hit exactly; by other units as near as they come, which may
    be far: by 2:4 no layer loses more than half. Of a cost (`size`, `file`, `macs`) at least `total` of the dense
    model's goes, and as little more as units allow.

    A model that was pruned before has zeros that count as pruned only by element and magnitude, which takes them first.

    Args:
        limits: the largest sparsity of each layer in it; a layer of 0 is kept dense.
        keep_dense: parameters that stay as they are; they count in what `total` is a fraction of.
        folder: where modules of `package.module:name` are looked for.

    Raises:
        PlanError, UnknownNameError: so much cannot be pruned; a layer has no such units, keep it dense; or as the
            criterion says.
    """
    model, total = check_model(model), as_sparsity(total, name="total")
    criterion, units = find_criterion(criterion, folder=folder), find_granularity(granularity, folder=folder)
    check_units(criterion, units)
    rule = find_allocation(allocation, folder=folder) if isinstance(allocation, str) else allocation
    weights = prunable_parameters(model)
    limits = limits or {}
    keep_dense = {*keep_dense, *(name for name, most in limits.items() if most == 0)}
    for name in (*keep_dense, *limits):
        if name not in weights:
            raise UnknownNameError("layer", name, weights)
    inventory = Inventory.of_model(model, example)
    if (criterion.name, units.name) != ("magnitude", "element"):
        inventory = inventory.as_dense()
    open_ = inventory.without(keep_dense)
    names = [layer.name for layer in open_.layers]
    units.companions(model, names, example)
    for layer in open_.layers:
        units.unit_size(layer.shape, name=layer.name)
    given = scores_of(criterion, model, names, evidence)
    scores = {name: units.unit_scores(given[name], criterion.aggregation) for name in names}

    def allocator(part: Inventory, nonzeros: int) -> dict[str, int]:
        return allocate(rule, part, nonzeros, scores, units=units, limits=limits)

    if of == "elements":
        kept = allocator(open_, _nonzeros(inventory, open_, total))
        elements = sum(layer.numel for layer in inventory.layers)
        reached = sum(layer.numel - kept[layer.name] for layer in open_.layers) / elements
    else:
        dense = open_.dense_total(of)
        kept = allocate_to_limit(allocator, open_, cost=of, limit=(1 - total) * dense)
        reached = 1 - open_.total(of, kept) / dense
    return SparsityPlan({**dict.fromkeys(weights, 0.0), **open_.sparsity(kept)}), reached


def _nonzeros(inventory: Inventory, open_: Inventory, total: float) -> int:
    """Nonzeros over all parameters once `total` of all prunable elements is pruned, from the layers of `open_`."""
    elements, most = (sum(layer.numel for layer in each.layers) for each in (inventory, open_))
    if (pruned := round(total * elements)) > most:
        raise PlanError(
            f"total {total:g} of {elements:,} prunable elements cannot be pruned: {elements - most:,} of them are kept "
            f"dense, so {most / elements:.4g} is the most"
        )
    return min(inventory.other_nonzeros + elements - pruned, inventory.nonzeros)
