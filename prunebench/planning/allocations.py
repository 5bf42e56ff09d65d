"""Allocations by name: how a total is shared over the layers. Published ones, installed packages', a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from prunebench.errors import PlanError
from prunebench.planning.allocators import erk, global_normalized, global_threshold, lamp, uniform
from prunebench.planning.costs import Inventory
from prunebench.pruning import GRANULARITIES, Granularity, pruned_count
from prunebench.sensitivity import ScannedLayer
from prunebench.storage.imports import entry_point_names, load_extension

GROUP = "prunebench.allocations"
"""The entry-point group in which packages name allocations of theirs."""


@runtime_checkable
class Allocation(Protocol):
    """A rule that shares a number of nonzeros over the layers.

    Attributes:
        name: as `--rule` and TOML files call it.
    """

    name: str

    def kept(self, inventory: Inventory, nonzeros: int, scores: Mapping[str, Tensor]) -> Mapping[str, int]:
        """Elements to keep of each layer of `inventory`, no layer more than it has.

        Args:
            nonzeros: over all parameters: `inventory.other_nonzeros` of them are in none of the layers.
            scores: of the units of the layers, by name; by element and magnitude |w|.

        Raises:
            PlanError: so many cannot be had.
        """
        ...


@dataclass
class _Own:
    """One of `planning.allocators`, `about`, which tells of it."""

    name: str
    about: Callable[..., object]
    kept: Callable[[Inventory, int, Mapping[str, Tensor]], dict[str, int]]


OWN: dict[str, Allocation] = {
    each.name: each
    for each in (
        _Own("uniform", uniform, lambda inventory, nonzeros, _: uniform(inventory, nonzeros)),
        _Own("global", global_threshold,
             lambda inventory, nonzeros, scores: global_threshold(scores)(inventory, nonzeros)),
        _Own("global_normalized", global_normalized,
             lambda inventory, nonzeros, scores: global_normalized(scores)(inventory, nonzeros)),
        _Own("erk", erk, lambda inventory, nonzeros, _: erk(inventory, nonzeros)),
        _Own("lamp", lamp, lambda inventory, nonzeros, scores: lamp(scores)(inventory, nonzeros)),
    )
}  # fmt: skip


def allocation_names() -> list[str]:
    """Prunebench's own allocations and those of installed packages."""
    return [*dict.fromkeys([*OWN, *entry_point_names(GROUP)])]


def find_allocation(name: str, *, folder: Path | None = None) -> Allocation:
    """The allocation called `name`, or the object `package.module:object`.

    Raises:
        UnknownNameError: no such allocation.
        ImportedNameError: it cannot be imported.
        PlanError: what is called so is none.
    """
    if name in OWN:
        return OWN[name]
    found = load_extension(name, kind="allocation", group=GROUP, known=OWN, folder=folder)
    if not isinstance(found, Allocation):
        raise PlanError(f"'{name}' is no allocation: expected an object with name and kept (prunebench.Allocation)")
    return found


def allocate(
    allocation: Allocation,
    inventory: Inventory,
    nonzeros: int,
    scores: Mapping[str, Tensor],
    *,
    units: Granularity = GRANULARITIES["element"],
    limits: Mapping[str, float] | None = None,
) -> dict[str, int]:
    """Elements that `allocation` keeps of each layer: exactly as many as asked, or as near as units come to it.

    Layers are rounded down to whole units, and those that lost most by it are pruned by one more as long as that comes
    nearer.

    Args:
        scores: of the units, as `Allocation.kept` takes them.
        limits: the largest sparsity of each layer in it; what a layer may not lose, the others lose as well.

    Raises:
        PlanError: the limits leave too many; or the allocation leaves a layer out, keeps more of one than there is, or
            another number altogether.
    """
    steps = {layer.name: units.counts(layer.shape, name=layer.name).step for layer in inventory.layers}
    least = {layer.name: _least(layer, units, (limits or {}).get(layer.name, 1.0)) for layer in inventory.layers}
    left = inventory.other_nonzeros + sum(least.values())
    if limits and left > nonzeros and set(steps.values()) == {1}:
        raise PlanError(f"{nonzeros:,} nonzeros cannot be had: the largest sparsities allowed leave {left:,}")
    kept: dict[str, int] = {}
    while True:  # each turn takes at least one more layer to its limit
        rest = inventory.without(kept)
        spared = sum(layer.nonzeros - kept[layer.name] for layer in inventory.layers if layer.name in kept)
        wanted = max(nonzeros + spared, rest.other_nonzeros)
        found = _allocated(allocation, rest, wanted, scores) if rest.layers else {}
        beyond = {name: least[name] for name, count in found.items() if limits and count < least[name]}
        kept |= beyond or found
        if not beyond:
            return _in_units(inventory, kept, least, steps)


def _allocated(
    allocation: Allocation, inventory: Inventory, nonzeros: int, scores: Mapping[str, Tensor]
) -> dict[str, int]:
    """Elements that `allocation` keeps of each layer, checked to be possible and, single ones, as many as asked."""
    kept = {name: int(count) for name, count in allocation.kept(inventory, nonzeros, scores).items()}
    for layer in inventory.layers:
        if not 0 <= kept.get(layer.name, -1) <= layer.nonzeros:
            got = kept.get(layer.name, "nothing")
            raise PlanError(
                f"allocation '{allocation.name}' keeps {got} of '{layer.name}': expected 0 to {layer.nonzeros:,}"
            )
    by_element = all(layer.numel == scores[layer.name].numel() for layer in inventory.layers if layer.name in scores)
    total = inventory.other_nonzeros + sum(kept[layer.name] for layer in inventory.layers)
    if by_element and total != nonzeros:
        raise PlanError(f"allocation '{allocation.name}' keeps {total:,} nonzeros: expected {nonzeros:,}")
    return {layer.name: kept[layer.name] for layer in inventory.layers}


def _least(layer: ScannedLayer, units: Granularity, limit: float) -> int:
    """The fewest elements that are left of `layer` by whole units, up to the sparsity `limit`."""
    counts = units.counts(layer.shape, name=layer.name)
    most = counts[min(len(counts) - 1, pruned_count(layer.numel, limit, name=layer.name) // counts.step)]
    return min(layer.nonzeros, layer.numel - most)


def _in_units(
    inventory: Inventory, kept: Mapping[str, int], least: Mapping[str, int], steps: Mapping[str, int]
) -> dict[str, int]:
    wanted = {layer.name: layer.numel - kept[layer.name] for layer in inventory.layers}
    most = {layer.name: layer.numel - least[layer.name] for layer in inventory.layers}
    pruned = {name: min(most[name], count // steps[name] * steps[name]) for name, count in wanted.items()}
    missing = sum(wanted.values()) - sum(pruned.values())
    for name in sorted(wanted, key=lambda name: (pruned[name] - wanted[name]) / steps[name]):
        if pruned[name] < most[name] and steps[name] <= 2 * missing:
            pruned[name] += steps[name]
            missing -= steps[name]
    return {layer.name: min(layer.nonzeros, layer.numel - pruned[layer.name]) for layer in inventory.layers}
