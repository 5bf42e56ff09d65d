"""Sensitivity scans: accuracy with one layer pruned at each of several sparsities, the others left alone."""

from prunebench.sensitivity.adaptive.bounds import HalfWidth
from prunebench.sensitivity.adaptive.replaying import replay
from prunebench.sensitivity.exact import ScanProgress
from prunebench.sensitivity.scan import SPARSITIES, Mode, Point, Scan, ScannedLayer, read_scan, write_scan
from prunebench.sensitivity.scanning import scanned_layers, sensitivity_scan

__all__ = [
    "SPARSITIES",
    "HalfWidth",
    "Mode",
    "Point",
    "Scan",
    "ScanProgress",
    "ScannedLayer",
    "read_scan",
    "replay",
    "scanned_layers",
    "sensitivity_scan",
    "write_scan",
]
