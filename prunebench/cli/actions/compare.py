"""Action of `prunebench compare`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from prunebench.baselines.collected import collect, collect_reference
from prunebench.baselines.comparison import as_json, compare_sides, exit_code
from prunebench.cli.options import names
from prunebench.cli.shell import paint, say
from prunebench.errors import StorageError
from prunebench.gate import Thresholds, Verdict, worst_first
from prunebench.report.content import Sources, make_report
from prunebench.report.formats.markdown import MARKDOWN
from prunebench.report.github import append_step_summary, in_github_actions, workflow_commands
from prunebench.report.verdicts import gate_lines
from prunebench.storage.files import check_targets, write_text


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
    """Judge records A of runs and scans against B, by default the baselines."""
    check_targets({"--json": json_file, "--markdown": markdown_file}, inputs=(a, b))
    limits = {"alpha": alpha, "margin": margin, "seed_spread": seed_spread}
    given = {name: value for name, value in limits.items() if value is not None}
    new, reference = collect(a), collect_reference(b)
    if len(revisions := {record.revision for record in new.records.values()}) > 1:
        say(
            f"note: the records of '{a}', the newest of each case, are of {len(revisions)} revisions: what no longer "
            "runs is judged by what it did last",
            err=True,
        )
    verdicts = compare_sides(new, reference, thresholds=Thresholds(**given, times=times), only=names(only))
    _show(verdicts, new.paths)
    if json_file:
        write_text(json_file, as_json(verdicts))
    _summarise(MARKDOWN.render(make_report(Sources.of(new), verdicts, references=reference.records)), markdown_file)
    sys.exit(exit_code(verdicts))


def _show(verdicts: Sequence[Verdict], records: Mapping[str, Path]) -> None:
    """Print the findings, worst first, and what may have gone unseen; annotations in GitHub Actions."""
    ordered = worst_first(verdicts)
    for line in gate_lines(ordered, records=records, paint=paint):
        click.echo(line)
    if in_github_actions():
        for line in workflow_commands(ordered):
            click.echo(line)


def _summarise(text: str, markdown_file: Path | None) -> None:
    if markdown_file:
        write_text(markdown_file, text)
    try:
        append_step_summary(text)
    except StorageError as error:  # a summary that nobody can read is no reason to lose the verdict
        say(f"warning: {error}", err=True)
