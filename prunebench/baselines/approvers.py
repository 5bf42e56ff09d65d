"""Git's word on who approves a record, and on what changed."""

from __future__ import annotations

from pathlib import Path

from prunebench.errors import ApprovalError
from prunebench.storage.revisions import git

_BASELINES = ":(exclude,glob)*/*.json"


def git_user(folder: Path) -> str | None:
    """`NAME <EMAIL>` as git has it for commits in `folder`; None without git or where none is set."""
    name, email = (git(folder, "config", f"user.{key}") for key in ("name", "email"))
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
    status = git(baselines, "status", *arguments, "--", ":/", _BASELINES)
    folder = baselines.resolve()
    if status is None and any((above / ".git").exists() for above in (folder, *folder.parents)):
        raise ApprovalError(f"git cannot tell whether the working tree is clean: see 'git -C {baselines} status'")
    return [entry[3:] for entry in (status or "").split("\0") if entry]
