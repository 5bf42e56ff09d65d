"""Studies: what a file asks for is what is run, once, whatever is killed meanwhile; and what its results say."""

from __future__ import annotations

import csv
import itertools
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result
from record_factory import answered, make_record
from scipy.stats import binomtest, ttest_1samp, ttest_ind
from study_kills import DATA

from prunebench.cli import main
from prunebench.errors import PlotError, RecordError, StorageError, StudyError
from prunebench.experiments.executors import Executor, Job, Outcome
from prunebench.experiments.rows import RunRow, read_rows, record_stamps, row_of
from prunebench.experiments.studies import Done, StudyProgress, preview, run_study, shared_setting
from prunebench.experiments.study import PlannedRun, Study, read_study
from prunebench.gate.studies import MethodComparison, compare_methods, half_width, rank_methods, study_results
from prunebench.records import Data, FailedRun, FineTuning, RunRecord, failed_run, read_record, write_record
from prunebench.report.plots import plot_study
from prunebench.report.studies import study_text
from prunebench.storage.locks import alone

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

NET = """
import os, time
from torch import nn

class Net(nn.Sequential):
    def forward(self, inputs):
        if self.training:
            time.sleep(float(os.environ.get("STEP_SECONDS", 0)))
        return super().forward(inputs)

def build():
    return Net(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
"""
TOML = """
[workload.mine]
model = "study_net:build"
data = "study_data:load"
[workload.mine.recipe.dense]
epochs = 2
learning_rate = 0.05
[workload.mine.recipe.ci]
epochs = 4
learning_rate = 0.02
batch_size = 15
[workload.mine.recipe.long]
epochs = 6
learning_rate = 0.02
[run.half]
workload = "mine"
sparsity = 0.5
[run.timed]
workload = "mine"
sparsity = 0.5
measure = "latency"
"""
STUDY = """
[study]
name = "criteria"
workload = "mine"
seeds = [0, 1]
reference = { criterion = "magnitude" }
[study.grid]
criterion = ["magnitude", "taylor"]
total = [0.5, 0.8]
"""


class Here:
    """An executor of this process: one job after the other, in the order that they are asked for."""

    workers = 1

    def shared(self, makes: Mapping[str, Job]) -> Mapping[str, Job]:
        return makes

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        for job in jobs:
            try:
                yield Outcome(job=job, value=job())
            except Exception as error:
                yield Outcome(job=job, error=str(error))


class Seen(StudyProgress):
    def __init__(self) -> None:
        self.cases: list[str] = []
        self.left: list[int] = []

    def done(self, planned: PlannedRun, outcome: Done, left: int, seconds: float) -> None:
        self.cases.append(planned.case)
        self.left.append(left)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shared_setting.cache_clear()  # as in a process of its own
    for name, text in (("study_net.py", NET), ("study_data.py", DATA), ("prunebench.toml", TOML), ("s.toml", STUDY)):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(text: str = STUDY) -> Study:
    Path("s.toml").write_text(text)
    return read_study("s.toml")


def invoke(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["--quiet", "study", *arguments])
    assert code == done.exit_code, done.output
    return done


def timeless(record: RunRecord | FailedRun) -> dict[str, Any]:
    """All that does not say when, or how often a training was interrupted."""
    content = record.model_dump(mode="json", exclude={"created", "timings"})
    if content.get("finetuning"):
        del content["finetuning"]["resumed_after"]
    return content


def timeless_records() -> dict[str, dict[str, Any]]:
    """Those of the study in the folder, none of which failed, by id."""
    paths = map(study().record_path, study().runs)
    return {path.stem: timeless(read_record(path)) for path in paths if path.is_file()}


def resumed_after() -> list[int]:
    """The epochs that each run found done when its training was taken up last."""
    tuned = [read_record(path).finetuning for path in map(study().record_path, study().runs)]
    return [one.resumed_after for one in tuned if one]


# What a file asks for


def test_a_grid_is_all_combinations_in_the_order_of_the_file_seeds_fastest() -> None:
    found = [(one.parts["criterion"], one.parts["total"], one.seed) for one in study().runs]
    assert list(itertools.product(["magnitude", "taylor"], [0.5, 0.8], [0, 1])) == found


