"""What `prunebench baseline` does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from prunebench.baselines.approval import approve as approve_records
from prunebench.baselines.approval import approve_scan, chosen_records, remove_baselines, superseded
from prunebench.baselines.collected import Collected, collect
from prunebench.baselines.comparison import as_json, compare_scan, compare_sides
from prunebench.baselines.scans import (
    ScanBaseline,
    holds_scan,
    read_any_scan,
    read_scan_baseline,  # imports torch, so not without need
)
from prunebench.baselines.shelf import Baseline, list_baselines, list_scan_baselines, read_baseline
from prunebench.cli.shell import FILE, say, show
from prunebench.errors import RecordError, StorageError
from prunebench.gate import Thresholds, Verdict, compare_scans, worst_first
from prunebench.records import chosen_cases
from prunebench.records.scans import scan_case
from prunebench.report import (
    baseline_text,
    baselines_table,
    layer_table,
    notable,
    passed_lines,
    scan_baseline_text,
    scan_baselines_table,
    verdict_lines,
)
from prunebench.report.markdown import append_step_summary, in_github_actions, markdown_summary, workflow_commands
from prunebench.storage.files import BASELINES, write_text

T = TypeVar("T")

BASELINES_OPTION = click.option(
    "--baselines", "folder", type=FILE, default=BASELINES, show_default=True, help="The folder of baselines."
)

ONLY = click.option("--only", metavar="IDS", multiple=True, help="Cases, with commas: digits/run3-quick,run4-quick.")


def list_(folder: Path) -> None:
    """List the baselines, who approved them, when and why. Exits with 2 where one is damaged."""

    found, damaged = _readable(read_baseline, list_baselines(folder))
    tables = [baselines_table(found)] if found else []
    if paths := list_scan_baselines(folder):
        scans, damaged_scans = _readable(read_scan_baseline, paths)
        tables += [scan_baselines_table(scans)] if scans else []
        damaged += damaged_scans
    if tables:
        show("\n\n".join(tables))
    else:
        say(f"no baselines in '{folder}'")
    for message in damaged:
        say(f"error: {message}", err=True)
    sys.exit(2 if damaged else 0)


def show_(case: str, folder: Path) -> None:
    """Show the baseline of CASE. Its approval, layers, sizes and accuracies; of a scan its curves."""

    runs, scans = list_baselines(folder), list_scan_baselines(folder)
    (chosen,) = chosen_cases([case], [*runs, *scans])
    if chosen in runs:
        found = read_baseline(runs[chosen])
        show(f"{baseline_text(found)}\n\n{layer_table(found.record)}")
    else:
        show(scan_baseline_text(read_scan_baseline(scans[chosen])))


def approve(run: Path, only: tuple[str, ...], reason: str, incomparable: tuple[str, ...], folder: Path) -> None:
    """Make records of RUN the baselines of their cases."""

    if holds_scan(run):
        scan = read_any_scan(run)
        case = scan_case(scan)
        chosen_cases(_ids(only), [case])
        on_purpose = chosen_cases(_ids(incomparable), [case])
        say(_approved(approve_scan(scan, folder, reason=reason, incomparable=on_purpose), run))
        return

    found = collect(run)

    records = chosen_records(found, _ids(only))
    on_purpose = chosen_cases(_ids(incomparable), records)
    for made in approve_records(records, folder, reason=reason, incomparable=on_purpose):
        say(_approved(made, found.paths[made.case]))


def remove(only: tuple[str, ...], yes: bool, folder: Path) -> None:
    """Remove baselines that nothing can be compared with any more."""

    runs = list_baselines(folder)
    paths = runs | list_scan_baselines(folder)
    reasons = dict.fromkeys(chosen_cases(_ids(only), paths), "named") if only else superseded(runs)
    for case, reason in reasons.items():
        say(f"{case}: {reason}")
    if reasons and yes:
        remove_baselines([paths[case] for case in reasons], folder)
    say(f"{len(reasons)} of {len(paths)} baselines {'removed' if yes else 'would be removed; do it with --yes'}")


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
