"""Allocations by name: how a total is shared over the layers. Published ones, installed packages', a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from prunebench.errors import PlanError
from prunebench.planning.allocators import erk, global_magnitude, lamp, uniform
from prunebench.planning.costs import Inventory
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

    def kept(self, inventory: Inventory, nonzeros: int, weights: Mapping[str, Tensor]) -> Mapping[str, int]:
        """Elements to keep of each layer of `inventory`, no layer more than it has.

        Args:
            nonzeros: over all parameters: `inventory.other_nonzeros` of them are in none of the layers.
            weights: of the layers, by name.

        Raises:
            PlanError: so many cannot be had.
        """
        ...


@dataclass
class _Own:
    name: str
    kept: Callable[[Inventory, int, Mapping[str, Tensor]], dict[str, int]]


OWN: dict[str, Allocation] = {
    "uniform": _Own("uniform", lambda inventory, nonzeros, _: uniform(inventory, nonzeros)),
    "magnitude": _Own("magnitude", lambda inventory, nonzeros, weights: global_magnitude(weights)(inventory, nonzeros)),
    "erk": _Own("erk", lambda inventory, nonzeros, _: erk(inventory, nonzeros)),
    "lamp": _Own("lamp", lambda inventory, nonzeros, weights: lamp(weights)(inventory, nonzeros)),
}


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
    allocation: Allocation, inventory: Inventory, nonzeros: int, weights: Mapping[str, Tensor]
) -> dict[str, int]:
    """Elements that `allocation` keeps of each layer, checked to be possible and exactly as many as asked.

    Raises:
        PlanError: it leaves a layer out, keeps more of one than there is, or another number altogether.
    """
    kept = {name: int(count) for name, count in allocation.kept(inventory, nonzeros, weights).items()}
    for layer in inventory.layers:
        if not 0 <= kept.get(layer.name, -1) <= layer.nonzeros:
            got = kept.get(layer.name, "nothing")
            raise PlanError(
                f"allocation '{allocation.name}' keeps {got} of '{layer.name}': expected 0 to {layer.nonzeros:,}"
            )
    if (total := inventory.other_nonzeros + sum(kept[layer.name] for layer in inventory.layers)) != nonzeros:
        raise PlanError(f"allocation '{allocation.name}' keeps {total:,} nonzeros: expected {nonzeros:,}")
    return {layer.name: kept[layer.name] for layer in inventory.layers}
