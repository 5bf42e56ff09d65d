"""Actions of `prunebench study`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from prunebench.cli.shell import say, show
from prunebench.experiments.executors import LocalExecutor, usable_cores
from prunebench.experiments.ray_executor import RayExecutor
from prunebench.experiments.rows import RunRow
from prunebench.experiments.studies import Done, StudyProgress, preview, run_study
from prunebench.experiments.study import PlannedRun, Study, read_study
from prunebench.gate.studies import study_results
from prunebench.records import FailedRun
from prunebench.report.plots import check_suffix, plot_study, write_figure
from prunebench.report.progress import is_quiet
from prunebench.report.studies import check_form, study_rows, study_text, write_rows
from prunebench.storage.files import check_targets

MIB = 2**20


class _Lines(StudyProgress):
    """A line a run on standard error."""

    def preparing(self, workload: str) -> None:
        _tell(f"{workload}: data and dense model, once for all runs")

    def done(self, planned: PlannedRun, outcome: Done, left: int, seconds: float) -> None:
        row = outcome.row
        said = f"{row.accuracy:.2f} %, {outcome.seconds:.0f} s" if row else f"failed: {outcome.error}"
        rest = f"; {left:,} to go" + (f", about {_time(seconds)}" if seconds >= 1 else "") if left else ""
        _tell(f"{planned.case}: {said}{rest}")


def _tell(line: str) -> None:
    """Say something about the progress."""
    if not is_quiet():
        say(line, err=True)


def run(file: Path, dry_run: bool, workers: int | None, on: str | None, retry: bool) -> None:
    """Execute the runs that have no record yet, longest first."""
    study = read_study(file)
    with _executor(study, on, workers) as executor:
        if dry_run:
            found = preview(study, executor, progress=_Lines())
            workers = min(executor.workers, study.at_once)
            say(
                f"{found.runs:,} runs, {found.done:,} done. The others take about {_time(found.seconds / workers)} of "
                f"{workers} workers, {_time(found.seconds)} of one, by the times of {found.timed:,}.",
                f"Disk: {found.record_bytes / MIB:,.1f} MiB of records in '{study.folder}', and up to "
                f"{found.state_bytes / MIB:,.1f} MiB in the cache while it trains.",
            )
            return
        kept = run_study(study, executor, retry=retry, progress=_Lines())
    _say_status(read_study(file) if study.search else study, kept)  # which it was asked meanwhile
    sys.exit(1 if any(isinstance(record, FailedRun) for record in kept.values()) else 0)


def _executor(study: Study, on: str | None, workers: int | None) -> LocalExecutor | RayExecutor:
    threads = study.settings.threads
    if on is not None:
        return RayExecutor(on, resources=study.resources, threads=threads, workers=workers, say=_tell)
    return LocalExecutor(workers=min(workers or max(1, usable_cores() // threads), study.at_once), threads=threads)


def status(file: Path) -> None:
    """Say how many runs are done, failed and to go."""
    study = read_study(file)
    _say_status(study, study.kept())


def results(file: Path, alpha: float) -> None:
    """Print means over seeds with their intervals, and comparisons with the reference."""
    study = read_study(file)
    show(study_text(study, study.kept(), alpha=alpha))


def plot(file: Path, alpha: float, output: Path) -> None:
    """Draw accuracy by compression and theoretical speed-up, rank over seeds, and time."""
    check_suffix(output)
    check_targets({"--output": output}, inputs=(file,))
    study = read_study(file)
    title = f"Study '{study.name}'"
    results = [
        replace(each, label=study.label(each.planned, ranges=False)) for each in study_results(study, study.kept())
    ]
    write_figure(plot_study(results, alpha=alpha, title=title, lines=study.search is None), output)
    say(f"Plot: {output}")


def export(file: Path, output: Path) -> None:
    """Write one row a run, with every setting and score."""
    check_form(output)
    check_targets({"--output": output}, inputs=(file,))
    study = read_study(file)
    rows = study_rows(study, study.kept())
    write_rows(rows, output)
    say(f"{len(rows):,} of {study.count:,} runs: {output}")


def _say_status(study: Study, kept: dict[str, RunRow | FailedRun]) -> None:
    failed = {planned.case: kept[planned.id] for planned in study.runs if isinstance(kept.get(planned.id), FailedRun)}
    for case, record in failed.items():
        assert isinstance(record, FailedRun), "chosen above"
        say(f"failed: {case}: {record.error}")
    to_go = study.count - len(kept)
    say(f"{study.count:,} runs: {len(kept) - len(failed):,} done, {len(failed):,} failed, {to_go:,} to go. "
        f"Records: {study.folder / 'records'}")  # fmt: skip


def _time(seconds: float) -> str:
    return tqdm.format_interval(seconds)
