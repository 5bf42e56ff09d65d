"""The gate: a record against documented values and floors. Checks return verdicts, they never assert or print."""

from prunebench.gate.floors import check_accuracy, check_record, check_sizes
from prunebench.gate.verdicts import Status, Verdict, worst_first

__all__ = ["Status", "Verdict", "check_accuracy", "check_record", "check_sizes", "worst_first"]
