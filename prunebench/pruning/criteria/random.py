"""Random scores, which any criterion should beat."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from prunebench.pruning.criteria.criterion import Criterion
from prunebench.pruning.evidence import Evidence


class Random(Criterion):
    """Scores drawn from [0, 1) by the seed of the evidence and the name of the weight; the same on every device.

    The control of Blalock et al., What is the State of Neural Network Pruning?, MLSys 2020. A weight's scores hang on
    no other weight: a layer that is kept dense changes nothing in the next.

    Example: by seed 0 a weight called 'weight' of 4 elements scores (0.3715, 0.5886, 0.4780, 0.3798).
    """

    name = "random"
    aggregation = "sum"

    def score(self, name: str, weight: Tensor, evidence: Evidence) -> Tensor:
        """Float64 on the CPU, of which no two are equal in practice."""
        seed = hashlib.sha256(f"{evidence.seed} {name}".encode()).digest()[:8]
        generator = torch.Generator().manual_seed(int.from_bytes(seed, "big"))
        return torch.rand(weight.shape, generator=generator, dtype=torch.float64)
