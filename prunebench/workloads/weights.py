"""Published weights: where they are from, and under which terms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prunebench.storage.files import cache_folder


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file of weights, and who published it.

    Attributes:
        file: its path; of one that a person may put among the cached checkpoints, its name there.
        source: who trained them, and where they are found.
        licence: under which terms; empty where not known.
        cached: whether `file` is a name among the cached checkpoints.
    """

    file: Path
    source: str = ""
    licence: str = ""
    cached: bool = False

    @classmethod
    def in_cache(cls, name: str, *, source: str, licence: str = "") -> Weights:
        """A file that is used where somebody put it among the cached checkpoints."""
        return cls(file=Path(name), source=source, licence=licence, cached=True)

    @property
    def path(self) -> Path | None:
        """Where the file is; None for one that nobody put into the cache."""
        if not self.cached:
            return self.file
        path = cache_folder() / "checkpoints" / self.file
        return path if path.is_file() else None
