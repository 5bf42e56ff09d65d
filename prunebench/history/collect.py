"""Kept records as a history: of files and folders, of zip files, and of the commits that touched a folder.

An archive is read in memory and never unpacked; a commit is read with git and never checked out.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prunebench.baselines.collected import parse_any
from prunebench.baselines.shelf import Baseline
from prunebench.data.archives import DAMAGE
from prunebench.errors import HistoryError, RecordError
from prunebench.records import FailedRun, RunRecord, case_id
from prunebench.sensitivity import Scan
from prunebench.storage.documents import parse_document
from prunebench.storage.revisions import git

MOST_FILES = 100_000
LARGEST, MOST_BYTES = 1 << 26, 1 << 30
"""Bytes of one record, and of all records of one zip, unpacked."""

GIT_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A record of a run at one point of a history, and the place where it was read."""

    record: RunRecord
    source: str

    @property
    def commit(self) -> str:
        """The user's revision in nine letters, `+` where the tree had changes; `-` for none."""
        revision, dirty = self.record.revision, self.record.dirty
        return f"{revision[:9]}{'+' if dirty else ''}" if revision else "-"

    @property
    def torch(self) -> str:
        """The version of torch that it was computed with."""
        return str(self.record.environment.get("torch", "unknown"))


@dataclass(frozen=True, kw_only=True)
class History:
    """Records of runs by case, each case's oldest first; and lines on what was read and is not among them."""

    cases: Mapping[str, list[Entry]]
    left_out: list[str]


def collect_history(paths: Iterable[Path], *, committed: bool = False) -> History:
    """The records of runs in files, folders (all that is below them) and zip files.

    Several of one case at one commit with one torch count once, the newest.

    Args:
        committed: `paths` are folders in git repositories, and every version that a commit gave a file counts.

    Raises:
        HistoryError: nothing there, a damaged or too large zip, or no git.
    """
    entries: list[Entry] = []
    left_out: list[str] = []
    paths = list(paths)
    for path in paths:
        for document in _committed(path) if committed else _kept(path, left_out):
            try:
                entries.append(Entry(record=_run_record(document), source=document.source))
            except RecordError as error:
                at = "" if str(document.path) == document.source else f" ({document.source})"
                left_out.append(f"{error}{at}")
    if not entries:
        named = ", ".join(f"'{path}'" for path in paths)
        hint = f"; {len(left_out)} files could not be used, the first: {left_out[0]}" if left_out else ""
        raise HistoryError(f"no records of runs in {named}{hint}")
    return _newest(entries, left_out)


@dataclass(frozen=True)
class _Document:
    """The bytes of a file, the path that its baseline's case goes by, and what people are told it is."""

    path: Path
    data: bytes
    source: str


def _run_record(document: _Document) -> RunRecord:
    found = parse_any(parse_document(document.data, path=document.path), path=document.path)
    record = found.record if isinstance(found, Baseline) else found
    if isinstance(record, FailedRun):
        raise RecordError(f"'{document.path}' is of a run that failed: {record.error}")
    if isinstance(record, Scan):
        raise RecordError(f"'{document.path}' holds a sensitivity scan: a history is of runs")
    return record


def _newest(entries: Iterable[Entry], left_out: list[str]) -> History:
    found: dict[tuple[object, ...], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.record.created):
        record = entry.record
        when = record.revision or record.created
        same = found.setdefault((case_id(record), when, record.dirty, entry.torch), [])
        if not same or record != same[-1].record:  # not the same record from another place
            same.append(entry)
    cases: dict[str, list[Entry]] = {}
    for (case, *_), same in sorted(found.items(), key=lambda item: item[1][-1].record.created):
        cases.setdefault(str(case), []).append(same[-1])
        if len(same) > 1:
            left_out.append(
                f"{case} at {same[-1].commit} with torch {same[-1].torch}: {len(same)} records, the newest counts"
            )
    return History(cases=dict(sorted(cases.items())), left_out=left_out)


def _kept(path: Path, left_out: list[str]) -> Iterator[_Document]:
    if not path.is_dir():
        yield from _of_zip(path) if path.suffix.lower() == ".zip" else [_of_file(path)]
        return
    files = [file for file in path.rglob("*") if file.suffix.lower() in {".json", ".zip"}]
    files = [file for file in files if ".git" not in file.parts and not file.name.startswith(".")]
    if len(files) > MOST_FILES:
        raise HistoryError(f"'{path}' holds {len(files):,} files: expected at most {MOST_FILES:,}")
    for file in sorted(files):
        try:
            yield from _of_zip(file) if file.suffix.lower() == ".zip" else [_of_file(file)]
        except HistoryError as error:
            left_out.append(str(error))


def _of_file(path: Path) -> _Document:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise HistoryError(f"cannot read '{path}': it is no file")
        if status.st_size > LARGEST:
            raise HistoryError(f"'{path}' has {status.st_size:,} bytes: expected at most {LARGEST:,}")
        return _Document(path, path.read_bytes(), str(path))
    except OSError as error:
        raise HistoryError(f"cannot read '{path}': {error.strerror or error}") from error


def _of_zip(path: Path) -> Iterator[_Document]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.lower().endswith(".json")]
            sizes = [info.file_size for info in members]
            if len(members) > MOST_FILES or max(sizes, default=0) > LARGEST or sum(sizes) > MOST_BYTES:
                raise HistoryError(
                    f"'{path}' unpacks to {len(members):,} JSON files of {sum(sizes):,} bytes: expected at most "
                    f"{MOST_FILES:,} of {MOST_BYTES:,}, none over {LARGEST:,}"
                )
            for info in members:
                with archive.open(info) as file:
                    # Not read(): by a false size in the archive it would unpack all there is.
                    data = file.read(info.file_size + 1)
                name = f"{path}/{info.filename}"
                yield _Document(Path(name), data, name)
    except DAMAGE as error:
        raise HistoryError(f"cannot read '{path}', the zip is damaged: {error}") from error


def _committed(folder: Path) -> Iterator[_Document]:
    """Every version of a JSON file that a commit brought below `folder`, each content once."""
    log = ("log", "-m", "--raw", "--no-abbrev", "--no-renames", "--diff-filter=AMT", "--format=%H", "--", ".")
    listed = git(folder, "-c", "core.quotePath=false", *log, seconds=GIT_SECONDS)
    if listed is None:
        raise HistoryError(f"git knows no commits of '{folder}': expected a folder in a git repository")
    commit, seen = "", set[str]()
    for line in listed.splitlines():
        if not line.startswith(":"):
            commit = line or commit
            continue
        about, _, path = line.partition("\t")
        blob = about.split()[3]
        if blob in seen or not path.endswith(".json"):
            continue
        seen.add(blob)
        data = git(folder, "cat-file", "blob", blob, seconds=GIT_SECONDS)
        if data is None:
            raise HistoryError(f"git cannot read '{path}' at {commit[:9]}: is this a partial clone?")
        yield _Document(Path(path), data.encode("utf-8", "surrogateescape"), f"{path} at {commit[:9]}")
