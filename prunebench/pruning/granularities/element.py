"""Elements: each weight on its own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from prunebench.pruning.granularities.granularity import Aggregation, Granularity


class Element(Granularity):
    """Single elements. Biases and batch norm stay as they are."""

    name = "element"

    def unit_size(self, shape: Sequence[int], *, name: str = "a weight") -> int:  # noqa: ARG002 - as the base says
        """One."""
        return 1

    def unit_scores(self, scores: Tensor, aggregation: Aggregation = "l2") -> Tensor:  # noqa: ARG002
        """The scores themselves."""
        return scores

    def expand(self, kept: Tensor, shape: Sequence[int]) -> Tensor:  # noqa: ARG002
        """The mask itself."""
        return kept