def test_totals_are_of_costs_and_have_limits_too() -> None:
    axes = 'total_of = ["elements", "size"]\nlimits = [{ "6.*" = 0.5 }, 0.9]\ntotal = ['
    found = study(STUDY.replace('"magnitude", "taylor"', '"magnitude"').replace("total = [", axes))
    cases = {planned.case.removesuffix("-seed1") for planned in found.runs}
    assert {f"mine/uniform-{total}{of}-limited-ci" for total in (0.5, 0.8) for of in ("", "-size")} == cases
    assert 2 * 2 * 2 == len({planned.group for planned in found.runs})
    assert "of size, 6.* at most 0.5" in {found.label(planned) for planned in found.runs}


def test_an_id_says_the_case_and_stays_while_others_come_and_go() -> None:
    before = {planned.id for planned in study().runs}
    after = {planned.id for planned in study(STUDY.replace("[0, 1]", "[5, 1, 0]").replace("[0.5,", "[0.3, 0.5,")).runs}
    assert before < after
    assert all(planned.id.startswith("mine-uniform-0.") for planned in study().runs)


@pytest.mark.parametrize(
    ("old", "new"),
    [("learning_rate = 0.02\nbatch", "learning_rate = 0.03\nbatch"), ("sparsity = 0.5", "sparsity = 0.6")],
)
def test_an_id_changes_with_all_that_is_asked(old: str, new: str) -> None:
    text = '[study]\nworkload = "mine"\n[study.grid]\nrun = "half"'
    before = study(text).runs[0].id
    Path("prunebench.toml").write_text(TOML.replace(old, new))
    assert before != study(text).runs[0].id
    assert before != study(text.replace("[study.grid]", "threads = 2\n[study.grid]")).runs[0].id


def test_runs_are_a_list_and_two_that_are_the_same_are_one() -> None:
    runs = '[[study.runs]]\nrun = "half"\n[[study.runs]]\ntotal = [0.5, 0.5]\ncriterion = "snip"'
    text = f'[study]\nworkload = "mine"\n{runs}'
    assert ["mine/half-ci", "mine/uniform-0.5-ci~snip"] == [planned.case for planned in study(text).runs]


def test_a_label_is_what_varies() -> None:
    text = STUDY.replace(
        "total =", 'allocation = "global"\npruning_schedule = ["one-shot", { name = "gradual", end = 0.5 }]\ntotal ='
    )
    found = study(text)
    assert {"magnitude, one-shot", "magnitude, gradual (end 0.5)", "taylor, one-shot", "taylor, gradual (end 0.5)"} == {
        found.label(planned) for planned in found.runs
    }


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_a_sample_is_of_the_grid_each_with_every_seed_and_goes_by_its_own_seed(kind: str) -> None:
    def sampled(seed: int, runs: int = 3) -> list[tuple[str, int]]:
        text = STUDY.replace(
            "[study.grid]", f"sample = {{ kind = '{kind}', runs = {runs}, seed = {seed} }}\n[study.grid]"
        )
        return [(planned.group, planned.seed) for planned in study(text).runs]

    everything = {planned.group for planned in study().runs}
    one = sampled(1)
    assert 6 == len({*one})
    assert {group for group, _ in one} < everything
    assert one == sampled(1)
    assert 1 < len({tuple(sampled(seed)) for seed in range(6)})
    assert everything == {group for group, _ in sampled(1, runs=4)}


