"""Which source made a record."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import prunebench
from prunebench.runs import DocumentedRun


def run_digest(run: DocumentedRun) -> str:
    """SHA-256 over what a run does: model, sparsities, epochs. Documented figures are not part of it."""
    parts = [run.model, dict(run.sparsity), run.epochs]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def source_revision() -> tuple[str | None, bool | None]:
    """Git revision of prunebench's checkout and whether tracked files differ; (None, None) where it is installed."""
    folder = Path(prunebench.__file__).parent
    revision = _git(folder, "rev-parse", "HEAD")
    if revision is None or _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    return revision.strip(), bool(_git(folder, "status", "--porcelain", "--untracked-files=no", ":/"))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - nothing in it comes from outside
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
