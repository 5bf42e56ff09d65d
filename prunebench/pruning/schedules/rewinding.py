"""Rewinding: after each pruning, back to an earlier point of the dense training."""

from __future__ import annotations

from dataclasses import dataclass

from prunebench.pruning.schedules.iterative import Iterative
from prunebench.pruning.schedules.schedule import check_whole


@dataclass(frozen=True)
class LearningRateRewinding(Iterative):
    """Iterative pruning that trains each round by the dense recipe's learning rates, from `rewind_to` on.

    The weights stay those there are. Each round lasts the dense recipe's epochs less `rewind_to`. One round is one-shot
    pruning with rewinding. Source: Renda, Frankle, Carbin 2020, Comparing Rewinding and Fine-tuning.
    """

    rewind_to: int = 0
    name = "learning-rate-rewinding"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self.name, "rewind_to", self.rewind_to, 0)


@dataclass(frozen=True)
class WeightRewinding(LearningRateRewinding):
    """Learning-rate rewinding that also puts weights and buffers back to those after epoch `rewind_to`.

    Masks are chosen by the trained weights, then the early ones are masked. It needs a checkpoint of the dense training
    after that epoch. Source: Frankle et al. 2020, Linear Mode Connectivity and the Lottery Ticket Hypothesis.
    """

    rewinds_weights = True
    name = "weight-rewinding"
