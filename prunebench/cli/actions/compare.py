"""What `prunebench compare` does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from prunebench.baselines.collected import Collected, collect
from prunebench.baselines.comparison import as_json, compare_scan, compare_sides, exit_code
from prunebench.baselines.scans import ScanBaseline, holds_scan, read_any_scan
from prunebench.baselines.shelf import Baseline, list_baselines
from prunebench.cli.shell import FILE, say
from prunebench.errors import RecordError, StorageError
from prunebench.gate import Thresholds, Verdict, compare_scans, worst_first
from prunebench.records import chosen_cases
from prunebench.records.scans import scan_case
from prunebench.report import notable, passed_lines, verdict_lines
from prunebench.report.markdown import append_step_summary, in_github_actions, markdown_summary, workflow_commands
from prunebench.storage.files import BASELINES, check_targets, write_text

T = TypeVar("T")

BASELINES_OPTION = click.option(
    "--baselines", "folder", type=FILE, default=BASELINES, show_default=True, help="The folder of baselines."
)

ONLY = click.option("--only", metavar="IDS", multiple=True, help="Cases, with commas: digits/run3-quick,run4-quick.")


def compare(
    a: Path,
    b: Path,
    only: tuple[str, ...],
    alpha: float | None,
    margin: float | None,
    seed_spread: float | None,
    times: bool,
    json_file: Path | None,
    markdown_file: Path | None,
) -> None:
    """Judge records or a scan A against B, by default the baselines."""
    check_targets({"--json": json_file, "--markdown": markdown_file}, inputs=(a, b))

    limits = {"alpha": alpha, "margin": margin, "seed_spread": seed_spread}
    given = {name: value for name, value in limits.items() if value is not None} | {"times": times}
    judge = _judged_scan if holds_scan(a) else _judged_records
    verdicts = judge(a, b, only=_ids(only), limits=given)

    _show(verdicts)
    _write(verdicts, json_file=json_file, markdown_file=markdown_file)
    sys.exit(exit_code(verdicts))


def _readable(read: Callable[[Path], T], paths: Mapping[str, Path]) -> tuple[list[T], list[str]]:
    """What can be read, and what is wrong with the rest."""

    found, damaged = [], []
    for path in paths.values():
        try:
            found.append(read(path))
        except RecordError as error:
            damaged.append(str(error))
    return found, damaged


def _judged_records(a: Path, b: Path, *, only: Sequence[str], limits: Mapping[str, Any]) -> list[Verdict]:

    new, reference = collect(a), _reference(b)
    if len(revisions := {record.revision for record in new.records.values()}) > 1:
        say(
            f"note: the records of '{a}', the newest of each case, are of {len(revisions)} revisions: what no longer "
            "runs is judged by what it did last",
            err=True,
        )

    return compare_sides(new, reference, thresholds=Thresholds(**limits), only=only)


def _judged_scan(a: Path, b: Path, *, only: Sequence[str], limits: Mapping[str, Any]) -> list[Verdict]:

    scan, thresholds = read_any_scan(a), Thresholds(**limits)
    chosen_cases(only, [scan_case(scan)])
    if b.is_dir() or b == BASELINES:
        return compare_scan(scan, b, thresholds=thresholds)
    return compare_scans(read_any_scan(b), scan, thresholds)


def _reference(path: Path) -> Collected:
    """B; where there are no baselines yet, every case is NO_BASELINE and asking for them is no misuse."""

    return Collected(is_folder=True) if path == BASELINES and not list_baselines(path) else collect(path)


def _ids(given: Sequence[str]) -> list[str]:
    return [name.strip() for names in given for name in names.split(",") if name.strip()]


def _approved(made: Baseline | ScanBaseline, source: Path) -> str:
    replaced = f"replaces {made.approval.replaced[:12]}" if made.approval.replaced else "is its first"
    return f"approved {made.case}: {source} {replaced}, by {made.approval.by}"


def _show(verdicts: Sequence[Verdict]) -> None:
    """One line for each that did not pass, worst first, and what the others mean; annotations in GitHub Actions."""

    ordered = worst_first(verdicts)
    alone, lines = notable(ordered)
    say(*verdict_lines(alone), *lines, *passed_lines(ordered))
    if in_github_actions():
        for line in workflow_commands(ordered):
            click.echo(line)


def _write(verdicts: Sequence[Verdict], *, json_file: Path | None, markdown_file: Path | None) -> None:

    text = markdown_summary(verdicts)
    if json_file:
        write_text(json_file, as_json(verdicts))
    if markdown_file:
        write_text(markdown_file, text)
    try:
        append_step_summary(text)
    except StorageError as error:  # a summary that nobody can read is no reason to lose the verdict
        say(f"warning: {error}", err=True)
