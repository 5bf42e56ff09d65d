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
    summary_table,
)
from prunebench.report.verdicts import least_sensitive, notable, passed_lines, verdict_lines

__all__ = [
    "accuracy_table",
    "baseline_text",
    "baselines_table",
    "claims_table",
    "data_table",
    "heading",
    "layer_table",
    "least_sensitive",
    "notable",
    "passed_lines",
    "runs_table",
    "scan_baseline_text",
    "scan_baselines_table",
    "scan_heading",
    "scan_table",
    "summary_table",
    "verdict_lines",
]
