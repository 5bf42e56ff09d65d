"""The protocol of a granularity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn


class Granularity(Protocol):
    """Units of a weight that are pruned as one, each of them as many elements.

    Attributes:
        name: as records, tables and the command line call it.
    """

    name: str

    def pruned_units(self, shape: Sequence[int], sparsity: float, *, name: str = "a weight") -> int:
        """The number of units of a weight of `shape` that a sparsity prunes, by the one rule (`pruned_count`)."""
        ...

    def unit_size(self, shape: Sequence[int]) -> int:
        """The number of elements in a unit of a weight of `shape`."""
        ...

    def unit_scores(self, scores: Tensor) -> Tensor:
        """The score of each unit, floating point, from those of the elements; the smallest are pruned first."""
        ...

    def expand(self, kept: Tensor, shape: Sequence[int]) -> Tensor:
        """The bool mask of a weight of `shape` from the bool of each unit."""
        ...

    def companions(self, model: nn.Module, pruned: Sequence[str], example: Tensor | None) -> Mapping[str, list[str]]:
        """The parameters of one dimension that lose what the weights called `pruned` lose, by the weight's name.

        Args:
            example: a batch of inputs (n, ...) that shows how the layers of `model` are connected.

        Raises:
            PlanError: a weight has no such units.
        """
        ...
