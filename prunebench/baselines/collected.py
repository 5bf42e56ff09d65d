"""One side of a comparison: the records of runs and scans of a file or folder, by case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prunebench.baselines.shelf import Approval, Baseline, case_of, list_baselines, parse_baseline
from prunebench.errors import RecordError
from prunebench.records import FailedRun, Record, case_id
from prunebench.records.cases import check_case_id
from prunebench.records.record import parse_kept
from prunebench.sensitivity import Scan
from prunebench.storage.documents import Content, check_kind, read_document
from prunebench.storage.files import BASELINES


@dataclass(frozen=True, kw_only=True)
class Collected:
    """Records of a file or folder.

    Attributes:
        records: by case; of several records of a case, the newest.
        paths: the file of each record.
        approvals: of those that are approved baselines.
        unusable: why there is no record: of a case whose newest run failed, of a baseline that was edited, or, by file
            name, of a file that says not even which case it is of.
        is_folder: whether a case that is not here may be called missing.
    """

    records: Mapping[str, Record] = field(default_factory=dict)
    paths: Mapping[str, Path] = field(default_factory=dict)
    approvals: Mapping[str, Approval] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)
    is_folder: bool = False

    @property
    def cases(self) -> list[str]:
        """Every case found, usable or not, sorted."""
        return sorted({*self.records, *self.unusable})


def read_any(path: Path) -> Record | FailedRun | Baseline:
    """A record of a run or a scan, that of a run that failed, or a baseline.

    Raises:
        RecordError: none of these, or damaged.
    """
    return parse_any(read_document(path), path=path)


def parse_any(content: Content, *, path: Path) -> Record | FailedRun | Baseline:
    """Read what `read_any` reads, from the content of the file.

    Raises:
        RecordError: as `read_any`.
    """
    check_kind(content, "a record", "a sensitivity scan", "a baseline", path=path)
    return parse_baseline(content, path=path) if "approval" in content else parse_kept(content, path=path)


def read_any_scan(path: Path) -> Scan:
    """The scan of a file, or of a file with the baseline of one.

    Raises:
        RecordError: neither, or damaged.
    """
    content = read_document(path)
    check_kind(content, "a sensitivity scan", "a baseline", path=path)
    found = read_any(path)
    record = found.record if isinstance(found, Baseline) else found
    if not isinstance(record, Scan):
        raise RecordError(f"'{path}' holds the baseline of a run: expected a sensitivity scan or the baseline of one")
    return record


def collect(path: Path) -> Collected:
    """The records of a file, of a folder, or of a folder of baselines; folders in it are looked into, one level deep.

    Raises:
        RecordError: there is nothing there, or `path` is a file that cannot be used.
    """
    if not path.is_dir():
        return _newest([_read(path)], {}, is_folder=False)
    files = sorted(file for pattern in ("*.json", "*/*.json") for file in path.glob(pattern) if file.name[0] != ".")
    if not files:
        raise RecordError(f"no records in '{path}': expected *.json or WORKLOAD/*.json")
    found: list[_Found] = []
    unusable: dict[str, str] = {}
    for file in files:
        try:
            found.append(_read(file))
        except RecordError as error:
            unusable[_called(file, path)] = str(error)
    return _newest(found, unusable, is_folder=True)


def collect_reference(path: Path) -> Collected:
    """The side that records are judged against: where there are no baselines yet, nothing, and that is no misuse."""
    return Collected(is_folder=True) if path == BASELINES and not list_baselines(path) else collect(path)


@dataclass(frozen=True)
class _Found:
    path: Path
    case: str
    record: Record | FailedRun
    approval: Approval | None

    @property
    def age(self) -> tuple[str, str]:
        return self.record.created, self.path.name


def _read(path: Path) -> _Found:
    content = read_any(path)
    record = content.record if isinstance(content, Baseline) else content
    case = check_case_id(record.case) if isinstance(record, FailedRun) else case_id(record)
    return _Found(path, case, record, content.approval if isinstance(content, Baseline) else None)


def _newest(found: list[_Found], unusable: Mapping[str, str], *, is_folder: bool) -> Collected:
    newest = {entry.case: entry for entry in sorted(found, key=lambda entry: entry.age)}
    records, paths, failed = {}, {}, {}
    approvals: dict[str, Approval] = {}
    for case, entry in newest.items():
        if isinstance(entry.record, FailedRun):
            failed[case] = f"its newest run failed: {entry.record.error} ('{entry.path}')"
        else:
            records[case], paths[case] = entry.record, entry.path
            approvals |= {case: entry.approval} if entry.approval else {}
    unusable = {**failed, **unusable}
    return Collected(records=records, paths=paths, approvals=approvals, unusable=unusable, is_folder=is_folder)


def _called(file: Path, folder: Path) -> str:
    """The name that an unusable file is spoken of by: the case, where its folder is that of a workload."""
    return case_of(file) if file.parent != folder else file.name
