"""Bisecting: in real repositories with commands that copy a record, and in simulated histories."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from history.test_history import assert_one_clear_line, git
from numpy.typing import NDArray
from record_factory import answered_record, digest, make_record

from prunebench.cli import main
from prunebench.records import Data, RunRecord, write_record

STUDIES = Path(__file__).parents[2] / "benchmarks" / "studies"
IMAGES = 2000
COPY = ("cp", "measured.json", "{records}/record.json")


def right(wrong: int, images: int = IMAGES) -> NDArray[np.bool_]:
    """Answers of which `wrong` are wrong, spread alike over the images; one that is wrong stays so with more."""
    return np.random.default_rng(0).permutation(images) >= wrong


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, in a folder of which the commands run."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / ".gitignore").write_text(".prunebench/\n")
    monkeypatch.chdir(folder)
    return folder


def commit_all(project: Path, records: Iterable[RunRecord | None]) -> list[str]:
    """A commit a record; a commit of None has none."""
    commits = []
    for number, record in enumerate(records):
        (project / "code.py").write_text(f"{number}\n")
        path = project / "measured.json"
        path.unlink(missing_ok=True)
        if record is not None:
            write_record(record, path)
        git(project, "add", "-A")
        git(project, "commit", "-qm", f"change {number} \x1b[31m")
        commits.append(git(project, "rev-parse", "HEAD"))
    return commits


def measured(wrong: int, **changes: Any) -> RunRecord:
    return answered_record(right(wrong), **({"revision": None, "dirty": None} | changes))


def falling(count: int = 17, at: int = 11) -> list[RunRecord | None]:
    return [measured(100 if number < at else 150) for number in range(count)]


def bisect(commits: Sequence[str], *options: object, command: Sequence[str] = COPY) -> Result:
    ends = (commits[0], commits[-1])
    return CliRunner().invoke(main, ["bisect", *map(str, options), *ends, "--", *command])


def said(result: Result) -> str:
    """The output without its line breaks, which come after 80 columns."""
    assert 80 >= max(map(len, result.output.splitlines()))
    return " ".join(result.output.split())


def test_the_commit_is_found_and_the_users_tree_is_as_it_was(project: Path) -> None:
    commits = commit_all(project, falling())
    (project / "mine.txt").write_text("not committed")
    before = git(project, "status", "--porcelain"), git(project, "rev-parse", "HEAD"), git(project, "worktree", "list")
    result = bisect(commits)
    assert 0 == result.exit_code, result.output
    last = said(result).partition(commits[11])[2]
    assert last.startswith(" (change 11 \\x1b[31m) is the commit: there accuracy_before fell by 2.50 points")
    assert "50 of 2,000 answers lost, 0 gained" in last
    assert "about 0.01 at most" in last
    assert 4 == said(result).count(" like ")
    after = git(project, "status", "--porcelain"), git(project, "rev-parse", "HEAD"), git(project, "worktree", "list")
    assert before == after


def test_finished_evaluations_are_kept_and_not_made_again(project: Path, tmp_path: Path) -> None:
    commits = commit_all(project, falling())
    count = tmp_path / "count"
    command = ("sh", "-c", f"echo run >> {count}; cp measured.json $0/record.json", "{records}")
    first, again = bisect(commits, command=command), bisect(commits, command=command)
    assert (0, first.output) == (again.exit_code, again.output)
    assert 6 == len(count.read_text().splitlines())


def test_a_record_may_be_left_in_the_worktrees_own_folder_below_a_subfolder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "sub").mkdir()
    (project / "sub" / "kept.txt").write_text("")
    commits = commit_all(project, falling())
    monkeypatch.chdir(project / "sub")
    leave = "mkdir -p .prunebench/records; cp ../measured.json .prunebench/records/r.json; exit 1"
    result = bisect(commits, command=("sh", "-c", leave))  # a missed floor is exit code 1, and a record
    assert 0 == result.exit_code, result.output
    assert commits[11] in said(result)


@pytest.mark.parametrize(("extra", "verb"), [(1, "rose"), (-1, "fell")])
def test_a_size_is_compared_exactly_and_before_accuracies(project: Path, extra: int, verb: str) -> None:
    made = [measured(100 if n < 3 else 200, extra_nonzeros=0 if n < 7 else extra) for n in range(9)]
    result = bisect(commits := commit_all(project, made))
    assert (0, True) == (result.exit_code, f"{commits[7]} (change 7" in said(result)), result.output
    assert f"size_percent {verb}" in said(result)
    accuracy = bisect(commits, "--figure", "accuracy_before")
    assert f"{commits[3]} (change 3" in said(accuracy)


def test_where_two_commits_lost_the_one_that_lost_more_is_named_with_its_share(project: Path) -> None:
    made = [measured(100 + 40 * (n >= 3) + 90 * (n >= 12)) for n in range(17)]
    result = bisect(commits := commit_all(project, made))
    assert f"{commits[12]} (change 12" in said(result)
    assert "by 4.50 points of 6.50" in said(result)


def test_a_commit_that_cannot_be_measured_is_skipped_and_a_range_is_said_to_be_one(project: Path) -> None:
    made = falling()
    made[8] = made[10] = made[11] = None
    made[9] = measured(100, revision="f" * 40)
    result = bisect(commits := commit_all(project, made))
    assert 3 == result.exit_code, result.output
    skipped = [line.split()[0] for line in result.output.splitlines() if "skipped: " in line]
    assert {commits[n][:9] for n in (8, 9, 10, 11)} >= {*skipped} > set()
    assert f"to {commits[12][:9]}" in said(result)
    assert commits[12] not in said(result)


def test_commits_that_cannot_be_told_apart_are_a_range(project: Path) -> None:
    """Each lost a little: GOOD and BAD differ, their neighbours do not."""
    result = bisect(commit_all(project, [measured(100 + number) for number in range(17)]))
    assert 3 == result.exit_code, result.output
    assert "not told apart" in said(result)
    assert "a range of" in said(result)


def test_other_data_at_a_commit_is_skipped(project: Path) -> None:
    made = falling()
    made[8] = measured(100, data=Data(name="d", digest=digest("other"), train_images=1, test_images=IMAGES))
    result = bisect(commits := commit_all(project, made))
    assert f"{commits[8][:9]} (8 of 16) skipped: measured on other data" in said(result)
    assert f"{commits[11]} (change 11" in said(result)


def test_a_size_needs_no_data_in_common_and_an_accuracy_does(project: Path) -> None:
    other = Data(name="d", digest=digest("other"), train_images=1, test_images=IMAGES)
    result = bisect(commits := commit_all(project, [measured(100), measured(100, extra_nonzeros=1, data=other)]))
    assert (0, True) == (result.exit_code, commits[1] in said(result))
    accuracy = bisect(commits, "--figure", "accuracy_before")
    assert_one_clear_line(accuracy, "GOOD and BAD cannot be compared: measured on other data")


def test_images_are_asked_a_part_at_a_time(project: Path, tmp_path: Path) -> None:
    """The command answers the first so many images."""
    parts = tmp_path / "parts"
    for number, wrong in enumerate([100] * 5 + [400] * 4):
        for images in (125, 250, 500, 1000, 2000):
            record = answered_record(right(wrong)[:images], revision=None, dirty=None)
            write_record(record, parts / str(number) / f"{images}.json")
    commits = commit_all(project, [make_record()] * 9)
    asked = tmp_path / "asked"
    script = f"echo $1 >> {asked}; cp {parts}/$(cat code.py)/$1.json $0/r.json"
    result = bisect(commits, "--images", IMAGES, command=("sh", "-c", script, "{records}", "{images}"))
    assert (0, True) == (result.exit_code, f"{commits[5]} (change 5" in said(result)), result.output
    first, second, *others = map(int, asked.read_text().split())
    assert (IMAGES, IMAGES) == (first, second)
    assert IMAGES > max(others)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("absent", "HEAD", "--", *COPY), ["'absent' is no commit"]),
        (("--", "--all", "HEAD", *COPY), ["'--all' is no commit"]),
        (("HEAD", "HEAD~1", "--", *COPY), ["'HEAD' is not an ancestor of 'HEAD~1'"]),
        (("HEAD", "HEAD", "--", *COPY), ["one commit"]),
        (("HEAD~1", "HEAD", "--", *COPY), ["GOOD and BAD cannot be told apart", "size_percent"]),
        (("HEAD~1", "HEAD", "--figure", "weight", "--", *COPY), ["cannot look for 'weight'", "size_percent"]),
        (("HEAD~1", "HEAD", "--", "false"), ["cannot measure", "exit code 1, 0 records, expected one"]),
        (("HEAD~1", "HEAD", "--", "/absent"), ["cannot measure", "cannot run '/absent'"]),
        (("HEAD~1", "HEAD", "--", "sh", "-c", "echo a\x1b; exit 125"), ["exit code 125", "a\\x1b"]),
        (("HEAD~1", "HEAD", "--", "cp", "code.py", "{records}/r.json"), ["cannot measure", "not a record"]),
        (("HEAD~1", "HEAD", "--images", "9", "--", *COPY), ["{images} in COMMAND and --images belong together"]),
        (("HEAD~1", "HEAD", "--", "{images}"), ["{images} in COMMAND and --images belong together"]),
        (("HEAD~1", "HEAD", "--images", "9", "--", *COPY, "{images}"), ["cannot measure"]),
        (("HEAD~1", "HEAD"), ["COMMAND"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: tuple[str, ...], parts: list[str], project: Path) -> None:
    commit_all(project, [measured(100)] * 2)
    assert_one_clear_line(CliRunner().invoke(main, ["bisect", *arguments]), *parts)
    assert 1 == len(git(project, "worktree", "list").splitlines())


def test_without_a_repository_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_clear_line(CliRunner().invoke(main, ["bisect", "a", "b", "--", *COPY]), "no git repository here")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_it_leaves_no_worktree(stop: signal.Signals, project: Path, tmp_path: Path) -> None:
    commits = commit_all(project, [measured(100)] * 2)
    started = tmp_path / "started"
    # A second later, for a process that is just starting another may get the signal in a thread that wakes up nobody.
    command = ["bisect", commits[0], commits[1], "--", "sh", "-c", f"sleep 1; pwd > {started}; sleep 60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "prunebench.cli", *command],
        stderr=subprocess.PIPE,
        # A job in the background inherits that the signal is ignored.
        preexec_fn=lambda: signal.signal(stop, signal.SIG_DFL),  # noqa: PLW1509 - no other threads here
    )
    while not (started.exists() and started.read_text()):
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(stop)
    assert b"interrupted" in process.communicate(timeout=900)[1]
    assert 130 == process.returncode
    assert not Path(started.read_text().strip()).exists()
    assert 1 == len(git(project, "worktree", "list").splitlines())


# Simulated histories: 64 commits, a fall of a point of 10,000 answers


def simulated(monkeypatch: pytest.MonkeyPatch, histories: int, **settings: Any) -> list[Any]:
    monkeypatch.syspath_prepend(STUDIES)
    study: Any = importlib.import_module("bisections")
    generator = np.random.default_rng(1)
    known = {"commits": 64, "images": 10_000, "fall": 1.0, "adds_up": False, "in_parts": False}
    return [study.simulate(generator, **(known | settings)) for _ in range(histories)]


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.003])
def test_a_fall_of_a_point_is_found_in_eight_evaluations(noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = simulated(monkeypatch, 34, noise=noise)
    assert all(each.is_named and each.holds_it for each in found)
    assert 8 >= max(each.evaluations for each in found)


@pytest.mark.parametrize("in_parts", [False, True])
def test_at_most_one_of_a_hundred_histories_names_a_wrong_commit(
    in_parts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes that add up over 64 commits are the hardest to tell from a fall; ranges are allowed, and said to be."""
    found = simulated(monkeypatch, 100, noise=0.003, adds_up=True, in_parts=in_parts)
    assert 1 >= sum(not each.holds_it for each in found)
    assert 50 <= sum(each.is_named for each in found)


def test_asking_in_parts_asks_fewer_images(monkeypatch: pytest.MonkeyPatch) -> None:
    found = simulated(monkeypatch, 20, noise=0.001, in_parts=True)
    assert all(each.is_named and each.holds_it for each in found)
    assert 0.7 > sum(each.asked for each in found) / sum(each.all_of_them for each in found)
