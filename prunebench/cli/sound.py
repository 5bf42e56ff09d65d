"""Scans that commands reckon with: they have to agree with themselves. `compare` judges those that do not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prunebench.sensitivity import Scan


def sound_scan(path: Path) -> Scan:
    """The scan of a file, or of a file with the baseline of one.

    Raises:
        RecordError: neither, damaged, or a scan that contradicts itself.
    """
    from prunebench.baselines.scans import read_any_scan
    from prunebench.errors import RecordError
    from prunebench.gate.consistency import scan_contradictions

    scan = read_any_scan(path)
    if broken := scan_contradictions(scan):
        raise RecordError(f"the scan '{path}' contradicts itself: {broken[0]}")
    return scan
