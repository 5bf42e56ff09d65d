"""`prunebench compare` and `prunebench baseline`: exit codes, and one line for every misuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from record_factory import digest, make_baseline, make_record
from small_project import call

import prunebench
from prunebench.baselines.shelf import list_baselines, read_baseline, write_baseline
from prunebench.records import FailedRun, RunRecord, keep_record, write_record


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def misuse(*arguments: object) -> str:
    """The one line that a misuse ends with."""
    result = call(*arguments)
    assert 2 == result.exit_code
    (line,) = [line for line in result.stderr.splitlines() if line]
    assert line.startswith("error: ")
    return line


def kept(record: RunRecord) -> Path:
    return keep_record(record, Path("records"))


def based(*records: RunRecord) -> None:
    for record in records:
        write_baseline(make_baseline(record), Path("baselines"))


def test_the_same_passes() -> None:
    based(make_record())
    assert 0 == call("compare", kept(make_record())).exit_code


def test_a_changed_size_is_a_regression() -> None:
    based(make_record())
    result = call("compare", kept(make_record(extra_nonzeros=1)))
    assert 1 == result.exit_code
    assert "FAIL" in result.output
    assert "digits/tiny-quick" in result.output


def test_no_baseline_is_no_pass() -> None:
    result = call("compare", kept(make_record()))
    assert 2 == result.exit_code
    assert "NO_BASELINE" in result.output


def test_other_data_is_no_pass() -> None:
    record = make_record()
    based(record)
    other = record.data.model_copy(update={"digest": digest("other")})
    result = call("compare", kept(make_record(data=other)))
    assert 2 == result.exit_code
    assert "INCOMPARABLE" in result.output


def test_inconclusive_has_its_own_exit_code() -> None:
    based(make_record())
    result = call("compare", kept(make_record(wrong=12)))
    assert 3 == result.exit_code
    assert "INCONCLUSIVE" in result.output


def test_the_worst_verdict_decides_the_exit_code() -> None:
    from prunebench.baselines.comparison import exit_code
    from prunebench.gate import Status, Verdict

    def verdict(status: Status) -> Verdict:
        return Verdict(run="r", check="c", status=status, expected="", measured="", shortfall=0, rule="")

    codes = [
        exit_code([verdict(Status.PASS), verdict(status)])
        for status in (Status.PASS, Status.IMPROVED, Status.FAIL, Status.INCOMPARABLE, Status.NO_BASELINE)
    ]
    assert [0, 0, 1, 2, 2] == codes
    assert 3 == exit_code([verdict(Status.INCONCLUSIVE), verdict(Status.PASS)])
    assert 1 == exit_code([verdict(Status.INCONCLUSIVE), verdict(Status.INCOMPARABLE), verdict(Status.FAIL)])
    assert 2 == exit_code([])


def test_a_case_missing_from_a_folder_is_no_pass_and_from_a_file_none_of_its_business() -> None:
    based(make_record(), make_record(run="vanished"), make_record(run="elsewhere", recipe="full"))
    path = kept(make_record())
    result = call("compare", path.parent)
    assert 2 == result.exit_code
    assert "digits/vanished-quick" in result.output
    assert "elsewhere" not in result.output
    assert 0 == call("compare", path).exit_code
    assert 0 == call("compare", path.parent, "--only", "tiny-quick").exit_code


def test_a_short_name_is_that_of_the_case_that_is_judged() -> None:
    based(make_record(), make_record(workload="cifar10"))
    path = kept(make_record())
    assert 0 == call("compare", path.parent, "--only", "tiny-quick").exit_code
    assert 0 == call("compare", path.parent, "--only", "digits/tiny-quick,tiny-quick").exit_code


def test_records_of_several_revisions_are_said_to_be() -> None:
    """A case that no longer runs would be judged by what it did long ago."""
    based(make_record(), make_record(run="old"))
    path = kept(make_record())
    assert "revisions" not in call("compare", path.parent, "--only", "tiny-quick").stderr
    kept(make_record(run="old", revision="1" * 40))
    result = call("compare", path.parent)
    assert 0 == result.exit_code
    assert "are of 2 revisions" in result.stderr


def test_records_are_compared_with_records() -> None:
    a, b = kept(make_record()), kept(make_record(created="2026-02-02T00:00:00+00:00"))
    assert 0 == call("compare", a, b).exit_code
    assert 0 == call("compare", a.parent, b.parent).exit_code


def test_two_files_of_two_cases_are_named() -> None:
    message = misuse("compare", kept(make_record()), kept(make_record(run="other")))
    assert "one file is of digits/tiny-quick, the other of digits/other-quick" in message


def test_times_can_be_left_out() -> None:
    timings = make_record().timings
    slow = timings.model_copy(update={"evaluate": [2 * seconds for seconds in timings.evaluate]})
    a, b = kept(make_record(timings=slow)), kept(make_record())
    assert 1 == call("compare", a, b).exit_code
    assert 0 == call("compare", a, b, "--no-times").exit_code


def test_an_edited_baseline_spoils_its_own_case_only() -> None:
    based(make_record(), make_record(run="other"))
    path = Path("baselines/digits/tiny-quick.json")
    path.write_text(path.read_text().replace('"reason": "first"', '"reason": "edited"'))
    result = call("compare", kept(make_record()))
    assert 2 == result.exit_code
    assert "was edited or damaged" in result.output
    assert str(path) in result.output
    assert 0 == call("compare", kept(make_record(run="other"))).exit_code


def test_a_failed_run_is_no_pass_though_an_older_one_was() -> None:
    based(make_record())
    path = kept(make_record())
    failed = FailedRun(created="2027-01-01", case="digits/tiny-quick", error="broke", revision=None, dirty=None)
    keep_record(failed, path.parent)
    result = call("compare", path.parent)
    assert 2 == result.exit_code
    assert "its newest run failed: broke" in result.output


def test_json_and_markdown_hold_the_verdicts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    based(make_record())
    path = kept(make_record(extra_nonzeros=1))
    result = call("compare", path, "--json", "verdicts.json", "--markdown", "verdicts.md")
    content = json.loads(Path("verdicts.json").read_text())
    assert (1, "FAIL") == (content["exit_code"], content["verdicts"][0]["status"])
    assert "**❌ FAIL**\n\n- **digits/tiny-quick**" in Path("verdicts.md").read_text()
    assert Path("verdicts.md").read_text().strip() == (folder / "summary.md").read_text().strip()
    assert "::error title=FAIL digits/tiny-quick::" in result.output


def test_a_step_summary_that_cannot_be_written_changes_no_verdict(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "absent" / "summary.md"))
    based(make_record())
    result = call("compare", kept(make_record(extra_nonzeros=1)), "--json", "verdicts.json")
    assert 1 == result.exit_code
    assert 1 == json.loads(Path("verdicts.json").read_text())["exit_code"]
    assert "warning: cannot write the step summary" in result.stderr


def test_without_github_there_are_no_annotations() -> None:
    based(make_record())
    assert "::error" not in call("compare", kept(make_record(extra_nonzeros=1))).output


@pytest.mark.parametrize(
    "arguments",
    [
        ("compare",),
        ("compare", "absent.json"),
        ("compare", "empty"),
        ("compare", "record.json", "absent"),
        ("compare", "record.json", "--only", "digits/unknown-quick"),
        ("compare", "record.json", "--alpha", "much"),
        ("compare", "record.json", "--unknown"),
        ("compare", "not-json"),
        ("compare", "record.json", "--json", "no-folder-but-a-file/x.json"),
        ("baseline", "show", "unknown"),
        ("baseline", "show", "../../x"),
        ("baseline", "approve", "absent", "--reason", "r"),
        ("baseline", "approve", "record.json"),
        ("baseline", "approve", "record.json", "--reason", ""),
        ("baseline", "approve", "record.json", "--reason", "r", "--only", "digits/unknown-quick"),
        ("baseline", "approve", "record.json", "--reason", "r", "--incomparable", "digits/unknown-quick"),
        ("baseline", "prune", "--only", "unknown"),
        ("baseline", "unknown"),
    ],
)
def test_misuse_is_one_line(arguments: tuple[str, ...]) -> None:
    write_record(make_record(), Path("record.json"))
    Path("empty").mkdir()
    Path("no-folder-but-a-file").touch()
    Path("not-json").write_bytes(b"\xff\xfe")
    based(make_record())
    misuse(*arguments)


@pytest.mark.parametrize("option", ["--json", "--markdown"])
@pytest.mark.parametrize("judged", [("record.json", "other.json"), ("other.json", "record.json")])
def test_a_comparison_overwrites_nothing_that_it_reads(judged: tuple[str, str], option: str) -> None:
    write_record(make_record(), Path("record.json"))
    write_record(make_record(), Path("other.json"))
    before = Path("record.json").read_bytes()
    assert f"{option} would overwrite 'record.json'" in misuse("compare", *judged, option, "record.json")
    assert before == Path("record.json").read_bytes()
    twice = misuse("compare", *judged, "--json", "new", "--markdown", "new")
    assert "--json and --markdown would both write 'new'" in twice
    assert not Path("new").exists()


def test_approve_show_list_and_remove(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for command in (["init", "-q"], ["config", "user.name", "Somebody"]):
        subprocess.run(["git", *command], check=True)
    path = kept(make_record())
    result = call("baseline", "approve", path, "--only", "tiny-quick", "--reason", "it is right")
    assert 0 == result.exit_code
    assert "approved digits/tiny-quick" in result.output
    made = read_baseline(Path("baselines/digits/tiny-quick.json"))
    assert ("Somebody", "it is right") == (made.approval.by, made.approval.reason)
    for command in (["list"], ["show", "tiny-quick"]):
        shown = call("baseline", *command)
        assert 0 == shown.exit_code
        assert "digits/tiny-quick" in shown.output
        assert "it is right" in shown.output
    assert 0 == call("compare", path).exit_code
    assert "would be removed" in call("baseline", "remove", "--only", "tiny-quick").output
    assert list_baselines(Path("baselines"))
    assert 0 == call("baseline", "remove", "--only", "tiny-quick", "--yes").exit_code
    assert {} == list_baselines(Path("baselines"))


def test_list_names_the_damaged(folder: Path) -> None:
    based(make_record(), make_record(run="other"))
    Path("baselines/digits/tiny-quick.json").write_text("{}")
    result = call("baseline", "list")
    assert 2 == result.exit_code
    assert "digits/other-quick" in result.stdout
    assert "tiny-quick.json" in result.stderr


def test_help_imports_neither_torch_nor_pydantic() -> None:
    code = (
        "import sys; from prunebench.cli import main; main(['baseline', 'approve', '--help'], standalone_mode=False);"
        "sys.exit(bool({'torch', 'pydantic', 'numpy'} & set(sys.modules)))"
    )
    source = Path(prunebench.__file__).parents[1]
    assert 0 == subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True).returncode
