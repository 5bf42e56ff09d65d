"""A pruning schedule: one-cycle pruning, slow at both ends (Hubens et al. 2021)."""

from dataclasses import dataclass
from math import exp

import prunebench as pb


@dataclass(frozen=True)
class OneCycle(pb.PruningSchedule):
    """A logistic curve over the whole training."""

    slope: float = 14.0
    offset: float = 5.0
    frequency: int = 3
    name = "one-cycle"

    def plan_at(self, step, steps, final):
        """The curve, every few steps; at the last step the final plan."""
        if step == steps - 1:
            return final
        if step % self.frequency:
            return None
        share = (1 + exp(self.offset - self.slope)) / (1 + exp(self.offset - self.slope * step / steps))
        return pb.SparsityPlan({name: sparsity * share for name, sparsity in final.items()})
