"""Physically smaller models: pruned channels removed, with everything that depends on them."""

from prunebench.shrink.answers import Comparison, compare_answers
from prunebench.shrink.removal import Shrunk, StillMasked, shrunk

__all__ = ["Comparison", "Shrunk", "StillMasked", "compare_answers", "shrunk"]
