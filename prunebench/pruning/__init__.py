"""Pruning: criterion, then exact-count selection, then masks, then weights set to zero."""

from prunebench.pruning.criteria import (
    CRITERIA,
    Criterion,
    criterion_names,
    find_criterion,
    scores_of,
)
from prunebench.pruning.evidence import Evidence, Need, add_movement_, evidence_count, gather_evidence
from prunebench.pruning.granularities import (
    GRANULARITIES,
    Aggregation,
    Granularity,
    aggregated,
    find_granularity,
    granularity_names,
    inputs_last,
    known_granularity,
)
from prunebench.pruning.masks import Masks
from prunebench.pruning.plans import SparsityPlan, compounded
from prunebench.pruning.prune import check_units, plan_masks, prune_
from prunebench.pruning.selection import as_sparsity, keep_mask, keep_masks, pruned_count

__all__ = [
    "CRITERIA",
    "GRANULARITIES",
    "Aggregation",
    "Criterion",
    "Evidence",
    "Granularity",
    "Masks",
    "Need",
    "SparsityPlan",
    "add_movement_",
    "aggregated",
    "as_sparsity",
    "check_units",
    "compounded",
    "criterion_names",
    "evidence_count",
    "find_criterion",
    "find_granularity",
    "gather_evidence",
    "granularity_names",
    "inputs_last",
    "keep_mask",
    "keep_masks",
    "known_granularity",
    "plan_masks",
    "prune_",
    "pruned_count",
    "scores_of",
]
