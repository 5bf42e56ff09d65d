"""Baselines: records that a person approved, one readable file a case, kept in git.

A baseline is `baselines/WORKLOAD/RUN-RECIPE.json`, of a scan `baselines/DATA/scan-MODEL-IMAGES.json` (see
`prunebench.records.cases`): the record, who approved it, when and why, the digest of the baseline it replaced, and a
digest of all that. `prunebench.baselines.approval` says what a record must satisfy before it becomes one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from prunebench.errors import RecordError
from prunebench.records import Record, case_id
from prunebench.records.cases import check_case_id
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
from prunebench.storage.locks import alone

SCHEMA_VERSION = 1
LOCK_SECONDS = 60.0


class Approval(Part):
    """Person who made a record the baseline, when (UTC, ISO 8601) and why, and the digest of the one it replaced."""

    by: Annotated[str, Field(min_length=1)]
    at: str
    reason: Annotated[str, Field(min_length=1)]
    replaced: Digest | None


class Baseline(Part):
    """A record of a run or a scan that a person approved. `digest` is over all the rest, as it stands in the file."""

    schema_version: Literal[1] = 1
    approval: Approval
    record: Record
    digest: Digest

    @property
    def case(self) -> str:
        """The case it is the baseline of."""
        return case_id(self.record)


def approved(record: Record, approval: Approval) -> Baseline:
    """The baseline that `approval` makes of `record`.

    Raises:
        RecordError: the record contradicts itself.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "approval": approval.model_dump(mode="json"),
        "record": record.model_dump(mode="json"),
    }
    return Baseline(approval=approval, record=record, digest=content_digest(content))


def write_baseline(baseline: Baseline, folder: Path = BASELINES) -> Path:
    """Write it to its place in `folder`, whole or not at all; hold `locked(folder)` while deciding what to write.

    Raises:
        StorageError: the folder cannot be written.
    """
    path = baseline_path(baseline.case, folder)
    write_text(path, render(baseline.model_dump(mode="json")))
    return path


def read_baseline(path: str | Path) -> Baseline:
    """Read what `write_baseline` wrote.

    Raises:
        RecordError: absent, not JSON, edited since it was approved, of a newer schema, damaged, or in the place of
            another case.
    """
    path = Path(path)
    return parse_baseline(read_document(path), path=path)


def parse_baseline(content: Content, *, path: Path) -> Baseline:
    """A baseline from the content of its file; `path` says what case it should be of.

    Raises:
        RecordError: as `read_baseline`.
    """
    check_kind(content, "a baseline", path=path)
    verified(content, path=path, newest=SCHEMA_VERSION)
    baseline = parsed(Baseline, content, path=path)
    if baseline.case != case_of(path):
        raise RecordError(f"'{path}' holds the baseline of {baseline.case}: it was moved or copied; put it back")
    return baseline


def case_of(path: Path) -> str:
    """The case that the name of a baseline's file says it is of."""
    path = path.absolute()
    return f"{path.parent.name}/{path.stem}"


def baseline_path(case: str, folder: Path = BASELINES) -> Path:
    """The file that the baseline of a case is kept in.

    Raises:
        RecordError: not a case id.
    """
    return folder / f"{check_case_id(case)}.json"


def list_baselines(folder: Path = BASELINES) -> dict[str, Path]:
    """The files in `folder` by case, in the order of the cases; they are not read."""
    return {case_of(path): path for path in sorted(folder.glob("*/*.json")) if not path.name.startswith(".")}


def locked(folder: Path = BASELINES) -> AbstractContextManager[None]:
    """Keep every other process from changing the baselines in `folder`, which is made where there is none.

    Raises:
        StorageError: the folder cannot be written, or another process held it for a minute.
    """
    return alone(folder / ".lock", seconds=LOCK_SECONDS)
