"""The gate: a record against documented values, floors and a baseline.

Checks return verdicts, they never assert or print.
"""

from prunebench.gate.compare import compare_records
from prunebench.gate.floors import check_accuracy, check_record, check_sizes
from prunebench.gate.thresholds import Thresholds
from prunebench.gate.verdicts import Status, Tier, Verdict, outcome, worst_first

__all__ = [
    "Status",
    "Thresholds",
    "Tier",
    "Verdict",
    "check_accuracy",
    "check_record",
    "check_sizes",
    "compare_records",
    "outcome",
    "worst_first",
]
