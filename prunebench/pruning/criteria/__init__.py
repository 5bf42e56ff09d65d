"""Criteria: how important each element of a weight is. One file each."""

from prunebench.pruning.criteria.criterion import Criterion, scores_of
from prunebench.pruning.criteria.registry import CRITERIA, criterion_names, find_criterion

__all__ = [
    "CRITERIA",
    "Criterion",
    "criterion_names",
    "find_criterion",
    "scores_of",
]
