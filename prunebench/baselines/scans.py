"""Baselines of scans: scans that a person approved."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from prunebench.baselines.collected import looks_like_scan
from prunebench.baselines.shelf import Approval, case_of, scan_folder
from prunebench.errors import RecordError
from prunebench.gate.consistency import scan_contradictions
from prunebench.records.scans import scan_case
from prunebench.sensitivity import Scan
from prunebench.sensitivity.scan import parse_scan, read_scan
from prunebench.storage.documents import (
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
from prunebench.storage.files import BASELINES, write_text

SCHEMA_VERSION = 1


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


def sound_scan(path: Path) -> Scan:
    """The scan of a file, or of a file with the baseline of one, that agrees with itself: what others reckon with.

    Raises:
        RecordError: neither, damaged, or a scan that contradicts itself.
    """
    scan = read_any_scan(path)
    if broken := scan_contradictions(scan):
        raise RecordError(f"the scan '{path}' contradicts itself: {broken[0]}")
    return scan
