"""Commands that judge: `compare`, which only reads, and `baseline`, which alone changes baselines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prunebench.cli.shell import FILE
from prunebench.files import BASELINES, write_text

if TYPE_CHECKING:
    from prunebench.gate import Verdict
    from prunebench.records import Baseline, Collected

BASELINES_OPTION = click.option(
    "--baselines", "folder", type=FILE, default=BASELINES, show_default=True, help="The folder of baselines."
)
ONLY = click.option("--only", metavar="IDS", multiple=True, help="Cases, with commas: digits/run3-quick,run4-quick.")


@click.command()
@click.argument("a", type=FILE)
@click.argument("b", type=FILE, default=BASELINES)
@ONLY
@click.option("--alpha", type=float, help="Chance of a false alarm, over all cases. Default: 0.01.")
@click.option("--margin", type=float, help="Points of accuracy that may be lost. Default: 0.5.")
@click.option("--json", "json_file", type=FILE, help="Write the verdicts with their evidence here.")
@click.option("--markdown", "markdown_file", type=FILE, help="Write the summary here.")
def compare(
    a: Path,
    b: Path,
    only: tuple[str, ...],
    alpha: float | None,
    margin: float | None,
    json_file: Path | None,
    markdown_file: Path | None,
) -> None:
    """Judge the records of A against those of B, by default the baselines.

    A and B are each a record, a folder of records, or a folder of baselines; of several records of a case the newest
    counts. Where A is a folder, a baseline of the same workload and budget without a record in A is INCOMPARABLE.

    Exits with 0 where all passed, 1 for a regression, 2 where something could not be compared, 3 for inconclusive.
    """
    from prunebench.records import collect

    new, reference = collect(a), _reference(b)

    from prunebench.comparison import compare_sides, exit_code
    from prunebench.gate import Thresholds

    given = {name: value for name, value in (("alpha", alpha), ("margin", margin)) if value is not None}
    verdicts = compare_sides(new, reference, thresholds=Thresholds(**given), only=_ids(only))
    _show(verdicts)
    _write(verdicts, json_file=json_file, markdown_file=markdown_file)
    sys.exit(exit_code(verdicts))


@click.group()
def baseline() -> None:
    """Baselines: records that a person approved. Only 'approve' and 'prune' change any."""


@baseline.command("list")
@BASELINES_OPTION
def list_(folder: Path) -> None:
    """List the baselines: size, accuracy, who approved them, when and why. Exits with 2 where one is damaged."""
    from prunebench.errors import RecordError
    from prunebench.records import list_baselines, read_baseline
    from prunebench.report import baselines_table

    found, damaged = [], []
    for path in list_baselines(folder).values():
        try:
            found.append(read_baseline(path))
        except RecordError as error:
            damaged.append(str(error))
    click.echo(baselines_table(found) if found else f"no baselines in '{folder}'")
    for message in damaged:
        click.echo(f"error: {message}", err=True)
    sys.exit(2 if damaged else 0)


@baseline.command()
@click.argument("case")
@BASELINES_OPTION
def show(case: str, folder: Path) -> None:
    """Show the baseline of CASE: approval, layers, sizes and accuracies."""
    from prunebench.records import chosen_cases, list_baselines, read_baseline
    from prunebench.report import baseline_text, layer_table

    paths = list_baselines(folder)
    found = read_baseline(paths[chosen_cases([case], paths)[0]])
    click.echo(f"{baseline_text(found)}\n\n{layer_table(found.record)}")


@baseline.command()
@click.argument("run", type=FILE)
@ONLY
@click.option("--reason", required=True, help="Why this is the new baseline; kept with it.")
@click.option(
    "--incomparable", metavar="IDS", multiple=True, help="Cases that may replace a baseline they are INCOMPARABLE with."
)
@BASELINES_OPTION
def approve(run: Path, only: tuple[str, ...], reason: str, incomparable: tuple[str, ...], folder: Path) -> None:
    """Make records of RUN, a record or a folder of records, the baselines of their cases: all that are named, or none.

    Refuses a dirty tree, a failed run, a record under a floor, and one that is INCOMPARABLE with the baseline it would
    replace. Commit what it writes.
    """
    from prunebench.records import chosen_cases, collect

    found = collect(run)

    from prunebench.approval import approve as approve_records
    from prunebench.approval import chosen_records

    records = chosen_records(found, _ids(only))
    on_purpose = chosen_cases(_ids(incomparable), records)
    for made in approve_records(records, folder, reason=reason, incomparable=on_purpose):
        click.echo(_approved(made, found.paths[made.case]))


@baseline.command()
@ONLY
@click.option("--yes", is_flag=True, help="Remove them; without it they are only listed.")
@BASELINES_OPTION
def prune(only: tuple[str, ...], yes: bool, folder: Path) -> None:
    """Remove baselines that nothing can be compared with any more, or those named with --only.

    Nothing can be compared with a baseline whose workload or budget is gone, or whose documented run has changed its
    sparsities, model or epochs.
    """
    from prunebench.approval import remove, superseded
    from prunebench.records import chosen_cases, list_baselines

    paths = list_baselines(folder)
    reasons = dict.fromkeys(chosen_cases(_ids(only), paths), "named") if only else superseded(paths)
    for case, reason in reasons.items():
        click.echo(f"{case}: {reason}")
    if reasons and yes:
        remove([paths[case] for case in reasons], folder)
    click.echo(f"{len(reasons)} of {len(paths)} baselines {'removed' if yes else 'would be removed; do it with --yes'}")


def _reference(path: Path) -> Collected:
    """B; where there are no baselines yet, every case is NO_BASELINE and asking for them is no misuse."""
    from prunebench.records import Collected, collect, list_baselines

    return Collected(is_folder=True) if path == BASELINES and not list_baselines(path) else collect(path)


def _ids(given: Sequence[str]) -> list[str]:
    return [name.strip() for names in given for name in names.split(",") if name.strip()]


def _approved(made: Baseline, source: Path) -> str:
    replaced = f"replaces {made.approval.replaced[:12]}" if made.approval.replaced else "is its first"
    return f"approved {made.case}: {source} {replaced}, by {made.approval.by}"


def _show(verdicts: Sequence[Verdict]) -> None:
    """One line for each that did not pass, worst first, and a count; annotations where GitHub Actions reads them."""
    from prunebench.gate import Status, worst_first
    from prunebench.report.markdown import in_github_actions, workflow_commands

    ordered = worst_first(verdicts)
    for verdict in ordered:
        if verdict.status is not Status.PASS:
            click.echo(str(verdict))
    passed = sum(verdict.status is Status.PASS for verdict in ordered)
    click.echo(f"{passed} of {len(ordered)} comparisons passed")
    if in_github_actions():
        for line in workflow_commands(ordered):
            click.echo(line)


def _write(verdicts: Sequence[Verdict], *, json_file: Path | None, markdown_file: Path | None) -> None:
    from prunebench.comparison import as_json
    from prunebench.report.markdown import append_step_summary, markdown_summary

    text = markdown_summary(verdicts)
    append_step_summary(text)
    if json_file:
        write_text(json_file, as_json(verdicts))
    if markdown_file:
        write_text(markdown_file, text)
