"""Records: what one execution measured, with everything needed to judge it later; and the baselines among them."""

from prunebench.files import BASELINES, RUN_FOLDER
from prunebench.records.baselines import (
    Approval,
    Baseline,
    approved,
    baseline_path,
    family,
    list_baselines,
    list_scan_baselines,
    locked,
    read_baseline,
    scan_folder,
    write_baseline,
)
from prunebench.records.cases import case_id, chosen_cases, in_family, name_case
from prunebench.records.collected import Collected, collect
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

__all__ = [
    "BASELINES",
    "RUN_FOLDER",
    "SCHEMA_VERSION",
    "Accuracy",
    "Approval",
    "Baseline",
    "Checkpoints",
    "Collected",
    "Data",
    "FailedRun",
    "FineTuning",
    "Layer",
    "RunRecord",
    "Signature",
    "Timings",
    "approved",
    "baseline_path",
    "case_id",
    "chosen_cases",
    "collect",
    "failures_kept",
    "family",
    "in_family",
    "keep_record",
    "list_baselines",
    "list_scan_baselines",
    "locked",
    "name_case",
    "read_baseline",
    "read_record",
    "scan_folder",
    "write_baseline",
    "write_record",
]
