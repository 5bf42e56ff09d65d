"""Baselines of scans: approved like those of runs, kept beside them, refused in one line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import Result
from gate.scan_documents import PLACES, base_right, losing, make_scan
from record_factory import digest, make_baseline, make_record
from small_project import call

from prunebench.baselines import approval
from prunebench.baselines.approvers import changed_files
from prunebench.baselines.collected import collect
from prunebench.baselines.shelf import list_baselines, read_baseline, write_baseline
from prunebench.errors import ApprovalError, RecordError
from prunebench.gate import Thresholds
from prunebench.records import case_id, family, in_families, keep_record, name_case
from prunebench.sensitivity import Scan, write_scan

CASE = "digits/scan-vgg-10000"
STANDING = Path("baselines/digits/scan-vgg-10000.json")


KEPT = {
    "layers": [layer.model_copy(update={"nonzeros": layer.numel // 28}) for layer in make_scan().layers],
    "nonzeros": sum(layer.numel // 28 for layer in make_scan().layers),
}


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit, in which the test stands, and nobody's own git settings."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    git("config", "user.name", "An Approver")
    git("config", "user.email", "approver@example.org")
    Path("code.py").write_text("a = 1\n")
    git("add", "code.py")
    git("commit", "-qm", "code")
    return tmp_path


def misuse(*arguments: object) -> str:
    """The one line that a misuse ends with."""
    result = call(*arguments)
    assert 2 == result.exit_code, result.output
    (line,) = [line for line in result.stderr.splitlines() if line]
    assert line.startswith("error: ")
    return line


def approve(scan: Scan, *options: object) -> Result:
    return call("baseline", "approve", keep_record(scan), "--reason", "a reason", *options)


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        (CASE, {}),
        ("digits/scan-vgg-1000", {"images": 1000}),
        (f"{CASE}-kept4", KEPT),
        (f"{CASE}-random-bf16", {"criterion": "random", "precision": "bf16"}),
        (f"{CASE}-adaptive", {"mode": "adaptive"}),
        ("my%20data/scan-vgg-10000", {"data": "my data"}),
        (CASE, {"model_digest": digest("other"), "created": "later", "seed": 3}),
    ],
)
def test_a_case_follows_from_the_scan(case: str, changes: dict[str, object]) -> None:
    assert case == case_id(make_scan(**changes))  # type: ignore[arg-type]


def test_approved_listed_shown_compared_and_removed_by_name() -> None:
    assert f"approved {CASE}" in approve(make_scan()).output
    assert ("a reason", None) == (
        read_baseline(STANDING).approval.reason,
        read_baseline(STANDING).approval.replaced,
    )
    assert CASE in call("baseline", "list").output
    shown = call("baseline", "show", "scan-vgg-10000").output
    (classifier,) = (line.split() for line in shown.splitlines() if line.startswith("classifier"))
    assert ["92.38", "90.60", "86.44", "6.56"] == classifier[3:]
    assert 0 == call("compare", keep_record(make_scan())).exit_code
    assert 0 == call("baseline", "remove", "--yes").exit_code
    assert STANDING.is_file(), "only what is named"
    call("baseline", "remove", "--yes", "--only", CASE)
    assert not STANDING.exists()


def test_a_regression_exits_with_one_and_names_its_point() -> None:
    approve(make_scan())
    result = call("compare", keep_record(make_scan(losing(PLACES[4], 60))))
    assert 1 == result.exit_code
    assert f"FAIL  {CASE}" in result.output.splitlines()
    assert "Accuracy with backbone.conv1.weight pruned to" in result.output


def test_two_scans_are_compared_without_any_baseline() -> None:
    old, new = keep_record(make_scan()), keep_record(make_scan(losing(PLACES[4], 60)))
    assert [1, 0] == [call("compare", new, old).exit_code, call("compare", old, old).exit_code]
    assert 2 == call("compare", new).exit_code, "there is no baseline"


def test_a_worse_scan_may_replace_for_a_reason_and_notes_what_it_replaced() -> None:
    approve(make_scan())
    first = read_baseline(STANDING).digest
    assert 0 == approve(make_scan(losing(PLACES[4], 60))).exit_code
    assert first == read_baseline(STANDING).approval.replaced


@pytest.mark.parametrize(
    ("scan", "objection"),
    [
        (make_scan(dirty=True), "dirty tree"),
        (make_scan(prunebench_revision=f"{'0' * 40}-dirty"), "made by a changed prunebench"),
        (make_scan(answered=500), "9 of 9 points were not answered in full"),
        (make_scan(places=[]), "no points"),
    ],
)
def test_what_nothing_could_be_compared_with_is_refused(scan: Scan, objection: str) -> None:
    with pytest.raises(ApprovalError, match=objection):
        approval.approve({case_id(scan): scan}, reason="a reason")
    assert {} == list_baselines(Path("baselines"))


def test_an_incomparable_scan_replaces_only_on_purpose() -> None:
    approve(make_scan())
    fewer = make_scan(places=PLACES[1:])
    path = keep_record(fewer)
    message = misuse("baseline", "approve", path, "--reason", "r")
    assert f"INCOMPARABLE with the baseline it would replace (vanished point: {PLACES[0][0]} at 0.5" in message
    assert f"--incomparable {CASE}" in message
    assert 0 == approve(fewer, "--incomparable", CASE).exit_code


def test_a_dirty_tree_is_refused_and_changed_baselines_of_scans_are_not_dirt() -> None:
    approve(make_scan())
    git("add", "baselines")
    git("commit", "-qm", "baselines")
    STANDING.write_text("{}")
    assert [] == changed_files(Path("baselines"))
    Path("code.py").write_text("a = 2\n")
    assert "dirty (code.py)" in misuse("baseline", "approve", keep_record(make_scan()), "--reason", "r")


def test_bad_files_are_one_line_and_never_a_pass() -> None:
    approve(make_scan())
    whole = keep_record(make_scan())
    edited = Path("edited.json")
    edited.write_text(whole.read_text().replace('"seconds": 12.5', '"seconds": 12.6'))
    assert "edited or damaged" in misuse("compare", edited)
    assert "edited or damaged" in misuse("baseline", "approve", edited, "--reason", "r")
    cut = Path("cut.json")
    cut.write_text(whole.read_text()[:-100])
    assert "not JSON" in misuse("compare", cut)
    for name, content in (("list.json", "[]"), ("scan.json", '{"scan": 1, "schema_version": 1}')):
        Path(name).write_text(content)
        misuse("compare", name)
    STANDING.write_text(STANDING.read_text().replace("a reason", "another"))
    result = call("compare", whole)
    assert 2 == result.exit_code
    assert "INCOMPARABLE" in result.output
    assert "edited or damaged" in result.output
    assert 2 == call("baseline", "list").exit_code


def test_a_baseline_in_the_place_of_another_is_refused() -> None:
    approve(make_scan())
    other = STANDING.with_name("scan-vgg-600.json")
    other.write_text(STANDING.read_text())
    with pytest.raises(RecordError, match=f"holds the baseline of {CASE}"):
        read_baseline(other)


def test_the_wrong_name_is_refused() -> None:
    path = keep_record(make_scan())
    assert "unknown case" in misuse("compare", path, "--only", "run3-quick")
    assert "unknown case" in misuse("baseline", "approve", path, "--only", "run3-quick", "--reason", "r")


def test_scans_and_runs_lie_beside_each_other_and_are_judged_by_one_command() -> None:
    run = make_record()
    write_baseline(make_baseline(run), Path("baselines"))
    approve(make_scan())
    keep_record(run)
    cases = [CASE, case_id(run)]
    assert cases == list(list_baselines(Path("baselines")))
    assert cases == collect(Path("baselines")).cases == collect(Path(".prunebench/records")).cases
    assert 0 == call("compare", ".prunebench/records").exit_code
    keep_record(make_scan(losing(PLACES[4], 60), created="2027-01-01T00:00:00+00:00"))
    result = call("compare", ".prunebench/records")
    assert 1 == result.exit_code
    assert ["Worse", CASE] == [line.split()[1] for line in result.output.splitlines() if line.startswith("FAIL")]


def test_no_run_takes_the_place_of_a_scan() -> None:
    """A run may have any name, and a recipe that of a number of images."""
    run = make_record(run="scan-vgg", recipe="10000")
    assert "digits/scan%2Dvgg-10000" == case_id(run) != CASE
    assert [case_id(run)] == in_families([case_id(run), CASE], [family(run)])
    assert [CASE] == in_families([case_id(run), CASE], [family(make_scan())])
    assert case_id(run) == name_case(workload="digits", run="scan-vgg", recipe="10000")


def test_a_vanished_scan_is_no_pass_where_its_family_was_judged() -> None:
    for scan in (make_scan(), make_scan(criterion="random"), make_scan(images=600)):
        approve(scan)
    Path("new").mkdir()
    write_scan(make_scan(), Path("new/scan.json"))
    result = call("compare", "new")
    assert 2 == result.exit_code
    assert f"Not compared: {CASE}-random." in result.output
    assert "scan-vgg-600" not in result.output


def test_what_is_written_is_read_and_written_the_same(tmp_path: Path) -> None:
    approve(make_scan())
    write_scan(read_baseline(STANDING).record, tmp_path / "again.json")
    assert keep_record(make_scan()).read_text() == (tmp_path / "again.json").read_text()
    assert 1 == json.loads(STANDING.read_text())["schema_version"]


def test_the_table_has_the_largest_drop_and_gaps_where_nothing_was_scanned() -> None:
    from prunebench.report import scan_table

    right = base_right()
    right[-5000:] = False
    text = str(scan_table(make_scan({PLACES[-1]: right}, places=PLACES[2:])))
    *_, last = rows = [line.split() for line in text.splitlines()[2:]]
    assert ["classifier", "92.38", "90.60", "43.00", "50.00"] == [last[0], *last[3:]]
    assert ["86.44", "6.56"] == rows[0][3:], "no accuracy where nothing was scanned"


def test_several_scans_of_one_data_set_share_the_chance_of_a_false_alarm() -> None:
    from prunebench.baselines.comparison import compare_apart

    alphas = []
    for scan in (make_scan(), make_scan(model="other")):
        approve(scan)
        (verdicts,) = compare_apart(
            [make_scan(losing(PLACES[0], 1))], Path("baselines"), thresholds=Thresholds()
        ).values()
        alphas.append({verdict.evidence.get("alpha") for verdict in verdicts} - {None})
    assert [{0.01}, {0.005}] == alphas


def test_an_approved_scan_is_drawn_and_planned_from_like_any_other() -> None:
    scan = make_scan()
    approve(scan)
    write_scan(scan, Path("scan.json"))
    for path in (STANDING, Path("scan.json")):
        for kind in ("sensitivity", "parameters"):
            done = call("plot", kind, path, "--output", f"{path.stem}-{kind}.svg")
            assert 0 == done.exit_code, done.output
        planned = call("plan", "--scan", path, "--max-drop", 50, "--output", f"{path.stem}.toml")
        assert 0 == planned.exit_code, planned.output
