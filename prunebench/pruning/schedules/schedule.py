"""The protocol of a pruning schedule. Training asks it; choosing the masks is somebody else's."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from prunebench.errors import PlanError
from prunebench.pruning.plans import SparsityPlan

CHANGES = 20
"""Changes of the masks that a schedule makes where no frequency is given."""


@runtime_checkable
class PruningSchedule(Protocol):
    """The steps at which masks change while a model is trained, and the sparsities they change to.

    A subclass needs `name` and `plan_at`; the rest has defaults. Steps are the optimizer's, counted from 0. At a step
    of a change the new masks are in force before the forward pass; those that regrow, before the optimizer's step.

    Attributes:
        name: as records and the command line call it.
        rounds: times that the recipe is gone through, each with a new optimizer and its learning rates from the start.
        rewind_to: None to train by the recipe as it is. Else the recipe is that of the dense training, and each round
            begins with the learning rates that follow after so many of its epochs.
        rewinds_weights: at each change, weights too go back to those after epoch `rewind_to` of the dense training.
    """

    name: str
    rounds: int = 1
    rewind_to: int | None = None
    rewinds_weights: bool = False

    def plan_at(self, step: int, steps: int, final: SparsityPlan) -> SparsityPlan | None:
        """The plan of the masks that are chosen anew at `step` of `steps`; None to keep those there are.

        Absolute sparsities that never fall from one change to the next. The last change gives `final`.
        """
        ...

    def dropped(self, step: int, steps: int) -> float:  # noqa: ARG002
        """The fraction of each layer's kept elements that is dropped at `step`, as many others grown in their place."""
        return 0.0

    def growth_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """Scores of the shape of `weight`: the elements with the largest grow. By default random ones.

        Args:
            weight: its `grad` is that of this step's batch, also where it is pruned.
            generator: on the CPU; of this step and layer, whether training was stopped or not.
        """
        return torch.rand(weight.shape, generator=generator).to(weight.device)


def settings_of(schedule: PruningSchedule) -> dict[str, Any]:
    """The settings of a schedule, for its record: the fields of a dataclass, the attributes of another object."""
    if is_dataclass(schedule) and not isinstance(schedule, type):
        return asdict(schedule)
    return dict(vars(schedule))


def check_fraction(schedule: str, name: str, value: float, least: float = 0.0) -> None:
    """Check a setting that is a fraction.

    Raises:
        PlanError: it is no number in [least, 1].
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise PlanError(f"{name} of pruning schedule '{schedule}' must be a number, got {value!r}")
    if not least <= value <= 1:
        raise PlanError(f"{name} of pruning schedule '{schedule}' must be in [{least:g}, 1], got {value}")


def check_whole(schedule: str, name: str, value: int, least: int) -> None:
    """Check a setting that counts.

    Raises:
        PlanError: it is no whole number of at least `least`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise PlanError(
            f"{name} of pruning schedule '{schedule}' must be a whole number of at least {least}, got {value!r}"
        )
