"""Physically smaller models: pruned channels removed, with everything that depends on them."""

from prunebench.shrink.removal import EXAMPLES, Shrunk, StillMasked, shrunk

__all__ = ["EXAMPLES", "Shrunk", "StillMasked", "shrunk"]
