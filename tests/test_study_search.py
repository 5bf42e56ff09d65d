"""Searches: a sampler chooses the runs of a study, and plan its tables, whatever is stopped and however many work."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_study import STUDY, Here, broken, folder, invoke, study, timeless

from prunebench.cli import main
from prunebench.errors import StudyError
from prunebench.experiments.executors import Job, Outcome
from prunebench.experiments.studies import preview, run_study
from prunebench.experiments.study import Study, read_study
from prunebench.experiments.study_search import Sampler, Search
from prunebench.gate.studies import study_results, unbeaten
from prunebench.planning import read_plan
from prunebench.records import read_record

__all__ = ["folder"]  # the fixture

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

SEARCH = """
[study]
name = "found"
workload = "mine"
finetune = false
[study.grid]
criterion = ["magnitude", "taylor", "random"]
allocation = "global"
total = { from = 0.5, to = 0.95 }
[search]
objective = "accuracy and size"
runs = 13
batch = 2
seed = 3
"""
RANGES = """
[study]
name = "found"
workload = "mine"
finetune = false
[study.grid]
total = 0.8
allocation = "global"
limits = { "0.*" = { from = 0.1, to = 0.9, step = 0.2 } }
evidence_examples = { from = 10, to = 30 }
[search]
sampler = "cma-es"
runs = 9
"""


class Stopping(Here):
    """Interrupted after so many jobs, as by Ctrl-C; the first prepares the workload."""

    def __init__(self, jobs: int) -> None:
        self.left = jobs

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        for outcome in islice(super().outcomes(jobs), self.left):
            self.left -= 1
            yield outcome
        if not self.left:
            raise KeyboardInterrupt


class Backwards(Here):
    """Two workers, of which the one that began last ends first."""

    workers = 2

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        waiting = iter(jobs)
        while pair := list(islice(waiting, 2)):
            yield from super().outcomes(reversed(pair))


def executed(name: str, text: str = SEARCH) -> Study:
    run_study(study(text.replace('"found"', f'"{name}"')), Here())
    return read_study("s.toml")


def contents(of: Study) -> list[Any]:
    return [timeless(read_record(of.record_path(planned))) for planned in of.runs]


def search(text: str) -> Search:
    found = study(text).search
    assert found is not None
    return found


def suggested(of: Search, figures: Sequence[float] = (0.0,), count: int = 16) -> list[dict[str, Any]]:
    """Suggestions in batches of two, told these figures in turn."""
    sampler, asked = Sampler(of), list[dict[str, Any]]()
    two = of.section.objective != "accuracy"
    while len(asked) < count:
        asked += [sampler.ask(), sampler.ask()]
        for place in (-2, -1):
            figure = figures[(len(asked) + place) % len(figures)]
            sampler.tell([figure, 50.0] if two else [figure])
    return asked


# What is suggested


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga-ii", "cma-es"])
def test_suggestions_go_by_the_seed_and_by_what_became_of_others(sampler: str) -> None:
    named = f'sampler = "{sampler}"\nruns'
    text = RANGES if sampler == "cma-es" else SEARCH.replace("runs", named)
    one = suggested(search(text))
    assert one == suggested(search(text))
    assert one != suggested(search(text.replace("[search]", "[search]\nseed = 4").replace("seed = 3\n", "")))
    rises = suggested(search(text), (1.0, 2.0, 0.5, 3.0, 9.0))
    assert (sampler == "random") == (one == rises)


def test_a_range_is_in_steps_from_end_to_end_and_a_list_is_its_values() -> None:
    values = {each.name: (each.ordered, list(each.values)) for each in search(SEARCH).dimensions}
    totals = [round(0.5 + number / 100, 2) for number in range(46)]
    assert {"criterion": (False, ["magnitude", "taylor", "random"]), "total": (True, totals)} == values
    ranges = {each.name: each.values for each in search(RANGES).dimensions}
    assert {"limits.0.*": [0.1, 0.3, 0.5, 0.7, 0.9], "evidence_examples": list(range(10, 31))} == ranges
    asked = {values["limits.0.*"] for values in suggested(search(RANGES))}
    assert 1 < len(asked)
    assert asked <= {0.1, 0.3, 0.5, 0.7, 0.9}


def test_the_example_of_the_docs_is_one() -> None:
    page = (Path(__file__).parents[1] / "docs/how-to/compare-methods.md").read_text(encoding="utf-8")
    text = page.partition("## A search")[2].partition("```toml\n")[2].partition("```")[0]
    of = search(text.replace('"signs"', '"mine"'))
    assert ["criterion", "allocation", "total", "limits.conv1.*"] == [each.name for each in of.dimensions]


@pytest.mark.parametrize(
    ("text", "old", "new", "said"),
    [
        (SEARCH, "runs = 13", "", "'search.runs' is missing"),
        (SEARCH, "seed = 3", "sede = 3", "unknown key 'search.sede': .*did you mean 'seed'"),
        (SEARCH, "batch = 2", 'sampler = "grid"', "'search.sampler': .*got 'grid'"),
        (SEARCH, '"accuracy and size"', '"accuracy"', "the least total is the most accurate"),
        (SEARCH, "to = 0.95", "to = 1.5", "'study.grid.total.0': .*less than or equal to 1, got 1.5"),
        (SEARCH, "to = 0.95", "to = 0.4", "'study.grid.total': expected a range of 2 to 10,000 values, got 0"),
        (SEARCH, "to = 0.95", "to = 0.95, step = 0", "'study.grid.total': 'step': .*greater than 0, got 0"),
        (SEARCH, "to = 0.95", "too = 0.95", "'study.grid.total': unknown key 'too': expected one of from, step, to"),
        (SEARCH, '"random"]', '"randem"]', "unknown criterion 'randem'"),
        (SEARCH, '["magnitude", "taylor", "random"]', "[]", "'study.grid.criterion': .*at least 1 item"),
        (SEARCH, "batch = 2", 'sampler = "cma-es"', "cma-es varies two ranges or more, and no lists"),
        (RANGES, "runs = 9", 'runs = 9\nobjective = "accuracy and size"', "cma-es has one objective"),
        (SEARCH, 'workload = "mine"', 'workload = ["mine", "digits"]', "a search is on one workload"),
        (SEARCH, "finetune = false", 'reference = { criterion = "taylor" }', "expected no 'reference'"),
        (STUDY, "[study.grid]", "sample = 3\n[search]\nruns = 3\n[study.grid]", "'study.sample'"),
        (STUDY, "[0.5, 0.8]", "{ from = 0.5, to = 0.8 }", "'study.grid.total.0': .*valid number"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_said_in_a_line(text: str, old: str, new: str, said: str) -> None:
    assert old in text
    Path("s.toml").write_text(text.replace(old, new))
    output = invoke("run", "s.toml", code=2).output
    assert re.search(said, output), output
    assert 1 == output.strip().count("\n") + 1, output
    assert not Path(".prunebench").exists()


# What is run


def test_a_stopped_search_goes_on_as_if_it_never_was_and_workers_change_nothing() -> None:
    text = RANGES + "batch = 2\n"
    whole = executed("whole", text)
    assert 9 == len(whole.asked) == len(whole.kept()) == whole.count
    for jobs in (1, 4, 6):  # before the first, within a batch, and where the sampler goes by what became of others
        with pytest.raises(KeyboardInterrupt):
            run_study(study(text), Stopping(jobs))
    assert 8 == len(read_study("s.toml").kept()) == len(read_study("s.toml").asked)
    run_study(read_study("s.toml"), Here())
    stopped = read_study("s.toml")
    assert (whole.asked, contents(whole)) == (stopped.asked, contents(stopped))
    run_study(study(text.replace('"found"', '"two"')), Backwards())
    assert (whole.asked, contents(whole)) == (read_study("s.toml").asked, contents(read_study("s.toml")))


def test_a_longer_search_begins_like_a_shorter_one_and_another_one_is_refused() -> None:
    text = SEARCH.replace("runs = 13", "runs = 3").replace("[study]", "[study]\nseeds = [0, 1]")
    assert (2 * 3, 2 * 3) == (executed("found", text).count, len(read_study("s.toml").kept()))
    first = read_study("s.toml").asked
    assert first == executed("found", text.replace("runs = 3", "runs = 4")).asked[:3]
    with pytest.raises(StudyError, match=r"was begun with other settings, or another optuna.*: give the study another"):
        executed("found", text.replace("seed = 3", "seed = 4"))
    with pytest.raises(StudyError, match="chose other keys: give the study another name"):
        study(RANGES)


def test_a_run_that_fails_is_told_as_that_and_one_that_comes_again_is_not_executed_again() -> None:
    broken()
    text = SEARCH.replace('"taylor", "random"', '"study_broken:Broken"').replace("{ from = 0.5, to = 0.95 }", "0.5")
    run_study(study(text), Here())
    assert "2 runs: 1 done, 1 failed, 0 to go" in invoke("status", "s.toml").output
    assert 13 == len(read_study("s.toml").asked)
    assert "expected no --retry" in invoke("run", "s.toml", "--retry", code=2).output


def test_a_preview_counts_what_is_yet_to_be_suggested() -> None:
    found = preview(study(SEARCH), Here())
    assert (13, 1, 1) == (found.runs, found.done, found.timed)
    assert found.seconds > 0
    assert "13 runs: 1 done, 0 failed, 12 to go" in invoke("status", "s.toml").output


def test_what_was_found_is_said_drawn_and_exported_without_a_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    done = executed("found", SEARCH.replace("runs = 13", "runs = 4"))
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "this needs optuna: pip install 'prunebench[search]'" in invoke("run", "s.toml", code=2).output
    output = invoke("results", "s.toml").output
    assert "The best in accuracy and size" in output
    assert "flattered by the images and seeds that it was chosen by" in output.replace("\n", " ")
    results = study_results(done, done.kept())
    best = unbeaten(results, objective="accuracy and size")
    beaten = [
        each for each in results
        if any(other.accuracy >= each.accuracy and other.compression > each.compression for other in results)
        or any(other.accuracy > each.accuracy and other.compression == each.compression for other in results)
    ]  # fmt: skip
    assert {result.planned.id for result in results} == {result.planned.id for result in [*best, *beaten]}
    assert not {result.planned.id for result in best} & {result.planned.id for result in beaten}
    assert max(result.accuracy for result in results) == unbeaten(results, objective="accuracy")[0].accuracy
    invoke("plot", "s.toml", "-o", "found.png")
    invoke("export", "s.toml", "-o", "found.csv")
    assert 1 + len(done.runs) == len(Path("found.csv").read_text().splitlines())


# Planning's search


def test_plans_are_measured_at_once_with_the_same_results(tmp_path: Path) -> None:
    trials = []
    for workers in ("1", "2"):
        options = ("--workload", "mine", "--size", "60", "--search", "4", "--images", "20", "--workers", workers)
        done = CliRunner().invoke(main, ["--quiet", "plan", *options, "--json", "plan.json"])
        assert 0 == done.exit_code, done.output
        trials.append(Path("plan.json").read_bytes())
        assert 5 == len(read_plan(Path("plan.json")).trials)
        Path("plan.json").unlink()
    assert trials[0] == trials[1]
