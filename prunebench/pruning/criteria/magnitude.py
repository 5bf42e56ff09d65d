"""Magnitude."""

from __future__ import annotations

from torch import Tensor

from prunebench.pruning.criteria.criterion import Criterion
from prunebench.pruning.evidence import Evidence


class Magnitude(Criterion):
    """|w|. Source: Han, Pool, Tran, Dally, Learning both Weights and Connections for Efficient Networks, NeurIPS 2015.

    Of a channel or block the L2 norm (He et al. 2018, Soft Filter Pruning).

    Example: weights (1, -4, 2) score (1, 4, 2).
    """

    name = "magnitude"

    def score(self, name: str, weight: Tensor, evidence: Evidence) -> Tensor:  # noqa: ARG002 - needs none
        """|w|."""
        return weight.abs()
