"""Records of runs and scans: figures of one execution, with everything needed to judge them later."""

from prunebench.records.cases import case_id, chosen_cases, family, in_families, name_case
from prunebench.records.record import (
    SCHEMA_VERSION,
    Accuracy,
    Checkpoints,
    Data,
    FailedRun,
    FineTuning,
    Histogram,
    Layer,
    Packed,
    Record,
    RunRecord,
    Signature,
    Timings,
    read_record,
    write_record,
)
from prunebench.records.run_folder import failures_kept, keep_record
from prunebench.storage.files import BASELINES, RUN_FOLDER

__all__ = [
    "BASELINES",
    "RUN_FOLDER",
    "SCHEMA_VERSION",
    "Accuracy",
    "Checkpoints",
    "Data",
    "FailedRun",
    "FineTuning",
    "Histogram",
    "Layer",
    "Packed",
    "Record",
    "RunRecord",
    "Signature",
    "Timings",
    "case_id",
    "chosen_cases",
    "failures_kept",
    "family",
    "in_families",
    "keep_record",
    "name_case",
    "read_record",
    "write_record",
]
