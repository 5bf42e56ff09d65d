"""Gradual pruning: a little every few steps, ever less."""

from __future__ import annotations

from dataclasses import dataclass

from prunebench.pruning.plans import SparsityPlan
from prunebench.pruning.schedules.schedule import CHANGES, PruningSchedule, check_fraction, check_whole


@dataclass(frozen=True)
class Gradual(PruningSchedule):
    """The cubic curve from 0 to the final sparsity s: s - s (1 - (t - t0) / (t1 - t0))^3 at step t.

    Source: Zhu, Gupta 2017, To Prune, or Not to Prune, whose initial sparsity is 0 here.

    Attributes:
        start, end: t0 and t1, as fractions of all steps; after `end` the masks stay. At least the last step has the
            final ones.
        frequency: steps between changes; None for 20 changes, of one step each at least.
    """

    start: float = 0.0
    end: float = 0.5
    frequency: int | None = None
    name = "gradual"

    def __post_init__(self) -> None:
        check_fraction(self.name, "start", self.start)
        check_fraction(self.name, "end", self.end, self.start)
        if self.frequency is not None:
            check_whole(self.name, "frequency", self.frequency, 1)

    def plan_at(self, step: int, steps: int, final: SparsityPlan) -> SparsityPlan | None:
        """The curve at `start` and every `frequency` steps after it; the final plan at `end`."""
        last = min(round(self.end * steps), steps - 1)
        first = min(round(self.start * steps), last)
        every = self.frequency or max(1, (last - first) // CHANGES)
        if step == last:
            return final
        if not first <= step < last or (step - first) % every:
            return None
        left = (1 - (step - first) / (last - first)) ** 3
        return SparsityPlan({name: sparsity - sparsity * left for name, sparsity in final.items()})
