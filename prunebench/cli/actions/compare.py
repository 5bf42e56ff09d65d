"""Action of `prunebench compare`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import click

from prunebench.baselines.collected import Collected, collect, collect_reference
from prunebench.baselines.comparison import as_json, compare_sides, exit_code
from prunebench.baselines.versions import compare_versions, read_versions
from prunebench.cli.options import names
from prunebench.cli.shell import paint, say, show
from prunebench.errors import RecordError, StorageError
from prunebench.gate import Thresholds, Verdict, worst_first
from prunebench.report.content import Sources, make_report, report_versions
from prunebench.report.formats.markdown import MARKDOWN
from prunebench.report.github import append_step_summary, in_github_actions, workflow_commands
from prunebench.report.verdicts import gate_lines, wrapped
from prunebench.report.versions import versions_lines, versions_table
from prunebench.storage.files import BASELINES, check_targets, write_text


def compare(
    paths: tuple[Path, ...],
    across: bool,
    only: tuple[str, ...],
    alpha: float | None,
    margin: float | None,
    seed_spread: float | None,
    times: bool,
    json_file: Path | None,
    markdown_file: Path | None,
) -> None:
    """Judge records A of runs and scans against B, by default the baselines; or several versions against the first."""
    check_targets({"--json": json_file, "--markdown": markdown_file}, inputs=paths)
    limits = {"alpha": alpha, "margin": margin, "seed_spread": seed_spread}
    given = {name: value for name, value in limits.items() if value is not None}
    thresholds = Thresholds(**given, times=times)
    if across:
        _compare_versions(read_versions(paths), thresholds, names(only), json_file, markdown_file)
    if len(paths) > 2:
        raise RecordError(f"compare takes A and B, got {len(paths)} paths: to compare them all, add --across")
    a, b = (*paths, BASELINES)[:2]
    new, reference = collect(a), collect_reference(b)
    if len(revisions := {record.revision for record in new.records.values()}) > 1:
        say(
            f"note: the records of '{a}', the newest of each case, are of {len(revisions)} revisions: what no longer "
            "runs is judged by what it did last",
            err=True,
        )
    verdicts = compare_sides(new, reference, thresholds=thresholds, only=names(only))
    _show(verdicts, new.paths)
    if json_file:
        write_text(json_file, as_json(verdicts))
    _summarise(MARKDOWN.render(make_report(Sources.of(new), verdicts, references=reference.records)), markdown_file)
    sys.exit(exit_code(verdicts))


def _compare_versions(
    versions: Mapping[str, Collected],
    thresholds: Thresholds,
    only: Sequence[str],
    json_file: Path | None,
    markdown_file: Path | None,
) -> NoReturn:
    found = compare_versions(versions, thresholds=thresholds, only=only)
    show(versions_table(found))
    click.echo("")
    for sentence in versions_lines(found):
        say(*wrapped(sentence))
    click.echo("")
    _show(found.verdicts, None)
    if json_file:
        write_text(json_file, as_json(found.verdicts, across=found.content))
    _summarise(MARKDOWN.render(report_versions(versions, found)), markdown_file)
    sys.exit(exit_code(found.verdicts))


def _show(verdicts: Sequence[Verdict], records: Mapping[str, Path] | None) -> None:
    """Print the findings, worst first, and what may have gone unseen; annotations in GitHub Actions.

    Without `records` nothing is there to approve, and no advice.
    """
    ordered = worst_first(verdicts)
    for line in gate_lines(ordered, records=records, advise=records is not None, paint=paint):
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
