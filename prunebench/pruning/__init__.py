"""Pruning: criterion, then exact-count selection, then masks, then weights set to zero."""

from prunebench.pruning.criteria import CRITERIA, Criterion, magnitude
from prunebench.pruning.granularities import GRANULARITIES, Granularity, find_granularity
from prunebench.pruning.masks import Masks
from prunebench.pruning.plans import SparsityPlan, compounded
from prunebench.pruning.prune import prune_
from prunebench.pruning.selection import as_sparsity, keep_mask, keep_masks, pruned_count

__all__ = [
    "CRITERIA",
    "GRANULARITIES",
    "Criterion",
    "Granularity",
    "Masks",
    "SparsityPlan",
    "as_sparsity",
    "compounded",
    "find_granularity",
    "keep_mask",
    "keep_masks",
    "magnitude",
    "prune_",
    "pruned_count",
]
