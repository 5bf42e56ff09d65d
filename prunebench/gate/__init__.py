"""The gate: a record of a run against documented values, floors and a baseline; a scan against its baseline.

Checks return verdicts, they never assert or print.
"""

from prunebench.gate.compare import compare_records
from prunebench.gate.floors import check_floors, check_record, check_sizes
from prunebench.gate.thresholds import Thresholds
from prunebench.gate.verdicts import Status, Tier, Verdict, worst_first

__all__ = [
    "Status",
    "Thresholds",
    "Tier",
    "Verdict",
    "check_floors",
    "check_record",
    "check_sizes",
    "compare_records",
    "worst_first",
]
