"""A study executed: what has no record is run, longest first, wherever an executor does it; all else is kept."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from statistics import fmean
from typing import Any

from prunebench.errors import StorageError, StudyError, first_line
from prunebench.experiments.executors import Executor, Job, Outcome
from prunebench.experiments.flow import Setting, example_of, execute, prepare
from prunebench.experiments.requests import requested_run, resolve
from prunebench.experiments.rows import RunRow, add_row, row_of
from prunebench.experiments.study import PlannedRun, Settings, Study
from prunebench.experiments.study_search import Sampler, objectives
from prunebench.machine.devices import resolve_device
from prunebench.measure import count_macs, file_size_bytes
from prunebench.records import FailedRun, failed_run, record_text, write_record
from prunebench.storage.files import check_writable, sweep, write_text
from prunebench.storage.locks import alone
from prunebench.storage.revisions import provenance
from prunebench.training import check_recipe
from prunebench.workloads import find_recipe, find_workload

STATES = 4
"""Times the weights that the state of an unfinished training takes: model, optimizer, best epoch, an average."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """The answer of a process about a run.

    Attributes:
        record: the text of the file that is kept; empty where the run failed.
        row: of the record; None where the run failed.
        seconds: from its beginning to its record, data and dense model loaded; 0 where it failed.
        error: why it failed; empty where it did not.
    """

    record: str = ""
    row: RunRow | None = None
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Facts of a workload whose data and dense model are made.

    Attributes:
        setting: gives them, in any process that does jobs.
        digests: of the data and the dense weights.
        images, macs: training images; multiply-accumulates of one image.
        state_bytes: of the dense weights in a file.
    """

    setting: Callable[[], Setting]
    digests: tuple[str, str]
    images: int
    macs: int
    state_bytes: int


class StudyProgress:
    """Messages of a study to whoever watches; every method may be left as it is."""

    def preparing(self, workload: str) -> None:
        """Data and the dense model of `workload` are loaded or made, once for all runs."""

    def done(self, planned: PlannedRun, outcome: Done, left: int, seconds: float) -> None:
        """A run has its record; `left` are to go, for about so many `seconds`."""


@dataclass(kw_only=True)
class Estimates:
    """Seconds that runs take: of those like it where one was measured, else by images, epochs and operations.

    Attributes:
        measured: by kind of run, and under the empty one of all: how many, their seconds, the work they were for.
    """

    prepared: Mapping[str, Prepared]
    measured: dict[tuple[object, ...], tuple[int, float, float]] = field(default_factory=dict)

    def add(self, planned: PlannedRun, seconds: float) -> None:
        """A run of this kind took so many seconds."""
        for kind in (planned.kind, ()):
            runs, taken, work = self.measured.get(kind, (0, 0.0, 0.0))
            self.measured[kind] = runs + 1, taken + seconds, work + self._work(planned)

    def seconds(self, planned: PlannedRun) -> float:
        """Seconds that a run will take; only for the order as long as nothing is measured."""
        if like := self.measured.get(planned.kind):
            return like[1] / like[0]
        _, taken, work = self.measured.get((), (0, 1.0, 1.0))
        return self._work(planned) * taken / work

    @property
    def mean(self) -> float:
        """Mean seconds of the runs that were measured; 0 where none was."""
        runs, taken, _ = self.measured.get((), (1, 0.0, 0.0))
        return taken / runs

    def _work(self, planned: PlannedRun) -> float:
        """Operations of the fine-tuning: three times those of its answers; and of the answers before it."""
        about, epochs = self.prepared[planned.workload], planned.epochs if planned.settings.finetune else 0
        return float(about.macs * about.images * (3 * epochs + 1))


@dataclass(frozen=True, kw_only=True)
class Preview:
    """An outlook on a study.

    Attributes:
        runs, done: in all; that have a record.
        seconds: that the others will take together; divided by the workers, what one waits.
        timed: runs whose times say so.
        record_bytes: of all records in the end.
        state_bytes: of unfinished trainings in the cache, at most.
    """

    runs: int
    done: int
    seconds: float
    timed: int
    record_bytes: int
    state_bytes: int


def run_study(
    study: Study, executor: Executor, *, retry: bool = False, progress: StudyProgress | None = None
) -> dict[str, RunRow | FailedRun]:
    """Execute the runs that have no record; the rows of all, by id, in the order of the runs.

    Each run is that of `prunebench run`, and writes its own record, whole or not at all. Stop it any time: runs that
    have a record are not done again, and an unfinished training goes on from its last epoch.

    Args:
        retry: execute runs that failed as well.

    Raises:
        StudyError: more runs failed than may; data or a dense model that cannot be had, or are others than those of the
            records that are there.
        StorageError: a file cannot be written; or another process executes this study.
    """
    if executor.workers > 1 and (timed := [name for name in sorted(study.measured) if name.startswith("latency")]):
        raise StudyError(f"runs that measure {timed[0]} are not to share the machine: expected one worker")
    if study.search and retry:
        raise StudyError("a search went on from the runs that failed: expected no --retry")
    progress = progress or StudyProgress()
    with _alone(study):
        kept = study.kept()
        estimates = _estimates(study, executor, kept, progress)
        if study.search:
            return _execute_search(study, executor, estimates, progress).kept()
        todo = [planned for planned in study.runs if _is_to_do(kept.get(planned.id), retry=retry)]
        _execute(study, todo, executor, estimates, progress)
        return study.kept()


