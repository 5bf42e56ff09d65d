"""Commits measured one at a time, each in a worktree of its own that is gone afterwards; the user's is not touched."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prunebench.errors import HistoryError, RecordError, SkippedCommitError
from prunebench.records import RunRecord, read_record, write_record
from prunebench.storage.files import RUN_FOLDER
from prunebench.storage.revisions import git

SECONDS = 600
"""Most that git may take to check a commit out."""

SKIP = 125
"""Exit code by which a command says that a commit cannot be judged, as `git bisect run` has it."""


def commits_between(good: str, bad: str, folder: Path = Path()) -> list[str]:
    """GOOD, then the commits after it up to BAD, oldest first, along the first parents.

    Raises:
        HistoryError: no repository, an unknown commit, or GOOD is not an ancestor of BAD.
    """
    if git(folder, "rev-parse", "--git-dir") is None:
        raise HistoryError("no git repository here: run it in the one that has the commits")
    first, last = (_resolved(folder, name) for name in (good, bad))
    if first == last:
        raise HistoryError(f"'{good}' and '{bad}' are one commit: expected an older and a newer one")
    if git(folder, "merge-base", "--is-ancestor", first, last) is None:
        raise HistoryError(f"'{good}' is not an ancestor of '{bad}': expected the older commit first")
    listed = git(folder, "rev-list", "--first-parent", "--reverse", f"{first}..{last}", seconds=SECONDS)
    return [first, *(listed or "").split()]


def subject(commit: str, folder: Path = Path()) -> str:
    """The first line of a commit's message."""
    return (git(folder, "show", "-s", "--format=%s", commit) or "").strip()


def _resolved(folder: Path, name: str) -> str:
    found = git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if found is None:
        raise HistoryError(f"'{name}' is no commit that git knows here")
    return found.strip()


@dataclass(frozen=True)
class Evaluator:
    """Runs a command in a worktree of each commit asked for, and keeps the record it leaves.

    Attributes:
        command: program and arguments; `{records}` in one is a folder for the record, `{images}` a number.
        kept: the folder of finished evaluations: the next search takes them up.
        folder: the project, in a git repository.
    """

    command: Sequence[str]
    kept: Path
    folder: Path = Path()

    @classmethod
    def of(cls, command: Sequence[str]) -> Evaluator:
        """One that keeps its evaluations in `.prunebench/bisect`, those of another command elsewhere."""
        key = hashlib.sha256("\0".join(command).encode()).hexdigest()[:12]
        return cls(command, RUN_FOLDER.parent / "bisect" / key)

    def __call__(self, commit: str, images: int | None) -> RunRecord:
        """The record of a commit on at least so many images, None for all.

        Raises:
            SkippedCommitError: the command says so, or left no record that can be used.
        """
        for path in sorted(self.kept.glob(f"{commit}-*.json"), reverse=True):  # the most images first
            record = read_record(path)
            if images is None or record.data.test_images >= images:
                return record
        record = self._measured(commit, images)
        write_record(record, self.kept / f"{commit}-{record.data.test_images:012}.json")
        return record

    def _measured(self, commit: str, images: int | None) -> RunRecord:
        with _worktree(self.folder, commit) as tree, tempfile.TemporaryDirectory() as given:
            here = tree / (git(self.folder, "rev-parse", "--show-prefix") or "").strip()
            command = [part.replace("{records}", given).replace("{images}", str(images)) for part in self.command]
            kept = Path(given) if any("{records}" in part for part in self.command) else here / RUN_FOLDER
            tracked = [*kept.glob("*.json")]
            try:
                done = subprocess.run(  # noqa: S603 - the user's own command
                    command, cwd=here, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    check=False,
                )  # fmt: skip
            except OSError as error:
                raise SkippedCommitError(f"cannot run '{command[0]}': {error.strerror or error}") from error
            left = [path for path in kept.glob("*.json") if path not in tracked]
            # A floor that is missed is exit code 1, and may be what is looked for: the record decides.
            if done.returncode == SKIP or len(left) != 1:
                said = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
                records = f"{len(left)} record{'' if len(left) == 1 else 's'}, expected one"
                raise SkippedCommitError(f"exit code {done.returncode}, {records}: {said}")
            return _checked(left[0], commit, images)


def _checked(path: Path, commit: str, images: int | None) -> RunRecord:
    try:
        record = read_record(path)
    except RecordError as error:
        raise SkippedCommitError(str(error)) from error
    if record.revision not in {None, commit}:
        raise SkippedCommitError(f"its record is of another commit, {record.revision:.9}")
    if images is not None and record.data.test_images != images:
        raise SkippedCommitError(f"{images:,} images were asked for, {record.data.test_images:,} answered")
    return record


@contextlib.contextmanager
def _worktree(folder: Path, commit: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="prunebench-bisect-") as place:
        tree = Path(place).resolve() / "tree"
        try:
            add = ("worktree", "add", "--quiet", "--detach", str(tree), commit)
            if git(folder, "-c", "core.hooksPath=/dev/null", *add, seconds=SECONDS) is None:
                raise HistoryError(f"git cannot check {commit[:9]} out into '{place}'")
            yield tree
        finally:
            git(folder, "worktree", "remove", "--force", str(tree), seconds=SECONDS)
            git(folder, "worktree", "prune")
