"""Tables and lines for people. Nothing here prints."""

from prunebench.report.scans import scan_baseline_text, scan_baselines_table, scan_heading, scan_table
from prunebench.report.tables import (
    accuracy_table,
    baseline_text,
    baselines_table,
    claims_table,
    data_table,
    heading,
    layer_table,
    runs_table,
)

__all__ = [
    "accuracy_table",
    "baseline_text",
    "baselines_table",
    "claims_table",
    "data_table",
    "heading",
    "layer_table",
    "runs_table",
    "scan_baseline_text",
    "scan_baselines_table",
    "scan_heading",
    "scan_table",
]
