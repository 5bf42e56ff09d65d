"""Sparse training with regrowth: the sparsity stays, which elements are kept changes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from prunebench.pruning.plans import SparsityPlan
from prunebench.pruning.schedules.schedule import CHANGES, PruningSchedule, check_fraction, check_whole


@dataclass(frozen=True)
class SparseEvolution(PruningSchedule):
    """SET: the least important kept elements are dropped, and as many others grown at random.

    Grown elements begin at zero, and without momentum. Dropped ones may grow again at once, and then stay as they were.
    Layers that the plan keeps dense stay so. By element only. Source: Mocanu et al. 2018, Scalable Training of
    Artificial Neural Networks with Adaptive Sparse Connectivity, who change the masks once an epoch and draw the
    weights of new elements.

    Attributes:
        fraction: of each layer's kept elements, dropped at a change.
        end: fraction of all steps after which the masks stay.
        frequency: steps between changes; None for 20 changes, of one step each at least.
    """

    fraction: float = 0.3
    end: float = 0.75
    frequency: int | None = None
    name = "set"

    def __post_init__(self) -> None:
        check_fraction(self.name, "fraction", self.fraction)
        check_fraction(self.name, "end", self.end)
        if self.frequency is not None:
            check_whole(self.name, "frequency", self.frequency, 1)

    def plan_at(self, step: int, steps: int, final: SparsityPlan) -> SparsityPlan | None:
        """The final plan at step 0, and at every change."""
        return final if step == 0 or self._is_due(step, steps) else None

    def _is_due(self, step: int, steps: int) -> bool:
        every = self.frequency or max(1, round(self.end * steps) // CHANGES)
        return 0 < step < self.end * steps and step % every == 0

    def dropped(self, step: int, steps: int) -> float:
        """The fraction, at every change."""
        return self.fraction if self._is_due(step, steps) else 0.0


@dataclass(frozen=True)
class RigL(SparseEvolution):
    """SET that grows the elements of the largest gradient, and drops ever fewer.

    At step t it drops fraction / 2 (1 + cos(pi t / T)), T being `end`. Source: Evci et al. 2020, Rigging the Lottery,
    where a change takes the place of the optimizer's step; here that step follows, by the same gradient.
    """

    name = "rigl"

    def dropped(self, step: int, steps: int) -> float:
        """The cosine, at every change."""
        return super().dropped(step, steps) / 2 * (1 + math.cos(math.pi * step / max(1, self.end * steps)))

    def growth_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """The size of the gradient; 0 where there is none."""
        return torch.zeros_like(weight) if weight.grad is None else weight.grad.abs()