def preview(study: Study, executor: Executor, *, progress: StudyProgress | None = None) -> Preview:
    """An outlook on what is to be done; where no run has a record, the shortest is executed, and keeps its own.

    Raises:
        StudyError, StorageError: as `run_study`.
    """
    progress = progress or StudyProgress()
    with _alone(study):
        kept = study.kept()
        estimates = _estimates(study, executor, kept, progress)
        if not any(isinstance(row, RunRow) for row in kept.values()):
            study = _asked(study, Sampler(study.search), 0)[0] if study.search else study
            shortest = min(study.runs, key=estimates.seconds)
            _execute(study, [shortest], executor, estimates, progress)
            kept = study.kept()
        timed = [planned for planned in study.runs if isinstance(kept.get(planned.id), RunRow)]
        if not timed:
            failed = [record.error for record in kept.values() if isinstance(record, FailedRun)]
            raise StudyError(f"the run that was to be timed failed: {failed[-1]}")
        sizes = [study.record_path(planned).stat().st_size for planned in timed]
        left = [planned for planned in study.runs if planned.id not in kept]
        return Preview(
            runs=study.count,
            done=len(kept),
            seconds=sum(map(estimates.seconds, left)) + estimates.mean * (study.count - len(study.runs)),
            timed=len(timed),
            record_bytes=round(fmean(sizes) * study.count),
            state_bytes=STATES * executor.workers * max(each.state_bytes for each in estimates.prepared.values()),
        )


@contextlib.contextmanager
def _alone(study: Study) -> Iterator[None]:
    records = study.folder / "records"
    check_writable(records)
    busy = f"another process executes study '{study.name}': wait for it, or give this study another name"
    with alone(study.folder / "lock", seconds=0, busy=busy):
        sweep(records)
        yield


def _is_to_do(record: RunRow | FailedRun | None, *, retry: bool) -> bool:
    return record is None or (retry and isinstance(record, FailedRun))


def _estimates(
    study: Study, executor: Executor, kept: Mapping[str, RunRow | FailedRun], progress: StudyProgress
) -> Estimates:
    """Load or make data and dense models, once for all runs; what runs take, by the records that are there."""
    names = study.workloads
    for name in names:
        progress.preparing(name)
    made = executor.shared({f"workload '{name}'": partial(shared_setting, name, study.settings) for name in names})
    jobs: dict[Job, str] = {
        partial(prepared_workload, give): name for name, give in zip(names, made.values(), strict=True)
    }
    prepared: dict[str, Prepared] = {}
    for outcome in executor.outcomes(jobs):
        if outcome.error:
            raise StudyError(f"workload '{jobs[outcome.job]}': {outcome.error}")
        prepared[jobs[outcome.job]] = outcome.value
    estimates = Estimates(prepared=prepared)
    for planned in study.runs:
        if not isinstance(row := kept.get(planned.id), RunRow):
            continue
        if (row.data, row.dense) != prepared[planned.workload].digests:
            raise StudyError(
                f"'{study.record_path(planned)}' is of other data or dense weights than '{planned.workload}' has now: "
                "give the study another name, or remove its records"
            )
        estimates.add(planned, row.seconds)
    return estimates


def _execute_search(study: Study, executor: Executor, estimates: Estimates, progress: StudyProgress) -> Study:
    """Execute the runs that a sampler suggests, batch by batch; the study with them.

    It is told of a whole batch, in the order of its suggestions: neither the workers nor a stop change the next ones.
    """
    assert study.search is not None, "it has one"
    section, sampler, told, failures = study.search.section, Sampler(study.search), 0, 0
    while told < section.runs:
        study, batch = _asked(study, sampler, told)
        suggested = [study.suggested(values) for values in batch]
        runs = {planned.id: planned for each in suggested for planned in each}
        kept = study.kept()
        todo = [planned for planned in runs.values() if planned.id not in kept]
        failures = _execute(study, todo, executor, estimates, progress, failures=failures)
        kept = study.kept()
        for each in suggested:
            sampler.tell(objectives(section, [kept[planned.id] for planned in each]))
        told += len(batch)
    return study


def _asked(study: Study, sampler: Sampler, told: int) -> tuple[Study, list[dict[str, Any]]]:
    """The next batch of suggestions, and the study with it, written down; `told` are the suggestions before."""
    assert study.search is not None, "it has one"
    section = study.search.section
    batch = [sampler.ask() for _ in range(min(section.batch, section.runs - told))]
    known = list(study.asked[told : told + len(batch)])
    if known != batch[: len(known)]:
        raise StudyError(
            f"the search of '{study.folder}' was begun with other settings, or another optuna, and chose other runs: "
            "give the study another name"
        )
    if len(known) < len(batch):
        study = study.asking([*study.asked[:told], *batch])
        study.keep_asked()
    return study, batch


