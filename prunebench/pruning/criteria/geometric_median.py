"""Distance from the geometric median of a layer's filters."""

from __future__ import annotations

import torch
from scipy.spatial.distance import pdist, squareform
from torch import Tensor

from prunebench.pruning.criteria.criterion import Criterion
from prunebench.pruning.evidence import Evidence


class GeometricMedian(Criterion):
    """The sum of a filter's Euclidean distances to all filters of its layer: small where others can stand in for it.

    Only for granularity `channel`. Scores of two layers say nothing about each other.
    Source: He, Liu, Wang, Hu, Yang, Filter Pruning via Geometric Median for Deep Convolutional Neural Networks
    Acceleration, CVPR 2019.

    Example: filters (0, 0), (3, 4) and (6, 8) score 15, 10 and 15: the middle one goes first.
    """

    name = "geometric_median"
    by_channel = True

    def score(self, name: str, weight: Tensor, evidence: Evidence) -> Tensor:  # noqa: ARG002
        """One a channel, float64 (out,), on the CPU."""
        distances = pdist(weight.cpu().double().flatten(1).numpy())  # torch.cdist finds equal filters apart, or is slow
        return torch.from_numpy(squareform(distances).sum(axis=1))
