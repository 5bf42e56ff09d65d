"""Elements: each weight on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from torch import Tensor, nn

from prunebench.pruning.selection import pruned_count


class Element:
    """Single elements."""

    name = "element"

    def pruned_units(self, shape: Sequence[int], sparsity: float, *, name: str = "a weight") -> int:
        """`round(sparsity * numel)`."""
        return pruned_count(prod(shape), sparsity, name=name)

    def unit_size(self, shape: Sequence[int]) -> int:  # noqa: ARG002 - as the protocol says
        """One."""
        return 1

    def unit_scores(self, scores: Tensor) -> Tensor:
        """The scores themselves."""
        return scores

    def expand(self, kept: Tensor, shape: Sequence[int]) -> Tensor:  # noqa: ARG002
        """The mask itself."""
        return kept

    def companions(
        self, model: nn.Module, pruned: Sequence[str], example: Tensor | None  # noqa: ARG002
    ) -> Mapping[str, list[str]]:  # fmt: skip
        """None: biases and batch norm stay as they are."""
        return {}
