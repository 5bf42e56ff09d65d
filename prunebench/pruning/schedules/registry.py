"""Pruning schedules by name: prunebench's own, installed packages', a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from prunebench.errors import PlanError, UnknownNameError
from prunebench.pruning.schedules.gradual import Gradual
from prunebench.pruning.schedules.iterative import Iterative
from prunebench.pruning.schedules.one_shot import OneShot
from prunebench.pruning.schedules.regrowing import RigL, SparseEvolution
from prunebench.pruning.schedules.rewinding import LearningRateRewinding, WeightRewinding
from prunebench.pruning.schedules.schedule import PruningSchedule
from prunebench.storage.imports import entry_point_names, load_extension

GROUP = "prunebench.pruning_schedules"
"""The entry-point group in which packages name pruning schedules of theirs."""

_ALL = (OneShot(), Iterative(), Gradual(), LearningRateRewinding(), WeightRewinding(), SparseEvolution(), RigL())
OWN: Mapping[str, PruningSchedule] = MappingProxyType({each.name: each for each in _ALL})


def pruning_schedule_names() -> list[str]:
    """Prunebench's own pruning schedules and those of installed packages."""
    return [*dict.fromkeys([*OWN, *entry_point_names(GROUP)])]


def find_pruning_schedule(
    name: str, settings: Mapping[str, Any] | None = None, *, folder: Path | None = None
) -> PruningSchedule:
    """The pruning schedule called `name`, or the object `package.module:object`, with `settings` for its fields.

    Raises:
        UnknownNameError: no such schedule, or no such setting of it.
        ImportedNameError: it cannot be imported.
        PlanError: what is called so is none, or a setting that cannot be.
    """
    found = OWN.get(name) or load_extension(name, kind="pruning schedule", group=GROUP, known=OWN, folder=folder)
    if not isinstance(found, PruningSchedule):
        raise PlanError(
            f"'{name}' is no pruning schedule: expected an object of a subclass of prunebench.PruningSchedule"
        )
    if not settings:
        return found
    if not is_dataclass(found) or isinstance(found, type):
        raise PlanError(f"pruning schedule '{name}' takes no settings: expected none, got {', '.join(settings)}")
    known = [each.name for each in fields(found) if each.init]
    for setting in settings:
        if setting not in known:
            raise UnknownNameError(f"setting of pruning schedule '{name}'", setting, known)
    return replace(found, **settings)
