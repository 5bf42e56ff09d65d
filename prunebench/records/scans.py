"""Scans as records: the case one is of, and where it is kept.

A scan's case is `DATA/scan-MODEL-IMAGES`, for example `digits/scan-vgg-600`. What departs from the usual is added:
`-kept29` (a base model of which 29 % of the elements are not zero), `-random` (a criterion other than magnitude),
`-bf16`, `-adaptive`, in this order. It follows from the scan alone. Scans are kept below `scans/` in the folder of
baselines and in the run folder, each in the folder of its data: `baselines/scans/digits/scan-vgg-600.json`. So whatever
looks for records of runs finds none of them, and the other way round.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from prunebench.records.cases import in_path
from prunebench.records.run_folder import keep_text
from prunebench.sensitivity import Scan
from prunebench.storage.documents import render
from prunebench.storage.files import RUN_FOLDER

SCANS = "scans"
"""The folder of scans in a folder of records or baselines."""


def scan_case(scan: Scan) -> str:
    """The id of the case that `scan` is of."""
    kept = round(100 * scan.nonzeros / scan.elements) if scan.elements else 100
    variants = (
        "" if kept == 100 else f"-kept{kept}",
        "" if scan.criterion == "magnitude" else f"-{in_path(scan.criterion)}",
        "" if scan.precision == "fp32" else f"-{scan.precision}",
        "" if scan.mode == "exact" else f"-{scan.mode}",
    )
    return f"{in_path(scan.data)}/scan-{in_path(scan.model)}-{scan.images}{''.join(variants)}"


def keep_scan(scan: Scan, folder: Path = RUN_FOLDER, *, now: datetime | None = None) -> Path:
    """Write a scan to a new file below `folder`, whole or not at all, and return its path. Many processes may at once.

    Raises:
        StorageError: the folder cannot be made or written.
    """
    data, _, name = scan_case(scan).partition("/")
    return keep_text(render(scan.model_dump(mode="json")), name, folder / SCANS / data, now=now)
