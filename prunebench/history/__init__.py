"""Histories of kept records: curves over commits with their steps, and the search for the commit of one."""

from prunebench.history.collect import Entry, History, collect_history
from prunebench.history.steps import DEFAULT_FIGURES, FIGURES, Curve, Curves, Mark, find_curves

__all__ = [
    "DEFAULT_FIGURES",
    "FIGURES",
    "Curve",
    "Curves",
    "Entry",
    "History",
    "Mark",
    "collect_history",
    "find_curves",
]
