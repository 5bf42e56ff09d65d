"""Coupled channels: those that several layers make together, as in a residual sum, are ranked and pruned as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from prunebench.errors import PlanError
from prunebench.models import copied, prunable_parameters
from prunebench.models.dependencies import Dependencies
from prunebench.pruning.granularities.channel import Channel
from prunebench.pruning.granularities.granularity import Aggregation, aggregated
from prunebench.pruning.plans import SparsityPlan
from prunebench.pruning.selection import keep_mask

Places = list[tuple[str, Sequence[int], list[int]]]
"""Weights of a group: name, channels, and the units of the group that these are."""


class CoupledChannel(Channel):
    """Whole output channels; of layers that share channels, the same ones.

    Layers share channels where their outputs are added, and where a depthwise convolution follows. By magnitude a
    channel's score is the L2 norm of its weights in all of them. They lose the same channels, so that
    `prunebench.shrink` can remove these. Layers are found with torch-pruning. Source: Fang et al. 2023, DepGraph, which
    ranks such groups as one.
    """

    name = "coupled-channel"

    def coupled(self, model: nn.Module, example: Tensor) -> list[list[str]]:
        """Layers that share channels, also by way of a third.

        Raises:
            ShrinkError: torch-pruning is not installed, or cannot follow the model.
        """
        found: list[set[str]] = []
        for _, places in _groups(model, example, prunable_parameters(model)):
            names = {name for name, _, _ in places}
            names = names.union(*(group for group in found if group & names))
            found = [group for group in found if not group & names] + [names]
        return [sorted(group) for group in found if len(group) > 1]

    def kept_together(
        self,
        model: nn.Module,
        plan: SparsityPlan,
        unit_scores: Callable[[str], Tensor],
        *,
        aggregation: Aggregation,
        example: Tensor | None,
    ) -> Mapping[str, Tensor]:
        """The kept channels, bool (channels,), of every convolution and linear layer that can be followed.

        Raises:
            PlanError: there is no `example`, or layers that share channels have different sparsities.
            ShrinkError: torch-pruning is not installed, or cannot follow the model.
        """
        if example is None:
            raise PlanError("granularity 'coupled-channel' needs an example of the inputs: it shows what is shared")
        weights = prunable_parameters(model)
        own = {name: unit_scores(name).cpu().double() for name in weights if plan[name] > 0}
        left = {name: self.pruned_units(weights[name].shape, plan[name], name=name) for name in own}
        kept = {name: torch.ones(len(each), dtype=torch.bool) for name, each in own.items()}
        seen = {name: torch.zeros(len(each), dtype=torch.bool) for name, each in own.items()}
        for size, places in _groups(model, example, weights):
            _check_equal([name for name, _, _ in places], plan)
            if not (places := [each for each in places if each[0] in own]):
                continue
            table = torch.zeros(size, len(places), dtype=torch.float64)
            for column, (name, channels, units) in enumerate(places):
                keep_mask(own[name], 0, name=name)  # NaN is an error of this weight
                table[units, column] = own[name][channels]
                seen[name][channels] = True
            # What padding made of a narrow layer's channels is decided with that; the rest fills a wide layer's count.
            counts = {name: left[name] for name, _, _ in places if seen[name].all()}
            total = aggregated(table, (1,), aggregation) if len(places) > 1 else table[:, 0]
            total = total.masked_fill((table == -torch.inf).any(dim=1), -torch.inf)  # pruned before
            keep = keep_mask(total, _one_count(counts, size, plan), name=places[0][0])
            for name, channels, units in places:
                kept[name][channels] = keep[units]
                left[name] -= int((~keep[units]).sum())
        return {name: each for name, each in kept.items() if seen[name].all()}


def _groups(model: nn.Module, example: Tensor, weights: Mapping[str, nn.Parameter]) -> Iterator[tuple[int, Places]]:
    """The size of each group of layers that share channels, and its weights; without those ranked alone.

    A layer is ranked alone where the graph gives several of its channels to one unit.
    """
    graph = Dependencies(copied(model).cpu(), example.cpu())
    for group, channels in graph.groups():
        position = {channel: unit for unit, channel in enumerate(channels)}
        found: dict[str, tuple[Sequence[int], list[int]]] = {}
        for member in graph.members(group, channels):
            name, units = f"{member.name}.weight", [position[root] for root in member.roots]
            if member.side == "out" and name in weights:
                single = name not in found and len(set(units)) == len(units)
                found[name] = (member.indices, units) if single else ([], [])
        yield len(channels), [(name, *where) for name, where in found.items() if where[0]]


def _check_equal(names: Sequence[str], plan: SparsityPlan) -> None:
    for name in names:
        if plan[name] != plan[names[0]]:
            raise PlanError(
                f"'{names[0]}' and '{name}' share channels: their sparsities must be equal, got {plan[names[0]]:g} and "
                f"{plan[name]:g}"
            )


def _one_count(counts: Mapping[str, int], size: int, plan: SparsityPlan) -> int:
    """The number of units that a group loses, which all weights have to agree on."""
    first = min(counts, key=counts.__getitem__)
    last = max(counts, key=counts.__getitem__)
    if counts[first] != counts[last]:
        raise PlanError(
            f"'{first}' and '{last}' share {size} channels, of which sparsity {plan[first]:g} rounds to "
            f"{counts[first]} in the one and {counts[last]} in the other: expected a sparsity where both are equal"
        )
    return counts[first]
