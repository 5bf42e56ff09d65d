"""Records: what one execution measured, with everything needed to judge it later."""

from prunebench.records.folder import RECORDS, new_record_path
from prunebench.records.record import (
    SCHEMA_VERSION,
    Accuracy,
    Checkpoints,
    Data,
    FineTuning,
    Layer,
    RunRecord,
    Timings,
    read_record,
    write_record,
)

__all__ = [
    "RECORDS",
    "SCHEMA_VERSION",
    "Accuracy",
    "Checkpoints",
    "Data",
    "FineTuning",
    "Layer",
    "RunRecord",
    "Timings",
    "new_record_path",
    "read_record",
    "write_record",
]
