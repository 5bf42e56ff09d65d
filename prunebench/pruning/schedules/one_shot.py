"""One-shot pruning: all at once, before the first step."""

from __future__ import annotations

from dataclasses import dataclass

from prunebench.pruning.plans import SparsityPlan
from prunebench.pruning.schedules.schedule import PruningSchedule


@dataclass(frozen=True)
class OneShot(PruningSchedule):
    """The whole plan before the first step, then fine-tuning. Source: the documented runs; Li et al. 2017."""

    name = "one-shot"

    def plan_at(self, step: int, steps: int, final: SparsityPlan) -> SparsityPlan | None:  # noqa: ARG002
        """The final plan at step 0."""
        return final if step == 0 else None
