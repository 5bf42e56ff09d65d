"""The folder that raw records go to; nothing in it is ever overwritten."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

RECORDS = Path(".prunebench/records")
"""Relative to where the command was started, like pytest-benchmark's `.benchmarks`."""


def new_record_path(name: str, folder: Path = RECORDS) -> Path:
    """A path for a record of `name` where nothing is yet."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path, again = folder / f"{stamp}-{name}.json", 1
    while path.exists():
        path, again = folder / f"{stamp}-{name}-{again}.json", again + 1
    return path
