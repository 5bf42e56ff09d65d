"""Records: what one execution measured, with everything needed to judge it later."""

from prunebench.records.cases import case_id, chosen_cases, in_family, name_case
from prunebench.records.record import (
    SCHEMA_VERSION,
    Accuracy,
    Checkpoints,
    Data,
    FailedRun,
    FineTuning,
    Layer,
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
    "Layer",
    "RunRecord",
    "Signature",
    "Timings",
    "case_id",
    "chosen_cases",
    "failures_kept",
    "in_family",
    "keep_record",
    "name_case",
    "read_record",
    "write_record",
]
