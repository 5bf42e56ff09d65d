"""Sparse files: models packed without loss into few bytes, and what other formats would take."""

from prunebench.packing.pack import Packed, pack, packed_bytes, read_packed, unpack

__all__ = ["Packed", "pack", "packed_bytes", "read_packed", "unpack"]
