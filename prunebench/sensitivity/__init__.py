"""Sensitivity scans: accuracy with one layer pruned at each of several sparsities, the others left alone."""

from prunebench.sensitivity.scan import SPARSITIES, Point, Scan, ScannedLayer, read_scan, write_scan

__all__ = ["SPARSITIES", "Point", "Scan", "ScannedLayer", "read_scan", "write_scan"]
