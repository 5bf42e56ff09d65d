"""Revisions of the source a result was made with: the user's project, and prunebench."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import prunebench
from prunebench.storage.files import BASELINES

CHANGED = "-dirty"
"""At the end of prunebench's own revision where tracked files of its checkout differ."""

_BASELINES = f":(exclude,top,glob)**/{BASELINES}/*/*.json"


def provenance() -> dict[str, Any]:
    """`revision` and `dirty` of the user's project, and `prunebench_revision`, as records and scans hold them.

    The project is the git repository around the working directory, `dirty` whether tracked files of it differ, but for
    baselines. prunebench has a revision where it runs from a checkout. What git does not tell is None.
    """
    here = Path()
    revision = _head(here)
    return {
        "revision": revision,
        "dirty": _changed(here, _BASELINES) if revision else None,
        "prunebench_revision": _prunebench_revision(Path(prunebench.__file__).parent),
    }


def _prunebench_revision(folder: Path) -> str | None:
    revision = _head(folder)
    if revision is None or git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:  # installed in a project
        return None
    return revision + CHANGED if _changed(folder, _BASELINES) else revision


def _head(folder: Path) -> str | None:
    revision = git(folder, "rev-parse", "HEAD")
    return revision.strip() if revision is not None else None


def _changed(folder: Path, *but: str) -> bool | None:
    status = git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/", *but)
    return None if status is None else bool(status)


def git(folder: Path, *arguments: str, seconds: float = 10) -> str | None:
    """The output of a git command in `folder`; None where there is no git, or it fails.

    Bytes that are no UTF-8 are lone surrogates in it, as in a file's name.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell; a revision from outside follows --end-of-options
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=True,
            timeout=seconds,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
