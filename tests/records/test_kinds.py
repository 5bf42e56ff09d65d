"""A sound file of another kind than a command reads is called what it is, and not damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from gate.scan_documents import make_scan
from record_factory import digest, make_baseline, make_record

from prunebench.baselines.comparison import as_json
from prunebench.baselines.shelf import read_baseline, write_baseline
from prunebench.cli import main
from prunebench.errors import RecordError
from prunebench.planning import PlanRecord, write_plan
from prunebench.records import FailedRun, read_record, write_record
from prunebench.sensitivity import read_scan, write_scan

SCAN = "expected a sensitivity scan or a baseline"
RECORD = "expected a record or a sensitivity scan or a baseline"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A file of each kind."""
    monkeypatch.chdir(tmp_path)
    found = {kind: Path(f"{kind}.json") for kind in ("record", "failed", "scan", "plan", "comparison")}
    write_record(make_record(), found["record"])
    failed = FailedRun(created="2026-01-02T03:04:05+00:00", case="digits/a-quick", error="e", revision=None, dirty=None)
    write_record(failed, found["failed"])
    write_scan(make_scan(), found["scan"])
    write_plan(PlanRecord(base_digest=digest("dense")), found["plan"])
    found["comparison"].write_text(as_json([]))
    found["baseline"] = write_baseline(make_baseline(make_record()))
    found["scan baseline"] = write_baseline(make_baseline(make_scan()))
    return found


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("plan", "compare FILE", f"a plan: {RECORD}"),
        ("plan", "compare record.json FILE", f"a plan: {RECORD}"),
        ("plan", "compare scan.json FILE", f"a plan: {RECORD}"),
        ("comparison", "compare FILE", f"a comparison: {RECORD}"),
        ("plan", "baseline approve FILE --reason r", f"a plan: {RECORD}"),
        ("plan", "plan --scan FILE --size 30", f"a plan: {SCAN}"),
        ("failed", "plan --scan FILE --size 30", f"a record: {SCAN}"),
        (
            "baseline",
            "plan --scan FILE --size 30",
            "the baseline of a run: expected a sensitivity scan or the baseline of one",
        ),
        ("scan", "plan --rule erk --size 30 --json FILE", "a sensitivity scan: expected a plan"),
        ("scan baseline", "plan --rule erk --size 30 --json FILE", "a baseline: expected a plan"),
        ("record", "plan --rule erk --size 30 --json FILE", "a record: expected a plan"),
        ("plan", "plot sensitivity FILE -o x.svg", f"a plan: {SCAN}"),
        ("plan", "plot parameters FILE -o x.svg", f"a plan: {RECORD}"),
        ("plan", "plot frontier FILE -o x.svg", f"a plan: {RECORD}"),
    ],
)
def test_a_command_says_what_a_file_holds(files: dict[str, Path], kind: str, arguments: str, said: str) -> None:
    path = files[kind]
    before = path.read_bytes()
    result = CliRunner().invoke(main, [str(path) if part == "FILE" else part for part in arguments.split()])
    assert (2, f"error: '{path}' holds {said}\n") == (result.exit_code, result.stderr)
    assert before == path.read_bytes()


@pytest.mark.parametrize(
    ("read", "own"),
    [
        (read_record, {"record"}),
        (read_baseline, {"baseline", "scan baseline"}),
        (read_scan, {"scan"}),
    ],
)
def test_a_reader_reads_its_own_kind_and_names_the_others(
    files: dict[str, Path], read: Callable[[Path], object], own: set[str]
) -> None:
    for kind, path in files.items():
        if kind in own:
            read(path)
        elif kind != "failed":
            with pytest.raises(RecordError, match=rf"^'{path}' holds .*: expected "):
                read(path)
