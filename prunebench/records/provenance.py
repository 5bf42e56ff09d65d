"""Which source made a record."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import prunebench
from prunebench.errors import ApprovalError
from prunebench.runs import DocumentedRun

_BASELINES = (":(exclude,glob)*/*.json", ":(exclude,glob)scans/*/*.json")


def run_digest(run: DocumentedRun) -> str:
    """SHA-256 over what a run does: model, sparsities, epochs. Documented figures are not part of it."""
    sparsity = {name: float(value) + 0.0 for name, value in run.sparsity.items()}  # 0, 0.0 and -0.0 are one sparsity
    parts = [run.model, sparsity, run.epochs]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def source_revision() -> tuple[str | None, bool | None]:
    """Git revision of prunebench's checkout and whether tracked files differ; (None, None) where it is installed.

    What git does not tell is None.
    """
    folder = Path(prunebench.__file__).parent
    revision = _git(folder, "rev-parse", "HEAD")
    if revision is None or _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    status = _git(folder, "status", "--porcelain", "--untracked-files=no", ":/")
    return revision.strip(), None if status is None else bool(status)


def git_user(folder: Path) -> str | None:
    """`NAME <EMAIL>` as git has it for commits in `folder`; None without git or where none is set."""
    name, email = (_git(folder, "config", f"user.{key}") for key in ("name", "email"))
    if not name or not name.strip():
        return None
    return f"{name.strip()} <{email.strip()}>" if email and email.strip() else name.strip()


def changed_files(baselines: Path) -> list[str]:
    """Tracked files that differ from the last commit, in the working tree around the folder `baselines`.

    The baselines themselves are left out. Empty where there is no repository.

    Raises:
        ApprovalError: there is one, and git cannot tell.
    """
    arguments = ("--porcelain", "-z", "--untracked-files=no", "--no-renames")
    status = _git(baselines, "status", *arguments, "--", ":/", *_BASELINES)
    folder = baselines.resolve()
    if status is None and any((above / ".git").exists() for above in (folder, *folder.parents)):
        raise ApprovalError(f"git cannot tell whether the working tree is clean: see 'git -C {baselines} status'")
    return [entry[3:] for entry in (status or "").split("\0") if entry]


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
