"""Which source a result was made with: the repository that the user works in, and prunebench's own checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import prunebench
from prunebench.storage.revisions import CHANGED, provenance


def git(folder: Path, *arguments: str) -> str:
    author = ("-c", "user.name=Somebody", "-c", "user.email=some@body.example")
    done = subprocess.run(["git", "-C", str(folder), *author, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with code, baselines and a subfolder, where the working directory is."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    for path in (
        "code.py",
        "tests/test_it.py",
        "baselines/signs/half-ci.json",
        "baselines/signs/scan-net-9.json",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("{}\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "all")
    monkeypatch.chdir(tmp_path / "tests")
    return tmp_path


def project_state() -> tuple[str | None, bool | None]:
    found = provenance()
    return found["revision"], found["dirty"]


@pytest.mark.parametrize(
    ("dirty", "changed"),
    [
        (False, None),
        (True, "code.py"),
        (True, "tests/test_it.py"),
        (False, "baselines/signs/half-ci.json"),
        (False, "baselines/signs/scan-net-9.json"),
        (False, "untracked.py"),
    ],
)
def test_the_revision_is_of_the_project_and_dirty_where_its_sources_changed(
    project: Path, dirty: bool, changed: str | None
) -> None:
    if changed:
        (project / changed).write_text("changed\n")
    assert (git(project, "rev-parse", "HEAD"), dirty) == project_state()


def test_outside_of_a_repository_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert (None, None) == project_state()


def test_prunebench_has_a_revision_of_its_own_where_it_is_a_checkout(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = project / "prunebench" / "__init__.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(prunebench, "__file__", str(package))
    assert provenance()["prunebench_revision"] is None  # installed in the project's environment
    git(project, "add", ".")
    git(project, "commit", "-qm", "prunebench")
    head = git(project, "rev-parse", "HEAD")
    assert head == provenance()["prunebench_revision"]
    package.write_text("changed\n")
    assert head + CHANGED == provenance()["prunebench_revision"]
