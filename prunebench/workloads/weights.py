"""Published weights: where they are from, and under which terms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prunebench.storage.files import cache_folder


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights that somebody published.

    Attributes:
        path: the file.
        source: who trained them, and where they are found.
        licence: under which terms; empty where not known.
    """

    path: Path
    source: str = ""
    licence: str = ""


def in_cache(file: str) -> Path | None:
    """A file that somebody put among the cached checkpoints; None where it is not there."""
    path = cache_folder() / "checkpoints" / file
    return path if path.is_file() else None
