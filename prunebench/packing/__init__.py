"""Sparse files: models packed without loss into few bytes, and what they take in other formats."""

from prunebench.packing.pack import Packed, pack, packed_bytes, read_packed, unpack
from prunebench.packing.sizes import BREAK_EVEN, DENSE, Weight, sizes_from_counts, sizes_of

__all__ = [
    "BREAK_EVEN",
    "DENSE",
    "Packed",
    "Weight",
    "pack",
    "packed_bytes",
    "read_packed",
    "sizes_from_counts",
    "sizes_of",
    "unpack",
]
