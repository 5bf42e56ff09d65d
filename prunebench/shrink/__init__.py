"""Physically smaller models: pruned channels removed, with everything that depends on them."""

from prunebench.shrink.removal import Shrunk, StillMasked, shrunk

__all__ = ["Shrunk", "StillMasked", "shrunk"]