def test_a_sobol_sample_takes_the_values_of_each_key_about_equally_often() -> None:
    totals = [number / 20 for number in range(16)]
    text = STUDY.replace("[0.5, 0.8]", str(totals)).replace(
        "[study.grid]", "sample = { kind = 'sobol', runs = 16 }\n[study.grid]"
    )
    found = [planned.parts for planned in study(text).runs if planned.seed == 0]
    assert totals == sorted(parts["total"] for parts in found)
    assert 8 == sum(parts["criterion"] == "taylor" for parts in found)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("criterion = [", "criterium = [", "unknown key 'study.grid.criterium': .*did you mean 'criterion'"),
        ("total =", 'allocation = "globl"\ntotal =', "unknown allocation 'globl'.*did you mean 'global'"),
        ('"taylor"]', '"tayler"]', "unknown criterion 'tayler'.*did you mean 'taylor'"),
        ('["magnitude", "taylor"]', "[]", "'study.grid.criterion': .*at least 1 item"),
        ("[0.5, 0.8]", "[0.5, 80]", "'study.grid.total.1': .*less than or equal to 1, got 80; did you mean 0.8"),
        ("total = [0.5, 0.8]", "", "'study.grid' says nothing of how much to prune: expected 'total' or 'run'"),
        ("total =", 'run = "half"\ntotal =', "'study.grid.total': a run says how much to prune"),
        ("criterion = [", 'run = "haf"\ncriterion = [', "'study.grid.total'"),
        ("total = [0.5, 0.8]", 'run = "haf"', "unknown run 'haf'.*did you mean 'half'"),
        ('workload = "mine"', 'workload = "yours"', "unknown workload 'yours'"),
        ('"mine"', '"mine"\nrecipe = ["ci", "lang"]', "unknown recipe 'lang'.*did you mean 'long'"),
        ("seeds = [0, 1]", "seeds = [-1]", "'study.seeds.0': .*greater than or equal to 0, got -1"),
        ('"magnitude" }', '"snip" }', "no run of the study has criterion = 'snip'"),
        ('"magnitude" }', '["snip", "taylor"] }', "'study.reference.criterion' names 2 values"),
        ("[study.grid]", "sample = { kind = 'sobol', runs = 5 }\n[study.grid]", "at most the 4 of the grid, got 5"),
        ("[study.grid]", "sample = { kind = 'lhs', runs = 5 }\n[study.grid]", "'study.sample.kind': .*got 'lhs'"),
        ("[study]", "[studie]", "unknown key 'studie': expected one of search, study"),
        ("[study.grid]", "[grid]", "unknown key 'grid'"),
        ('"criteria"', '"../criteria"', "'study.name'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_a_line_before_anything_is_made(old: str, new: str, said: str) -> None:
    Path("s.toml").write_text(STUDY.replace(old, new))
    output = invoke("run", "s.toml", code=2).output
    assert re.search(said, output), output
    assert "s.toml" in output
    assert 1 == output.strip().count("\n") + 1, output
    assert not Path(".prunebench").exists()


def test_the_example_of_the_docs_is_one() -> None:
    page = (Path(__file__).parents[1] / "docs/how-to/compare-methods.md").read_text(encoding="utf-8")
    text = page.partition("```toml\n")[2].partition("```")[0]
    assert 2 * 5 * 5 == len(study(text.replace('"signs"', '"mine"')).runs)


# What is run


def test_a_study_makes_the_records_that_run_makes() -> None:
    kept = run_study(study(), Here())
    assert 8 == len(kept)
    asked = ["--workload", "mine", "--criterion", "taylor", "--total", "0.8", "--seed", "1"]
    assert 0 == CliRunner().invoke(main, ["--quiet", "run", *asked, "--json", "r.json"]).exit_code
    (mine,) = (one.id for one in study().runs if one.case == "mine/uniform-0.8-ci~taylor-seed1")
    assert timeless(read_record("r.json")) == timeless_records()[mine]


def test_what_has_a_record_is_not_run_again() -> None:
    first, records = run_study(study(), Here()), timeless_records()
    dropped = study().runs[3]
    study().record_path(dropped).unlink()
    seen = Seen()
    again = run_study(study(), Here(), progress=seen)
    assert [dropped.case] == seen.cases
    assert list(first) == list(again)
    assert all(first[id_] == again[id_] for id_ in first if id_ != dropped.id)
    assert records == timeless_records()


def test_the_longest_are_run_first() -> None:
    seen = Seen()
    run_study(study(STUDY.replace('"mine"', '"mine"\nrecipe = ["ci", "long"]')), Here(), progress=seen)
    assert 8 * ["long"] + 8 * ["ci"] == ["long" if "-long" in case else "ci" for case in seen.cases]
    assert list(range(15, -1, -1)) == seen.left


BROKEN = """
import prunebench
class Broken(prunebench.Criterion):
    name = "broken"
    def scores(self, model, names, evidence):
        raise ArithmeticError("on purpose")
"""


def broken() -> str:
    Path("study_broken.py").write_text(BROKEN)
    return STUDY.replace('"taylor"', '"study_broken:Broken"')


def test_a_run_that_fails_has_a_record_of_it_and_the_others_go_on() -> None:
    Path("s.toml").write_text(broken())
    output = invoke("run", "s.toml", "--workers", "1", code=1).output
    assert 4 == output.count("ArithmeticError: on purpose")
    assert "8 runs: 4 done, 4 failed, 0 to go" in output
    assert "4 failed, and are in no mean" in invoke("results", "s.toml").output
    seen = Seen()
    run_study(read_study("s.toml"), Here(), progress=seen)
    assert [] == seen.cases
    Path("study_broken.py").write_text(
        BROKEN.replace(
            'raise ArithmeticError("on purpose")', "return {name: model.get_parameter(name).abs() for name in names}"
        )
    )
    assert "8 done, 0 failed" in invoke("run", "s.toml", "--retry", "--workers", "1").output


def test_too_many_failures_stop_the_study() -> None:
    text = broken().replace('name = "criteria"', 'name = "criteria"\nfailure_limit = 1')
    with pytest.raises(StudyError, match=r"2 runs failed, and failure_limit is 1; the last, 'mine/.*on purpose"):
        run_study(study(text), Here())
    assert 2 == sum(isinstance(record, FailedRun) for record in study(text).kept().values())


def test_records_of_other_weights_are_refused() -> None:
    run_study(study(), Here())
    Path("prunebench.toml").write_text(TOML.replace("learning_rate = 0.05", "learning_rate = 0.06"))
    shared_setting.cache_clear()
    with pytest.raises(StudyError, match="is of other data or dense weights than 'mine' has now: give the study"):
        run_study(study(), Here())


def test_a_second_driver_is_refused() -> None:
    with alone(study().folder / "lock"):
        assert "another process executes study 'criteria'" in invoke("run", "s.toml", code=2).output


def test_times_are_not_taken_beside_other_runs() -> None:
    two = Here()
    two.workers = 2
    with pytest.raises(StudyError, match="runs that measure latency are not to share the machine: expected one worker"):
        run_study(study('[study]\nworkload = "mine"\n[study.grid]\nrun = "timed"'), two)


def test_a_preview_times_one_run_and_keeps_it() -> None:
    executor: Executor = Here()
    found = preview(study(), executor)
    assert (8, 1, 1) == (found.runs, found.done, found.timed)
    (path,) = (study().folder / "records").iterdir()
    assert 8 * path.stat().st_size == found.record_bytes
    assert found.seconds > 0
    seen = Seen()
    kept = run_study(study(), Here(), progress=seen)
    assert 7 == len(seen.cases)
    assert 8 == len(kept)


def test_data_that_cannot_be_had_end_the_study_in_a_line() -> None:
    Path("study_data.py").write_text("def load():\n    raise OSError('gone')")
    assert "workload 'mine': data 'study_data:load' cannot be loaded: OSError: gone" in (
        invoke("run", "s.toml", "--workers", "1", code=2).output
    )
    assert {} == study().kept()


# The table of rows


def test_every_run_has_the_row_of_its_record_and_whatever_becomes_of_the_table_results_are_right() -> None:
    kept = run_study(study(), Here())
    paths = [study().record_path(planned) for planned in study().runs]
    assert [row_of(read_record(path)) for path in paths] == list(kept.values())
    table, stamps = study().table, record_stamps(paths[0].parent)
    assert kept == {id_: row for id_, row in read_rows(table, stamps).items() if id_ in kept}
    whole = table.read_bytes()
    second = whole.index(b"\n", whole.index(b"\n") + 1)
    cuts = [0, 1, second - 1, second, second + 1, len(whole) - 1]
    broken = [
        *(whole[:cut] for cut in cuts),
        b"\xff\x00" + whole,
        whole.replace(b"\n[", b"\n7\n\xff[", 1),
        b"[2]" + whole,
    ]
    for content in broken:
        table.write_bytes(content)
        assert kept == study().kept()
        assert kept == read_rows(table, stamps)


def test_a_row_saves_reading_its_record_and_counts_only_while_that_stands() -> None:
    found = made(seeds([80.0, 81.0, 82.0], [84.0, 85.0, 86.0]))
    kept, path = found.kept(), found.record_path(found.runs[0])
    before, text = path.stat(), path.read_text()
    path.write_text(text.replace('"seed": 0', '"seed": 7'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kept == found.kept()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(RecordError, match="was edited or damaged"):
        found.kept()
    path.unlink()
    assert list(kept)[1:] == list(found.kept())
    path.write_text(text)
    assert kept == found.kept()


def test_a_table_that_cannot_be_written_costs_time_alone() -> None:
    found = made(seeds([80.0], [84.0]))
    found.table.mkdir()
    assert found.kept() == found.kept()
    assert 2 == sum(isinstance(row, RunRow) for row in found.kept().values())


def test_a_full_disk_ends_the_study_in_a_line_and_leaves_no_half_record() -> None:
    text = STUDY.replace("[study.grid]", "finetune = false\n[study.grid]")
    whole = run_study(study(text), Here())
    path = study(text).record_path(study(text).runs[3])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2, hard))
    path.unlink()
    try:
        with pytest.raises(StorageError, match=f"cannot write '{path}': File too large; free space there"):
            run_study(study(text), Here())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 7 == len(list(path.parent.iterdir()))
    assert list(whole) == list(run_study(study(text), Here()))


# Killed


def children(parent: int) -> list[int]:
    """Processes that do the jobs of the driver `parent`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and fields[0] != "Z" and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:  # it ended meanwhile
            continue
    return found


def until(condition: Any, seconds: float = 900) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("in vain")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")
def test_killed_workers_and_a_killed_driver_lose_nothing_and_change_nothing(own_cache: Path) -> None:
    run_study(study(), Here())
    serial = timeless_records()
    study().folder.rename("serial")
    slow = {**os.environ, "STEP_SECONDS": "0.05", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "prunebench.cli", "--quiet", "study", "run", "s.toml", "--workers", "2"]

    def begun() -> list[Path]:
        return list((own_cache / "training").glob("*.pt"))

    def records() -> int:
        return len(study().kept())

    def halted(count: int) -> list[int]:
        """The workers, halted while a training of theirs is under way: however slow we are, it has not ended."""
        workers = children(driver.pid) if begun() else []
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        if len(workers) >= count and begun():
            return workers
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        return []

    with subprocess.Popen(command, env=slow) as driver:
        killed, *others = until(lambda: halted(1))
        os.kill(killed, signal.SIGKILL)
        for pid in others:
            os.kill(pid, signal.SIGCONT)
        until(lambda: records() >= 2)
        workers = until(lambda: halted(2))
        driver.kill()
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))  # they do not outlive it
    assert 2 <= records() < 8
    assert 0 == subprocess.run(command, env=slow).returncode
    assert serial == timeless_records()
    assert max(resumed_after()) > 0
    assert [] == begun()


def test_a_run_that_kills_its_process_every_time_has_failed_and_the_others_go_on() -> None:
    Path("study_broken.py").write_text(BROKEN.replace("raise", "import os; os._exit(9)\n        raise"))
    text = STUDY.replace('"taylor"', '"study_broken:Broken"').replace("[0.5, 0.8]", "0.5").replace("[0, 1]", "0")
    Path("s.toml").write_text(text)
    output = invoke("run", "s.toml", "--workers", "1", code=1).output
    assert "its process ended with code 9 (3 times)" in output
    assert "2 runs: 1 done, 1 failed, 0 to go" in output


# What the results say


def made(
    right: dict[tuple[str, int], float],
    *,
    totals: str = "0.5",
    criteria: str = '"magnitude", "taylor"',
    **changes: Any,
) -> Study:
    """A study whose runs, by criterion and seed, answered so many percent right; those without a figure failed."""
    text = STUDY.replace('"magnitude", "taylor"', criteria).replace("[0.5, 0.8]", totals)
    found = study(text.replace("[0, 1]", "[0, 1, 2]"))
    numbers = np.random.default_rng(0)
    for planned in found.runs:
        path = found.record_path(planned)
        if (percent := right.get((str(planned.parts["criterion"]), planned.seed))) is None:
            write_record(failed_run(planned.case, "ValueError: on purpose"), path)
            continue
        tuned = trained(percent, numbers)
        data = Data(name="mine", digest="0" * 64, train_images=1000, test_images=1000)
        sparsity = planned.parts["total"]
        dense = answered(np.arange(1000) >= 50)
        fields = {"finetuning": tuned, "data": data, "dense_accuracy": dense, "pruned_accuracy": dense}
        write_record(make_record(sparsity=sparsity, seed=planned.seed, **fields | changes), path)
    return found


def trained(percent: float, numbers: np.random.Generator) -> FineTuning:
    usual = make_record().finetuning
    assert usual is not None
    answers = answered(numbers.permutation(1000) < 10 * percent)
    accuracies = [answers.percent - 1, answers.percent]
    return usual.model_copy(update={"best": answers, "last": answers, "selection_accuracies": accuracies})


def compared(right: dict[tuple[str, int], float]) -> MethodComparison:
    found = made(right)
    (comparison,) = compare_methods(study_results(found, found.kept()), found.reference, alpha=0.05)
    return comparison


def seeds(magnitude: list[float], taylor: list[float]) -> dict[tuple[str, int], float]:
    both = {"magnitude": magnitude, "taylor": taylor}
    return {(name, seed): value for name, values in both.items() for seed, value in enumerate(values)}


def test_p_over_seeds_is_students_and_the_interval_too() -> None:
    before, after = [80.0, 81.0, 82.0], [84.0, 85.0, 87.0]
    found = compared(seeds(before, after))
    assert ttest_ind(before, after).pvalue == pytest.approx(found.p)
    low, high = ttest_1samp(after, 0).confidence_interval(0.95)
    assert (high - low) / 2 == pytest.approx(half_width(found.result.accuracies, 0.05))
    assert (np.mean(after), "better") == (pytest.approx(found.result.accuracy), found.verdict)
    assert "worse" == compared(seeds(after, before)).verdict


def test_models_that_are_clearly_two_are_not_two_methods() -> None:
    found = compared(seeds([80.0, 60.0, 70.0], [70.0, 80.0, 60.0]))
    assert {True} == {pair.p < 0.05 for pair in found.pairs}
    assert "not told apart" == found.verdict


def test_one_seed_is_judged_by_example_and_said_to_be_of_two_models() -> None:
    found = compared({("magnitude", 0): 60.0, ("taylor", 0): 80.0})
    (pair,) = found.pairs
    assert (None, "better") == (found.p, found.verdict)
    assert 200 == pair.gained - pair.lost
    assert binomtest(pair.gained, pair.gained + pair.lost).pvalue == pytest.approx(pair.p)
    assert "on those two models, not on the methods" in invoke("results", "s.toml").output.replace("\n", " ")


def test_equal_accuracies_of_few_seeds_are_no_certainty() -> None:
    """Without any spread a difference of one image would be infinitely many standard errors."""
    found = compared(seeds([80.0, 80.0, 80.0], [80.1, 80.1, 80.1]))
    assert found.p is not None
    assert found.p > 0.005


def test_p_values_are_adjusted_over_all_comparisons() -> None:
    found = made(seeds([80.0, 81.0, 82.0], [82.0, 83.0, 84.0]), totals="[0.5, 0.8]")
    two = compare_methods(study_results(found, found.kept()), found.reference, alpha=0.05)
    once = ttest_ind([80.0, 81.0, 82.0], [82.0, 83.0, 84.0]).pvalue
    assert [pytest.approx(2 * once)] * 2 == [each.p for each in two]


def test_unequal_fine_tuning_is_in_another_table_and_said() -> None:
    found = made(seeds([80.0, 81.0, 82.0], [84.0, 85.0, 86.0]))
    equal = study_text(found, found.kept(), alpha=0.05)
    assert (1, 0) == (equal.count("fine-tuned by ci on"), equal.count("Wang"))
    for planned in found.runs:
        if planned.parts["criterion"] == "taylor":
            record = read_record(path := found.record_path(planned))
            assert record.finetuning is not None
            signature = record.finetuning.signature.model_copy(update={"images": 6000})
            tuned = record.finetuning.model_copy(update={"signature": signature})
            write_record(record.model_copy(update={"finetuning": tuned}), path)
    unequal = study_text(found, found.kept(), alpha=0.05)
    assert (2, 1) == (unequal.count("fine-tuned by ci on"), unequal.count("Wang"))
    assert "  3x  better" in unequal


def test_results_fit_80_columns_and_say_so_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "has no results" in invoke("results", "s.toml", code=2).output
    made(seeds([80.0, 81.0, 82.0], [84.0, 85.0]))
    output = invoke("results", "s.toml").output
    assert max(map(len, output.splitlines())) <= 80
    assert "5 of 6 runs; 1 failed, and are in no mean." in output


def test_exports_have_a_row_a_run_and_the_same_in_both_forms() -> None:
    found = made(seeds([80.0, 81.0, 82.0], [84.0, 85.0]))
    invoke("export", "s.toml", "-o", "rows.csv")
    invoke("export", "s.toml", "-o", "rows.parquet")
    with Path("rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [planned.id for planned in found.runs] == [row["id"] for row in rows]
    assert ["80.0", "81.0", "82.0", "84.0", "85.0", ""] == [row["accuracy_best"] for row in rows]
    assert ("failed", "ValueError: on purpose") == (rows[-1]["status"], rows[-1]["error"])
    kept = pyarrow.parquet.read_table("rows.parquet").to_pylist()
    assert rows == [{name: "" if value is None else str(value) for name, value in row.items()} for row in kept]


def test_an_export_of_another_form_or_without_pyarrow_says_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    made(seeds([80.0], [84.0]))
    assert "must be one of .csv, .parquet" in invoke("export", "s.toml", "-o", "rows.xlsx", code=2).output
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'prunebench[study]'" in invoke("export", "s.toml", "-o", "rows.parquet", code=2).output
    assert not list(Path().glob("rows*"))


def test_a_method_ranks_above_another_only_where_the_test_tells_their_models_apart() -> None:
    names = '"magnitude", "taylor", "snip"'
    right = {("magnitude", 0): 60.0, ("taylor", 0): 61.0, ("snip", 0): 80.0}
    right |= {("magnitude", 1): 80.0, ("taylor", 1): 70.0, ("snip", 1): 60.0, ("magnitude", 2): 70.0}
    found = made(right, criteria=names)
    ranked = rank_methods(study_results(found, found.kept()), alpha=0.05)
    assert {"magnitude": [2.5, 1.0], "taylor": [2.5, 2.0], "snip": [1.0, 3.0]} == {
        each.result.label: each.ranks for each in ranked
    }


def test_a_plot_has_a_panel_a_figure_with_a_line_and_a_band_a_method() -> None:
    found = made(seeds([80.0, 81.0, 82.0], [84.0, 85.0, 86.0]), totals="[0.5, 0.8]")
    results = study_results(found, found.kept())
    axes = plot_study(results).axes
    assert ["accuracy, %, by compression", "accuracy, %, by theoretical speed-up", "mean rank by total"] == [
        each.get_title() for each in axes[:3]
    ]
    ranks = [fmean(each.ranks) for each in rank_methods(results, alpha=0.05)]
    expected = [("compression", 85.0), ("speed_up", 85.0), (None, None), ("compression", 2.751)]
    for each, (figure, mean) in zip(axes, expected, strict=True):
        lines = {line.get_label(): line for line in each.lines if not str(line.get_label()).startswith("_")}
        assert {"magnitude", "taylor"} == set(lines)
        at = [getattr(result, figure) for result in results[2:]] if figure else [0.5, 0.8]
        assert at == list(lines["taylor"].get_xdata())
        assert ([mean, mean] if mean else ranks[1::2]) == pytest.approx(list(lines["taylor"].get_ydata()))
        assert 2 == len(each.collections)
    invoke("plot", "s.toml", "-o", "a.png")
    invoke("plot", "s.toml", "-o", "b.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_too_many_methods_for_one_axis_are_refused() -> None:
    found = made(seeds([80.0], [84.0]))
    results = study_results(found, found.kept())
    with pytest.raises(PlotError, match="cannot draw 9 methods in one axis: expected 1 to 8"):
        plot_study([replace(results[0], label=str(number)) for number in range(9)])
