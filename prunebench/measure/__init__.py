"""Sizes and costs of a model: nonzeros, nominal and file size, multiply-accumulates."""

from prunebench.measure.macs import count_macs
from prunebench.measure.sizes import MIB, file_size_bytes, nominal_size_bits, nonzeros

__all__ = ["MIB", "count_macs", "file_size_bytes", "nominal_size_bits", "nonzeros"]
