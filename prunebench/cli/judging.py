"""Commands that judge: `compare`, which only reads, and `baseline`, which alone changes baselines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from prunebench.cli.shell import FILE, say, show
from prunebench.errors import StorageError
from prunebench.storage.files import BASELINES, check_targets, write_text

if TYPE_CHECKING:
    from prunebench.baselines.collected import Collected
    from prunebench.baselines.scans import ScanBaseline
    from prunebench.baselines.shelf import Baseline
    from prunebench.gate import Verdict

T = TypeVar("T")

BASELINES_OPTION = click.option(
    "--baselines", "folder", type=FILE, default=BASELINES, show_default=True, help="The folder of baselines."
)
ONLY = click.option("--only", metavar="IDS", multiple=True, help="Cases, with commas: digits/run3-quick,run4-quick.")


@click.command()
@click.argument("a", type=FILE)
@click.argument("b", type=FILE, default=BASELINES)
@ONLY
@click.option("--alpha", type=float, help="Chance of a false alarm, over all cases. Default: 0.01.")
@click.option("--margin", type=float, help="Points of accuracy that the same weights may lose. Default: 0.5.")
@click.option(
    "--seed-spread", type=float, help="Points more that one fine-tuning may lose, for its seed. Default: by density."
)
@click.option("--times/--no-times", default=True, help="Judge times too, where both are of one machine. Default: yes.")
@click.option("--json", "json_file", type=FILE, help="Write the verdicts with their evidence here.")
@click.option("--markdown", "markdown_file", type=FILE, help="Write the summary here.")
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
    """Judge records or a scan A against B, by default the baselines.

    A and B are each a record, a folder of records, or a folder of baselines; of several records of a case the newest
    counts. Where A is a folder, a baseline of the same workload and recipe without a record in A is INCOMPARABLE.
    A may be a sensitivity scan, and B then another or a folder of baselines; scans in a folder A are left out.

    Exits with 0 where all passed, 1 for a regression, 2 where something could not be compared, 3 for inconclusive.
    """
    check_targets({"--json": json_file, "--markdown": markdown_file}, inputs=(a, b))

    from prunebench.baselines.scans import holds_scan

    limits = {"alpha": alpha, "margin": margin, "seed_spread": seed_spread}
    given = {name: value for name, value in limits.items() if value is not None} | {"times": times}
    judge = _judged_scan if holds_scan(a) else _judged_records
    verdicts = judge(a, b, only=_ids(only), limits=given)

    from prunebench.baselines.comparison import exit_code

    _show(verdicts)
    _write(verdicts, json_file=json_file, markdown_file=markdown_file)
    sys.exit(exit_code(verdicts))


@click.group()
def baseline() -> None:
    """Baselines: records that a person approved. Only 'approve' and 'prune' change any."""


@baseline.command("list")
@BASELINES_OPTION
def list_(folder: Path) -> None:
    """List the baselines, who approved them, when and why. Exits with 2 where one is damaged."""
    from prunebench.baselines.shelf import list_baselines, list_scan_baselines, read_baseline
    from prunebench.report import baselines_table, scan_baselines_table

    found, damaged = _readable(read_baseline, list_baselines(folder))
    tables = [baselines_table(found)] if found else []
    if paths := list_scan_baselines(folder):
        from prunebench.baselines.scans import read_scan_baseline  # imports torch, so not without need

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


def _readable(read: Callable[[Path], T], paths: Mapping[str, Path]) -> tuple[list[T], list[str]]:
    """What can be read, and what is wrong with the rest."""
    from prunebench.errors import RecordError

    found, damaged = [], []
    for path in paths.values():
        try:
            found.append(read(path))
        except RecordError as error:
            damaged.append(str(error))
    return found, damaged


@baseline.command("show")
@click.argument("case")
@BASELINES_OPTION
def show_(case: str, folder: Path) -> None:
    """Show the baseline of CASE. Its approval, layers, sizes and accuracies; of a scan its curves."""
    from prunebench.baselines.shelf import list_baselines, list_scan_baselines, read_baseline
    from prunebench.records import chosen_cases
    from prunebench.report import baseline_text, layer_table, scan_baseline_text

    runs, scans = list_baselines(folder), list_scan_baselines(folder)
    (chosen,) = chosen_cases([case], [*runs, *scans])
    if chosen in runs:
        found = read_baseline(runs[chosen])
        show(f"{baseline_text(found)}\n\n{layer_table(found.record)}")
    else:
        from prunebench.baselines.scans import read_scan_baseline

        show(scan_baseline_text(read_scan_baseline(scans[chosen])))


@baseline.command()
@click.argument("run", type=FILE)
@ONLY
@click.option("--reason", required=True, help="Why this is the new baseline; kept with it.")
@click.option(
    "--incomparable", metavar="IDS", multiple=True, help="Cases that may replace a baseline they are INCOMPARABLE with."
)
@BASELINES_OPTION
def approve(run: Path, only: tuple[str, ...], reason: str, incomparable: tuple[str, ...], folder: Path) -> None:
    """Make records of RUN the baselines of their cases.

    RUN is a record, a folder of records, of which all that are named become baselines or none does, or the file of a
    sensitivity scan. Refuses a dirty tree, a failed run, a record under a floor, a scan that is not exact, and whatever
    is INCOMPARABLE with the baseline it would replace. Commit what it writes.
    """
    from prunebench.baselines.collected import collect
    from prunebench.baselines.scans import holds_scan, read_any_scan
    from prunebench.records import chosen_cases
    from prunebench.records.scans import scan_case

    if holds_scan(run):
        from prunebench.baselines.approval import approve_scan

        scan = read_any_scan(run)
        case = scan_case(scan)
        chosen_cases(_ids(only), [case])
        on_purpose = chosen_cases(_ids(incomparable), [case])
        say(_approved(approve_scan(scan, folder, reason=reason, incomparable=on_purpose), run))
        return

    found = collect(run)

    from prunebench.baselines.approval import approve as approve_records
    from prunebench.baselines.approval import chosen_records

    records = chosen_records(found, _ids(only))
    on_purpose = chosen_cases(_ids(incomparable), records)
    for made in approve_records(records, folder, reason=reason, incomparable=on_purpose):
        say(_approved(made, found.paths[made.case]))


@baseline.command()
@ONLY
@click.option("--yes", is_flag=True, help="Remove them; without it they are only listed.")
@BASELINES_OPTION
def prune(only: tuple[str, ...], yes: bool, folder: Path) -> None:
    """Remove baselines that nothing can be compared with any more.

    Or those named with --only. Nothing can be compared with a baseline of digits or cifar10 whose recipe is gone, or
    whose documented run has changed its sparsities, model or epochs. Baselines of scans and of your own workloads go
    only where they are named.
    """
    from prunebench.baselines.approval import remove, superseded
    from prunebench.baselines.shelf import list_baselines, list_scan_baselines
    from prunebench.records import chosen_cases

    runs = list_baselines(folder)
    paths = runs | list_scan_baselines(folder)
    reasons = dict.fromkeys(chosen_cases(_ids(only), paths), "named") if only else superseded(runs)
    for case, reason in reasons.items():
        say(f"{case}: {reason}")
    if reasons and yes:
        remove([paths[case] for case in reasons], folder)
    say(f"{len(reasons)} of {len(paths)} baselines {'removed' if yes else 'would be removed; do it with --yes'}")


def _judged_records(a: Path, b: Path, *, only: Sequence[str], limits: Mapping[str, Any]) -> list[Verdict]:
    from prunebench.baselines.collected import collect

    new, reference = collect(a), _reference(b)
    if len(revisions := {record.revision for record in new.records.values()}) > 1:
        say(
            f"note: the records of '{a}', the newest of each case, are of {len(revisions)} revisions: what no longer "
            "runs is judged by what it did last",
            err=True,
        )

    from prunebench.baselines.comparison import compare_sides
    from prunebench.gate import Thresholds

    return compare_sides(new, reference, thresholds=Thresholds(**limits), only=only)


def _judged_scan(a: Path, b: Path, *, only: Sequence[str], limits: Mapping[str, Any]) -> list[Verdict]:
    from prunebench.baselines.comparison import compare_scan
    from prunebench.baselines.scans import read_any_scan
    from prunebench.gate import Thresholds, compare_scans
    from prunebench.records import chosen_cases
    from prunebench.records.scans import scan_case

    scan, thresholds = read_any_scan(a), Thresholds(**limits)
    chosen_cases(only, [scan_case(scan)])
    if b.is_dir() or b == BASELINES:
        return compare_scan(scan, b, thresholds=thresholds)
    return compare_scans(read_any_scan(b), scan, thresholds)


def _reference(path: Path) -> Collected:
    """B; where there are no baselines yet, every case is NO_BASELINE and asking for them is no misuse."""
    from prunebench.baselines.collected import Collected, collect
    from prunebench.baselines.shelf import list_baselines

    return Collected(is_folder=True) if path == BASELINES and not list_baselines(path) else collect(path)


def _ids(given: Sequence[str]) -> list[str]:
    return [name.strip() for names in given for name in names.split(",") if name.strip()]


def _approved(made: Baseline | ScanBaseline, source: Path) -> str:
    replaced = f"replaces {made.approval.replaced[:12]}" if made.approval.replaced else "is its first"
    return f"approved {made.case}: {source} {replaced}, by {made.approval.by}"


def _show(verdicts: Sequence[Verdict]) -> None:
    """One line for each that did not pass, worst first, and what the others mean; annotations in GitHub Actions."""
    from prunebench.gate import worst_first
    from prunebench.report import notable, passed_lines, verdict_lines
    from prunebench.report.markdown import in_github_actions, workflow_commands

    ordered = worst_first(verdicts)
    alone, lines = notable(ordered)
    say(*verdict_lines(alone), *lines, *passed_lines(ordered))
    if in_github_actions():
        for line in workflow_commands(ordered):
            click.echo(line)


def _write(verdicts: Sequence[Verdict], *, json_file: Path | None, markdown_file: Path | None) -> None:
    from prunebench.baselines.comparison import as_json
    from prunebench.report.markdown import append_step_summary, markdown_summary

    text = markdown_summary(verdicts)
    if json_file:
        write_text(json_file, as_json(verdicts))
    if markdown_file:
        write_text(markdown_file, text)
    try:
        append_step_summary(text)
    except StorageError as error:  # a summary that nobody can read is no reason to lose the verdict
        say(f"warning: {error}", err=True)
