"""N:M sparsity: the N most important of every M consecutive inputs are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from prunebench.errors import PlanError
from prunebench.pruning.granularities.element import Element
from prunebench.pruning.granularities.matrix import check_inputs, check_matrices, inputs_last
from prunebench.pruning.selection import pruned_count, refuse_nan


class NM(Element):
    """N of every M consecutive inputs of an output are kept; of a convolution, at each kernel position (`inputs_last`).

    A layer's sparsity is either 0 or 1 - N/M. Of equals the lower input is pruned first. Source: Mishra et al.,
    Accelerating Sparse Deep Neural Networks, 2021 (2:4); Zhou et al., Learning N:M Fine-grained Structured Sparse
    Neural Networks From Scratch, ICLR 2021.

    The stacked projections of attention are linear layers like others, and so are those of recurrent layers. A grouped
    convolution has runs of its group's inputs. What M does not divide, as a depthwise convolution's one input, and what
    has no inputs in its second dimension, as embeddings and transposed convolutions, is refused by name.
    """

    def __init__(self, kept: int, of: int) -> None:
        if not 0 < kept < of:
            raise PlanError(f"granularity N:M must have N from 1 to M - 1, got '{kept}:{of}'")
        self.name = f"{kept}:{of}"
        self._kept, self._of = kept, of

    def unit_size(self, shape: Sequence[int], *, name: str = "a weight") -> int:
        """One: elements are chosen one by one, M at a time."""
        check_inputs(shape, self._of, granularity=self.name, name=name)
        return 1

    def order(self, unit_scores: Tensor, *, name: str = "a weight") -> Tensor:
        """The rank of each element in its run of M, from 0: the M - N lowest ranks are exactly what is pruned."""
        refuse_nan(unit_scores, name=name)
        matrix = inputs_last(unit_scores.detach() + 0.0)  # + 0.0: -0.0 is 0.0
        runs = matrix.reshape(*matrix.shape[:-1], -1, self._of)
        ranks = runs.argsort(dim=-1, stable=True).argsort(dim=-1).flatten(-2)
        return torch.empty_like(unit_scores, dtype=torch.float32).copy_(ranks.movedim(-1, 1))

    def counts(self, shape: Sequence[int], *, name: str = "a weight") -> range:
        """None, or M - N of every M."""
        numel = prod(shape) // self.unit_size(shape, name=name)
        pruned = numel // self._of * (self._of - self._kept)
        return range(0, pruned + 1, pruned)

    def pruned_units(self, shape: Sequence[int], sparsity: float, *, name: str = "a weight") -> int:
        """M - N of every M elements, or none.

        Raises:
            PlanError: the sparsity is neither 0 nor 1 - N/M, to the nearest element.
        """
        pruned = pruned_count(prod(shape), sparsity, name=name)
        if pruned and pruned not in self.counts(shape, name=name):
            fits = f"0 or {1 - self._kept / self._of:.6g}"
            raise PlanError(f"sparsity of '{name}' by granularity {self.name} must be {fits}, got {sparsity:g}")
        return pruned

    def companions(self, model: nn.Module, pruned: Sequence[str], example: Tensor | None) -> Mapping[str, list[str]]:  # noqa: ARG002
        """None.

        Raises:
            PlanError: a weight has no inputs in its second dimension.
        """
        check_matrices(model, pruned, granularity=self.name)
        return {}
