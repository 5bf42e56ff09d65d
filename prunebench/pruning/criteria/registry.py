"""Criteria by name: prunebench's own, installed packages', and a user's own classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from prunebench.errors import PlanError
from prunebench.pruning.criteria.bn_scale import BatchNormScale
from prunebench.pruning.criteria.criterion import Criterion
from prunebench.pruning.criteria.fisher import Fisher
from prunebench.pruning.criteria.geometric_median import GeometricMedian
from prunebench.pruning.criteria.magnitude import Magnitude
from prunebench.pruning.criteria.movement import Movement
from prunebench.pruning.criteria.random import Random
from prunebench.pruning.criteria.snip import Snip
from prunebench.pruning.criteria.taylor import Taylor
from prunebench.pruning.criteria.wanda import Wanda
from prunebench.storage.imports import entry_point_names, load_extension

GROUP = "prunebench.criteria"
"""The entry-point group in which packages name criteria of theirs."""

_OWN: tuple[Criterion, ...] = (
    Magnitude(), Random(), Taylor(), Snip(), Fisher(), Wanda(), Movement(), BatchNormScale(), GeometricMedian(),
)  # fmt: skip
CRITERIA: Mapping[str, Criterion] = MappingProxyType({each.name: each for each in _OWN})


def criterion_names() -> list[str]:
    """Prunebench's own criteria and those of installed packages."""
    return [*dict.fromkeys([*CRITERIA, *entry_point_names(GROUP)])]


def find_criterion(name: str | Criterion, *, folder: Path | None = None) -> Criterion:
    """The criterion called `name`, or the class `package.module:name`; `folder` is where modules are looked for.

    Raises:
        UnknownNameError: no such criterion.
        ImportedNameError: it cannot be imported.
        PlanError: what is called so is none.
    """
    if isinstance(name, Criterion):
        return name
    if name in CRITERIA:
        return CRITERIA[name]
    found = load_extension(name, kind="criterion", group=GROUP, known=CRITERIA, folder=folder)
    if not isinstance(found, Criterion):
        raise PlanError(f"'{name}' is no criterion: expected a class with prunebench.Criterion as its base")
    return found
