"""Histories: what is read and what is refused, steps where they were planted and nowhere else, and what is written."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from matplotlib.text import Text
from numpy.typing import NDArray
from record_factory import answered_record, digest, make_baseline, make_record

from prunebench.baselines.shelf import write_baseline
from prunebench.cli import main
from prunebench.errors import PlotError
from prunebench.gate import Status, Thresholds
from prunebench.history import Entry, History, collect_history, find_curves
from prunebench.history.exports import as_action_benchmarks, as_bmf
from prunebench.records import FailedRun, RunRecord, keep_record
from prunebench.report.history import history_text
from prunebench.report.plots import plot_history

CASE = "digits/tiny-quick-oneshot"
IMAGES = 2000
STEP_OF_SIZE, STEP_OF_ACCURACY = 12, 21


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["history", *map(str, arguments)])


def assert_one_clear_line(result: Result, *parts: str) -> None:
    lines = result.stderr.strip().splitlines()
    assert (2, 1) == (result.exit_code, len(lines)), result.output
    assert all(part in lines[0] for part in parts), lines[0]


def day(number: int) -> str:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)).isoformat()


def commit(number: int) -> str:
    return f"{number:02d}" + "a" * 38


def answers(generator: np.random.Generator, right: NDArray[np.bool_], *, share: float) -> NDArray[np.bool_]:
    """Some answers changed, as many lost as gained on average."""
    lost = right & (generator.random(len(right)) < share / 2 / right.mean())
    gained = ~right & (generator.random(len(right)) < share / 2 / (1 - right.mean()))
    return right & ~lost | gained


def records(seed: int, *, count: int = 30, fall: int = 0, extra: int = 0, noise: float = 0.003) -> Iterator[RunRecord]:
    """A record a commit: `fall` answers less from `STEP_OF_ACCURACY` on, `extra` nonzeros from `STEP_OF_SIZE` on."""
    generator = np.random.default_rng(seed)
    right = np.arange(IMAGES) % 10 > 0
    for number in range(count):
        if number == STEP_OF_ACCURACY:
            right = right & (np.cumsum(right) > fall)
        yield answered_record(
            answers(generator, right, share=noise),
            created=day(number),
            revision=commit(number),
            extra_nonzeros=extra if number >= STEP_OF_SIZE else 0,
            environment={"torch": "2.9" if number < 15 else "2.13", "device": "cpu", "cpu": "one", "threads": 2}
            | {"cpu_capability": "AVX2"},
        )


def history(made: Iterator[RunRecord] | list[RunRecord], case: str = CASE) -> History:
    return History(cases={case: [Entry(record=record, source="here") for record in made]}, left_out=[])


def steps(found: History) -> dict[str, list[tuple[int, Status]]]:
    curves = find_curves(found, thresholds=Thresholds()).curves
    return {curve.figure: [(mark.index, mark.status) for mark in curve.marks] for curve in curves if curve.marks}


# Steps


def test_planted_steps_are_marked_and_nothing_else() -> None:
    found = steps(history(records(0, fall=60, extra=1)))
    expected = {"size_percent": [(STEP_OF_SIZE, Status.FAIL)], "accuracy_before": [(STEP_OF_ACCURACY, Status.FAIL)]}
    assert expected == found


def test_a_fall_that_is_made_good_is_two_steps() -> None:
    made = list(records(0, count=6, noise=0))
    fallen = [record.model_copy(update={"pruned_accuracy": worse(record, 60)}) for record in made[2:4]]
    found = steps(history([*made[:2], *fallen, *made[4:]]))
    assert {"accuracy_before": [(2, Status.FAIL), (4, Status.IMPROVED)]} == found


def worse(record: RunRecord, lost: int) -> Any:
    right = np.unpackbits(np.frombuffer(base64.b64decode(record.pruned_accuracy.correct_bits), np.uint8))[:IMAGES] > 0
    return answered_record(right & (np.cumsum(right) > lost)).pruned_accuracy


def test_a_slow_drift_is_a_step_once_it_adds_up() -> None:
    base = next(records(0, noise=0))
    made = [
        base.model_copy(update={"pruned_accuracy": worse(base, 4 * n), "created": day(n), "revision": commit(n)})
        for n in range(20)
    ]
    (marks,) = steps(history(made)).values()
    first = marks[0]
    assert Status.FAIL is first[1]
    assert 1 < first[0] < 10  # no neighbour is a step from the one before


def test_false_steps_over_many_histories_are_fewer_than_alpha() -> None:
    """60 histories of 12 commits, a quarter of the answers that may differ do: alpha 0.05 would allow three."""
    alpha = Thresholds(alpha=0.05, margin=0.01)
    false = [
        bool([mark for curve in find_curves(history(records(seed, count=12, noise=0.1)), thresholds=alpha).curves
              for mark in curve.marks])
        for seed in range(60)
    ]  # fmt: skip
    assert 3 >= sum(false)


def test_alpha_is_shared_over_comparisons_and_directions() -> None:
    found = find_curves(history(records(0, count=5)), ("size_percent", "accuracy_before"), thresholds=Thresholds())
    assert (8, pytest.approx(0.01 / 16)) == (found.comparisons, found.level)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"recipe": "other"}, {"size_percent", "accuracy_dense", "accuracy_before"}),
        ({"run_digest": digest("other")}, {"size_percent", "accuracy_dense", "accuracy_before"}),
        ({"checkpoints": make_record(finetuning=None).checkpoints.model_copy(update={"dense": digest("other")})},
         {"accuracy_dense", "accuracy_before"}),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_begins_another_series_and_is_no_step(
    changes: dict[str, Any], expected: set[str]
) -> None:
    made = list(records(0, count=6, noise=0))
    found = steps(history([*made[:3], *(record.model_copy(update=changes) for record in made[3:])]))
    assert {figure: [(3, Status.INCOMPARABLE)] for figure in expected} == found


# Reading


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a record a day."""
    monkeypatch.chdir(tmp_path)
    for record in records(0, count=4):
        keep_record(record, tmp_path / "runs", now=datetime.fromisoformat(record.created))
    return tmp_path / "runs"


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.json")):
            archive.write(file, f".prunebench/records/{file.name}")
    return path


