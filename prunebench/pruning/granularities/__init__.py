"""Granularities: what is pruned as one, an element or a whole output channel. One file each."""

from prunebench.pruning.granularities.granularity import Granularity
from prunebench.pruning.granularities.registry import GRANULARITIES, find_granularity

__all__ = ["GRANULARITIES", "Granularity", "find_granularity"]
