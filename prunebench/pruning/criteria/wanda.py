"""Weights and activations."""

from __future__ import annotations

from torch import Tensor

from prunebench.pruning.criteria.criterion import Criterion
from prunebench.pruning.evidence import Evidence, Need


class Wanda(Criterion):
    """|w| times the L2 norm of the input that it multiplies, over all examples and positions.

    Source: Sun, Liu, Bair, Kolter, A Simple and Effective Pruning Approach for Large Language Models, ICLR 2024,
    equation 1, for linear layers. A convolution's input is its unfolded one: each weight of (input channel, kernel
    position) multiplies the values that this position sees, zero padding included. A grouped convolution sees its
    group's. Of a channel or block the L2 norm.

    The paper compares the weights of one output with each other. Here the granularity says what is compared: with
    `element` all of a layer, with `N:M` the M of a group; `N:M` with M a row's length is the paper's comparison.

    Example: weights (2, -3) on inputs (3, 1) and (4, 0), whose norms are (5, 1), score (10, 3).
    """

    name = "wanda"
    needs = frozenset[Need]({"input_norms"})

    def score(self, name: str, weight: Tensor, evidence: Evidence) -> Tensor:
        """Float64 on the CPU."""
        norms = evidence.of("input_norms", name)  # (groups, inputs, *kernel)
        return weight.cpu().double().abs() * norms.repeat_interleave(len(weight) // len(norms), 0)
