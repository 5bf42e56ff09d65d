"""Diagonal Fisher information."""

from __future__ import annotations

from torch import Tensor

from prunebench.pruning.criteria.criterion import Criterion
from prunebench.pruning.evidence import Evidence, Need


class Fisher(Criterion):
    """w^2 F / 2 with the empirical Fisher F, the mean over examples of each one's squared gradient.

    Optimal brain damage with F in the place of the second derivative: the rise of the loss, to second order, were the
    weight zero, at a minimum of the loss. Squares are of single examples, as F is defined: the square of a batch's mean
    gradient goes to 0 with the size of the batch, and would give `taylor` under another name.
    Sources: LeCun, Denker, Solla, Optimal Brain Damage, NeurIPS 1989; with F: Theis, Korshunova, Tejani, Huszar, Faster
    gaze prediction with dense networks and Fisher pruning, 2018. Of a channel or block the sum.

    Example: w = 3 with gradients 1 and -2 of two examples scores 3^2 (1 + 4) / 2 / 2 = 11.25.
    """

    name = "fisher"
    needs = frozenset[Need]({"example_squares"})
    aggregation = "sum"

    def score(self, name: str, weight: Tensor, evidence: Evidence) -> Tensor:
        """Float64 on the CPU."""
        return weight.cpu().double().square() * evidence.of("example_squares", name).double() / 2
