"""Sizes and costs of a model: nonzeros, nominal and file size, multiply-accumulates; histograms of its weights."""

from prunebench.measure.histograms import BINS, bin_edges, weight_counts
from prunebench.measure.macs import count_macs
from prunebench.measure.sizes import MIB, file_size_bytes, nominal_size_bits, nonzeros
from prunebench.measure.traffic import bytes_moved

__all__ = [
    "BINS",
    "MIB",
    "bin_edges",
    "bytes_moved",
    "count_macs",
    "file_size_bytes",
    "nominal_size_bits",
    "nonzeros",
    "weight_counts",
]
