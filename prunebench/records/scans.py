"""Scans as records: the case one is of, where it is kept, and the baselines among them.

A scan's case is `DATA/scan-MODEL-IMAGES`, for example `digits/scan-vgg-600`. What departs from the usual is added:
`-kept29` (a base model of which 29 % of the elements are not zero), `-random` (a criterion other than magnitude),
`-bf16`, `-adaptive`, in this order. It follows from the scan alone. Scans are kept below `scans/` in the folder of
baselines and in the run folder, each in the folder of its data: `baselines/scans/digits/scan-vgg-600.json`. So whatever
looks for records of runs finds none of them, and the other way round.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from prunebench.documents import (
    Content,
    Digest,
    Part,
    check_kind,
    content_digest,
    parsed,
    read_document,
    render,
    verified,
)
from prunebench.errors import RecordError
from prunebench.files import BASELINES, RUN_FOLDER, write_text
from prunebench.records.baselines import Approval, case_of, scan_folder
from prunebench.records.cases import in_path
from prunebench.records.collected import looks_like_scan
from prunebench.records.run_folder import keep_text
from prunebench.sensitivity import Scan
from prunebench.sensitivity.scan import parse_scan, read_scan

SCHEMA_VERSION = 1


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
    return keep_text(render(scan.model_dump(mode="json")), name, scan_folder(folder) / data, now=now)


class ScanBaseline(Part):
    """A scan that a person approved. `digest` is over all the rest, as it stands in the file."""

    schema_version: Literal[1] = 1
    approval: Approval
    scan: Scan
    digest: Digest

    @property
    def case(self) -> str:
        """The case it is the baseline of."""
        return scan_case(self.scan)


def approved_scan(scan: Scan, approval: Approval) -> ScanBaseline:
    """The baseline that `approval` makes of `scan`."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "approval": approval.model_dump(mode="json"),
        "scan": scan.model_dump(mode="json"),
    }
    return ScanBaseline(approval=approval, scan=scan, digest=content_digest(content))


def scan_baseline_path(case: str, folder: Path = BASELINES) -> Path:
    """Where the baseline of a scan's case is kept in the folder of all baselines."""
    return scan_folder(folder) / f"{case}.json"


def write_scan_baseline(baseline: ScanBaseline, folder: Path = BASELINES) -> Path:
    """Write it to its place in `folder`, whole or not at all.

    Raises:
        StorageError: the folder cannot be written.
    """
    path = scan_baseline_path(baseline.case, folder)
    write_text(path, render(baseline.model_dump(mode="json")))
    return path


def read_scan_baseline(path: Path) -> ScanBaseline:
    """Read what `write_scan_baseline` wrote.

    Raises:
        RecordError: absent, not JSON, edited since it was approved, of a newer schema, damaged, or in the place of
            another case.
    """
    return _parse_baseline(read_document(path), path=path)


def holds_scan(path: Path) -> bool:
    """Whether a file looks like a scan or the baseline of one, and not like the record of a run; it may be damaged."""
    return path.is_file() and looks_like_scan(read_document(path))


def read_any_scan(path: Path) -> Scan:
    """The scan of a file, or of a file with the baseline of one.

    Raises:
        RecordError: neither, or damaged.
    """
    content = read_document(path)
    check_kind(content, "a sensitivity scan", "the baseline of a scan", path=path)
    return _parse_baseline(content, path=path).scan if "approval" in content else read_scan(path)


def _parse_baseline(content: Content, *, path: Path) -> ScanBaseline:
    check_kind(content, "the baseline of a scan", path=path)
    digest = content.get("digest")
    content = verified(content, path=path, newest=SCHEMA_VERSION)
    if not isinstance(content.get("scan"), dict):
        raise RecordError(f"'{path}' is damaged: scan: expected an object")
    scan = parse_scan(content["scan"], path=path)
    baseline = parsed(ScanBaseline, {**content, "scan": scan.model_dump(mode="json"), "digest": digest}, path=path)
    if baseline.case != case_of(path):
        raise RecordError(f"'{path}' holds the baseline of {baseline.case}: it was moved or copied; put it back")
    return baseline