def test_folders_in_folders_and_zips_are_read_and_one_record_counts_once(kept: Path, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    (artifacts / "one" / ".prunebench").mkdir(parents=True)
    first, *others = sorted(kept.iterdir())
    first.rename(artifacts / "one" / ".prunebench" / first.name)
    zipped(kept, artifacts / "two.zip")
    found = collect_history([artifacts, kept])
    assert ([], [commit(n) for n in range(4)]) == (
        found.left_out,
        [entry.record.revision for entry in found.cases[CASE]],
    )
    assert len(others) == 3


def test_of_several_records_at_one_commit_with_one_torch_the_newest_counts_and_that_is_said(kept: Path) -> None:
    again = next(records(1)).model_copy(update={"created": day(9)})
    keep_record(again, kept)
    keep_record(again.model_copy(update={"environment": again.environment | {"torch": "2.15"}}), kept)
    found = collect_history([kept])
    assert [day(1), day(2), day(3), day(9), day(9)] == [entry.record.created for entry in found.cases[CASE]]
    assert [f"{CASE} at {commit(0)[:9]} with torch 2.9: 2 records, the newest counts"] == found.left_out
    assert 1 == len(call(kept, "--torch", "2.15").stdout.split("\n\n")[0].splitlines()[2:]) // 3


def test_what_cannot_be_used_is_named_and_left_out(kept: Path) -> None:
    (kept / "package.json").write_text("{}")
    (kept / "cut.zip").write_bytes(b"PK\x03\x04")
    failed = FailedRun(created=day(1), case="digits/run3-quick", error="boom\x1b", revision=None, dirty=None)
    keep_record(failed, kept)
    result = call(kept)
    assert 0 == result.exit_code
    named = result.stderr.splitlines()
    assert ["left out"] * 3 == [line.partition(":")[0] for line in named]
    assert all(any(part in line for line in named) for part in ("package.json", "cut.zip", "boom\\x1b"))


def git(folder: Path, *arguments: str) -> str:
    author = ("-c", "user.name=Somebody", "-c", "user.email=some@body.example")
    return subprocess.run(
        ["git", "-C", str(folder), *author, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_every_version_that_git_has_of_a_baseline_is_read_and_nothing_is_checked_out(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    for record in records(0, count=3):
        write_baseline(make_baseline(record), tmp_path / "baselines")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-qm", "approved")
    git(tmp_path, "rm", "-rq", "baselines")
    git(tmp_path, "commit", "-qm", "removed")
    (tmp_path / "baselines").mkdir(exist_ok=True)
    found = collect_history([tmp_path / "baselines"], committed=True)
    assert [day(n) for n in range(3)] == [entry.record.created for entry in found.cases[CASE]]
    assert f"baselines/{CASE}.json at " in found.cases[CASE][0].source
    assert "" == git(tmp_path, "status", "--porcelain")


def bomb(path: Path) -> None:
    """Few bytes that would be a gigabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.json", bytes(1 << 27))


def liar(path: Path) -> None:
    """It says that it holds ten bytes."""
    bomb(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 1 << 27), struct.pack("<I", 10)))


def encrypted(path: Path) -> None:
    bomb(path)
    data = bytearray(path.read_bytes().replace(struct.pack("<I", 1 << 27), struct.pack("<I", 10)))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "arguments", "parts"),
    [
        (lambda path: path.mkdir(), ("bad.zip",), ["no records of runs in 'bad.zip'"]),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut"), ("bad.zip",), ["bad.zip", "damaged"]),
        (bomb, ("bad.zip",), ["bad.zip", "134,217,728 bytes", "expected at most"]),
        (liar, ("bad.zip",), ["bad.zip", "damaged"]),
        (encrypted, ("bad.zip",), ["bad.zip", "damaged", "password"]),
        (lambda path: None, ("absent",), ["absent", "No such file"]),
        (lambda path: None, ("runs", "--git"), ["git knows no commits of 'runs'"]),
        (lambda path: None, ("runs", "--figure", "weight"), ["unknown figure 'weight'", "accuracy_before"]),
        (lambda path: None, ("runs", "--figure", "accuracy_best"), ["no record has accuracy_best"]),
        (lambda path: None, ("runs", "--only", "other"), ["unknown case 'other'"]),
        (lambda path: None, ("runs", "--torch", "1"), ["no record was made with torch 1", "2.9"]),
        (lambda path: None, ("runs", "--plot", "a.gif"), ["suffix"]),
        (lambda path: None, ("runs", "--json", "a", "--bmf", "a"), ["both write"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    make: Callable[[Path], None], arguments: tuple[str, ...], parts: list[str], kept: Path, tmp_path: Path
) -> None:
    make(tmp_path / "bad.zip")
    assert_one_clear_line(call(*arguments), *parts)


# What is shown and written

NASTY = "x\x1b[31m|::error::\n" + "y" * 200


def test_the_table_fits_80_columns_steps_first_whatever_a_case_is_called() -> None:
    made = list(records(0, count=24, fall=60, extra=1))
    both = History(cases={"a": history(made).cases[CASE][:3], NASTY: history(made, NASTY).cases[NASTY]}, left_out=[])
    lines = history_text(find_curves(both, thresholds=Thresholds())).splitlines()
    assert 80 >= max(map(len, lines))
    assert all(line.isprintable() for line in lines)
    assert ["accuracy_before", "size_percent"] == [line.split()[-6] for line in lines[2:4]]
    assert [commit(21)[:9], commit(12)[:9]] == [line.split()[-1] for line in lines[2:4]]


def test_the_command_shows_writes_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for record in records(0, count=24, fall=60):
        keep_record(record, Path(".prunebench/records"))
    files = ("--json", "h.json", "--plot", "h.svg", "--bmf", "b.json", "--github-action-benchmark", "g.json")
    result = call(*files)
    assert 0 == result.exit_code, result.output
    (curve,) = [each for each in json.loads(Path("h.json").read_text())["curves"] if each["marks"]]
    assert ("accuracy_before", 24, commit(21)) == (
        curve["figure"],
        len(curve["points"]),
        curve["points"][curve["marks"][0]["index"]]["commit"],
    )
    assert {"b.json", "g-bigger.json", "g-smaller.json", "h.json", "h.svg"} == {
        p.name for p in tmp_path.glob("*.*g*")
    } | {p.name for p in tmp_path.glob("*.json")}


def check_bmf(content: Any) -> None:
    """The rules of https://bencher.dev/bmf.json (draft 07), and of its reader's names.

    bencherdev/bencher: lib/bencher_adapter, json/v0.rs at 10abc85; lib/bencher_valid, benchmark_name.rs at 0b8f911.

    An object of objects of objects: value is a number and required, lower_value and upper_value are numbers. The name
    of a benchmark has 1 to 1,024 bytes, that of a measure 1 to 64.
    """
    assert isinstance(content, dict)
    for benchmark, measures in content.items():
        assert 1 <= len(benchmark.encode()) <= 1024
        for measure, metric in measures.items():
            assert 1 <= len(measure.encode()) <= 64
            assert "value" in metric
            assert {*metric} <= {"value", "lower_value", "upper_value"}
            assert all(type(number) in {int, float} for number in metric.values())


def check_action(content: Any) -> None:
    """The rules of `extractCustomBenchmarkResult` and the type BenchmarkResult, github-action-benchmark 1 at 04dcc2c.

    An array that is not empty; name and unit are strings, value a number, range and extra strings where there are any.
    Values are divided by those before, so none is 0. The first of one name is compared, so none comes twice.
    """
    assert isinstance(content, list)
    assert content
    for entry in content:
        assert {"name", "unit", "value"} <= {*entry} <= {"name", "unit", "value", "range", "extra"}
        assert all(type(value) is str for key, value in entry.items() if key != "value")
        assert type(entry["value"]) in {int, float}
        assert entry["value"]
    assert len(content) == len({entry["name"] for entry in content})


@pytest.mark.parametrize("case", [CASE, NASTY, "digits/" + "%C3%A9" * 300])
def test_other_programs_get_what_their_formats_ask_for(case: str) -> None:
    made = history([make_record(), make_record(wrong=20)], case)
    found = find_curves(made, ("size_percent", "accuracy_before", "change", "seconds_pruning"), thresholds=Thresholds())
    bmf = json.loads(as_bmf(found))
    check_bmf(bmf)
    assert [90.0] == [measures["accuracy_before"]["value"] for measures in bmf.values()]
    smaller, bigger = (json.loads(as_action_benchmarks(found, bigger_is_better=way) or "") for way in (False, True))
    check_action(smaller)
    check_action(bigger)
    assert (["size_percent", "seconds_pruning"], ["accuracy_before"]) == tuple(
        [entry["name"].removeprefix(f"{case} ") for entry in each] for each in (smaller, bigger)
    )


def test_an_array_that_would_be_empty_is_not_written() -> None:
    found = find_curves(history([make_record()]), ("size_mib",), thresholds=Thresholds())
    assert as_action_benchmarks(found, bigger_is_better=True) is None


def test_a_plot_has_a_panel_a_curve_a_line_a_step_and_every_version_of_torch() -> None:
    found = find_curves(history(records(0, count=24, fall=60, extra=1), NASTY), thresholds=Thresholds())
    figure = plot_history(found)
    assert 3 == len(figure.axes)
    upright = [[x for x, _ in line.get_xydata()] for axes in figure.axes for line in axes.lines if is_upright(line)]
    assert sorted([[20.5, 20.5], [11.5, 11.5]]) == sorted(upright)
    for axes in figure.axes:
        assert {"2.9", "2.13"} <= {text.get_text() for text in axes.texts}
    assert all(line.isprintable() for text in figure.findobj(Text) for line in text.get_text().split("\n"))
    with pytest.raises(PlotError, match="0 panels"):
        plot_history(find_curves(history([]), thresholds=Thresholds()))


def is_upright(line: Any) -> bool:
    x = [each for each, _ in line.get_xydata()]
    return len(x) == 2 and x[0] == x[1]
