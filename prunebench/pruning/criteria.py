"""Criteria: how important each element of a weight is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

Criterion = Callable[[Tensor], Tensor]
"""Weight to scores of the same shape, floating point, of either sign; the smallest are pruned first."""


def magnitude(weight: Tensor) -> Tensor:
    """|w|. Source: Han, Pool, Tran, Dally, Learning both Weights and Connections for Efficient Networks, 2015."""
    return weight.detach().abs()


CRITERIA: Mapping[str, Criterion] = MappingProxyType({"magnitude": magnitude})
