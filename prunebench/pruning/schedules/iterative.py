"""Iterative pruning: some, fine-tune, some more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from prunebench.errors import UnknownNameError
from prunebench.pruning.plans import SparsityPlan
from prunebench.pruning.schedules.schedule import PruningSchedule, check_whole

Spacing = Literal["geometric", "linear"]


@dataclass(frozen=True)
class Iterative(PruningSchedule):
    """Pruning in rounds, each followed by the whole recipe. Source: Han et al. 2015; Renda, Frankle, Carbin 2020.

    After round r of n a layer of final sparsity s has:

    - geometric: 1 - (1 - s)^(r / n). Every round prunes the same fraction of what is left, as in Renda 2020, whose 20 %
      a round make 1 - 0.8^r.
    - linear: s r / n. Every round prunes as many elements.
    """

    rounds: int = 4
    spacing: Spacing = "geometric"
    name = "iterative"

    def __post_init__(self) -> None:
        check_whole(self.name, "rounds", self.rounds, 1)
        if self.spacing not in get_args(Spacing):
            raise UnknownNameError("spacing", self.spacing, get_args(Spacing))

    def plan_at(self, step: int, steps: int, final: SparsityPlan) -> SparsityPlan | None:
        """The plan of a round at its first step."""
        length = steps // self.rounds
        if step % length:
            return None
        part = (step // length + 1) / self.rounds
        if part == 1:
            return final
        if self.spacing == "linear":
            return SparsityPlan({name: sparsity * part for name, sparsity in final.items()})
        return SparsityPlan({name: 1 - (1 - sparsity) ** part for name, sparsity in final.items()})
