"""The run folder: every record that was made, failed runs included. Nothing in it is ever overwritten."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from prunebench.errors import PrunebenchError
from prunebench.records.cases import case_id
from prunebench.records.record import FailedRun, Record
from prunebench.storage.documents import render
from prunebench.storage.files import RUN_FOLDER, write_new_text
from prunebench.storage.revisions import provenance


def keep_record(record: Record | FailedRun, folder: Path = RUN_FOLDER, *, now: datetime | None = None) -> Path:
    """Write a record to a new file in `folder`, whole or not at all, and return its path.

    The name is the time in UTC and the case; many processes may keep records at once.

    Raises:
        StorageError: the folder cannot be made or written.
    """
    case = f"{record.case}-failed" if isinstance(record, FailedRun) else case_id(record)
    stamp = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")
    name = f"{stamp}-{re.sub(r'[^A-Za-z0-9._-]', '-', case)[:120]}"
    for again in count():
        path = folder / (f"{name}-{again}.json" if again else f"{name}.json")
        if write_new_text(path, render(record.model_dump(mode="json"))):
            return path
    raise AssertionError("count() ends never")


@contextlib.contextmanager
def failures_kept(case: str, folder: Path = RUN_FOLDER) -> Iterator[None]:
    """Keep a `FailedRun` of `case` where the block raises; the exception goes on."""
    try:
        yield
    except Exception as error:
        with contextlib.suppress(PrunebenchError):  # what went wrong first is what people have to read
            keep_record(failed_run(case, f"{type(error).__name__}: {error}"), folder)
        raise


def failed_run(case: str, error: str) -> FailedRun:
    """The record of a run of `case` that failed now, of the project as it is now."""
    return FailedRun(created=datetime.now(UTC).isoformat(timespec="seconds"), case=case, error=error, **provenance())
