"""Sensitivity scans: accuracy with one layer pruned at each of several sparsities, the others left alone."""

from prunebench.sensitivity.bounds import HalfWidth
from prunebench.sensitivity.scan import SPARSITIES, Mode, Point, Scan, ScannedLayer, read_scan, write_scan
from prunebench.sensitivity.scanning import ScanProgress, sensitivity_scan

__all__ = [
    "SPARSITIES",
    "HalfWidth",
    "Mode",
    "Point",
    "Scan",
    "ScanProgress",
    "ScannedLayer",
    "read_scan",
    "sensitivity_scan",
    "write_scan",
]
