"""The base of a granularity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from prunebench.pruning.plans import SparsityPlan
from prunebench.pruning.selection import pruned_count

Aggregation = Literal["l2", "sum"]
"""The one score of several elements that are pruned together: the L2 norm of theirs, or their sum."""


class Granularity:
    """Units of a weight that are pruned as one, each of them as many elements.

    A granularity of one's own is a subclass with `name`, `unit_size`, `unit_scores` and `expand`.

    Attributes:
        name: as records, tables and the command line call it.
    """

    name: str

    def unit_size(self, shape: Sequence[int], *, name: str = "a weight") -> int:
        """The number of elements in a unit of a weight of `shape`.

        Raises:
            PlanError: a weight called `name` of this shape has no such units.
        """
        raise NotImplementedError(f"granularity '{self.name}' has no unit_size")

    def unit_scores(self, scores: Tensor, aggregation: Aggregation = "l2") -> Tensor:
        """The score of each unit, floating point, from those of the elements; the smallest are pruned first."""
        raise NotImplementedError(f"granularity '{self.name}' has no unit_scores")

    def expand(self, kept: Tensor, shape: Sequence[int]) -> Tensor:
        """The bool mask of a weight of `shape` from the bool of each unit."""
        raise NotImplementedError(f"granularity '{self.name}' has no expand")

    def order(self, unit_scores: Tensor, *, name: str = "a weight") -> Tensor:  # noqa: ARG002
        """Floats that units of a layer are pruned in the order of: their scores, where nothing else forbids it."""
        return unit_scores

    def counts(self, shape: Sequence[int], *, name: str = "a weight") -> range:
        """The numbers of elements that a weight of `shape` can lose."""
        return range(0, prod(shape) + 1, self.unit_size(shape, name=name))

    def pruned_units(self, shape: Sequence[int], sparsity: float, *, name: str = "a weight") -> int:
        """The number of units of a weight of `shape` that a sparsity prunes, by the one rule (`pruned_count`)."""
        return pruned_count(prod(shape) // self.unit_size(shape, name=name), sparsity, name=name)

    def pruned_elements(self, shape: Sequence[int], sparsity: float, *, name: str = "a weight") -> int:
        """The number of elements of a weight of `shape` that a sparsity prunes; 0 where nothing has to be divided."""
        if sparsity == 0:
            return 0
        return self.pruned_units(shape, sparsity, name=name) * self.unit_size(shape, name=name)

    def companions(
        self, model: nn.Module, pruned: Sequence[str], example: Tensor | None  # noqa: ARG002
    ) -> Mapping[str, list[str]]:  # fmt: skip
        """The parameters of one dimension that lose what the weights called `pruned` lose, by the weight's name.

        Args:
            example: a batch of inputs (n, ...) that shows how the layers of `model` are connected.

        Raises:
            PlanError: a weight has no such units.
        """
        return {}

    def coupled(self, model: nn.Module, example: Tensor) -> list[list[str]]:  # noqa: ARG002
        """Names of weights that are pruned together, to one sparsity; `example` is a batch of inputs (n, ...)."""
        return []

    def kept_together(
        self,
        model: nn.Module,  # noqa: ARG002
        plan: SparsityPlan,  # noqa: ARG002
        unit_scores: Callable[[str], Tensor],  # noqa: ARG002
        *,
        aggregation: Aggregation,  # noqa: ARG002
        example: Tensor | None,  # noqa: ARG002
    ) -> Mapping[str, Tensor]:
        """The kept units, bool (units,), of weights that are ranked together, by name; others are ranked one by one.

        Args:
            unit_scores: gives those of a weight that loses any, by its name.

        Raises:
            PlanError: the plan prunes such weights otherwise than together.
        """
        return {}


def aggregated(scores: Tensor, dimensions: tuple[int, ...], aggregation: Aggregation) -> Tensor:
    """The L2 norm or sum over `dimensions`, in double precision on the CPU, so that every device prunes the same."""
    values = scores.detach().cpu().double()
    found: Tensor = (
        torch.linalg.vector_norm(values, dim=dimensions) if aggregation == "l2" else values.sum(dim=dimensions)
    )
    return found.float().to(scores.device)
