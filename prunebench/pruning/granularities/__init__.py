"""Granularities: what is pruned as one, from an element to a whole output channel. One file each."""

from prunebench.pruning.granularities.granularity import Aggregation, Granularity, aggregated
from prunebench.pruning.granularities.matrix import inputs_last
from prunebench.pruning.granularities.registry import (
    GRANULARITIES,
    find_granularity,
    granularity_names,
    known_granularity,
)

__all__ = [
    "GRANULARITIES",
    "Aggregation",
    "Granularity",
    "aggregated",
    "find_granularity",
    "granularity_names",
    "inputs_last",
    "known_granularity",
]