def _execute(
    study: Study,
    todo: list[PlannedRun],
    executor: Executor,
    estimates: Estimates,
    progress: StudyProgress,
    *,
    failures: int = 0,
) -> int:
    """Execute runs, and keep their records; how many failed, with the `failures` before."""
    later = study.count - len(study.runs)
    queue, source = _Queue(todo, estimates), provenance()
    jobs: dict[Job, PlannedRun] = {}

    def ask() -> Iterator[Job]:
        while (planned := queue.longest()) is not None:
            setting = estimates.prepared[planned.workload].setting
            job = partial(execute_planned, planned, setting, study_file=str(study.path), source=source)
            jobs[job] = planned
            yield job

    for outcome in executor.outcomes(ask()):
        planned = jobs.pop(outcome.job)
        done = _kept(study, planned, outcome)
        if done.error:
            failures += 1
        else:
            estimates.add(planned, done.seconds)
        queue.done(planned)
        seconds = (queue.seconds() + later * estimates.mean) / executor.workers
        progress.done(planned, done, len(queue) + len(jobs) + later, seconds)
        if failures > study.failure_limit:
            raise StudyError(
                f"{failures} runs failed, and failure_limit is {study.failure_limit}; the last, '{planned.case}': "
                f"{done.error}"
            )
    return failures


def _kept(study: Study, planned: PlannedRun, outcome: Outcome) -> Done:
    """The answer about a run, once its record, or that of its failure, is written."""
    if outcome.error and not outcome.died:
        raise StudyError(outcome.error)
    done = Done(error=outcome.error) if outcome.died else outcome.value
    assert isinstance(done, Done), "what the job returns"
    path = study.record_path(planned)
    if done.row is None:
        write_record(failed_run(planned.case, done.error), path)
    else:
        write_text(path, done.record)
        add_row(study.table, planned.id, done.row, record=path)
    return replace(done, record="")


class _Queue:
    """Runs to do, by kind: of those that take longest the first."""

    def __init__(self, todo: list[PlannedRun], estimates: Estimates) -> None:
        self._kinds: defaultdict[tuple[object, ...], deque[PlannedRun]] = defaultdict(deque)
        for planned in todo:
            self._kinds[planned.kind].append(planned)
        self._one = {kind: runs[0] for kind, runs in self._kinds.items()}
        self._left = {kind: len(runs) for kind, runs in self._kinds.items()}
        self._estimates = estimates

    def __len__(self) -> int:
        return sum(map(len, self._kinds.values()))

    def longest(self) -> PlannedRun | None:
        waiting = [runs for runs in self._kinds.values() if runs]
        return max(waiting, key=lambda runs: self._estimates.seconds(runs[0])).popleft() if waiting else None

    def done(self, planned: PlannedRun) -> None:
        self._left[planned.kind] -= 1

    def seconds(self) -> float:
        """Seconds that all runs will take that are not done."""
        return sum(left * self._estimates.seconds(self._one[kind]) for kind, left in self._left.items())


@lru_cache(maxsize=2)
def shared_setting(workload: str, settings: Settings) -> Setting:
    """Load or make the data, the dense model and its answers, which all runs of a process on one workload share."""
    return prepare(
        find_workload(workload),
        device=resolve_device(settings.device),
        precision=settings.precision,
        select_on=settings.select_on,
        test_images=settings.test_images,
    )


def prepared_workload(give: Callable[[], Setting]) -> Prepared:
    """Facts of the workload whose data and dense model `give` gives."""
    setting = give()
    return Prepared(
        setting=give,
        digests=(setting.data.digest, setting.dense.digest),
        images=len(setting.data.train),
        macs=sum(count_macs(setting.dense.model, example_of(setting)).values()),
        state_bytes=file_size_bytes(setting.dense.model.state_dict()),
    )


def execute_planned(
    planned: PlannedRun, give: Callable[[], Setting], *, study_file: str, source: Mapping[str, Any]
) -> Done:
    """Execute one run, in any process.

    Args:
        give: the data and the dense model.
        source: the revisions of the project that the study is of, as `provenance` gives them: where the run is executed
            there may be no repository.

    Raises:
        StorageError: the cache cannot be written: nothing is wrong with the run.
    """
    try:
        shared = give()
        start = time.perf_counter()
        requested, workload = requested_run(planned.run, planned.workload, planned.asked, source=study_file)
        name, recipe = find_recipe(workload, planned.recipe)
        check_recipe(recipe)
        setting = replace(shared, workload=workload, recipe_name=name, recipe=recipe, seed=planned.seed)
        run = resolve(requested, workload, setting.dense.model, setting.data, seed=planned.seed)
        record = execute(run, setting, finetune=planned.settings.finetune).model_copy(update=source)
    except StorageError:
        raise
    except Exception as error:  # the model's code, and a user's own methods, may raise anything
        return Done(error=first_line(error))
    seconds = time.perf_counter() - start
    return Done(record=record_text(record), row=row_of(record), seconds=seconds)
