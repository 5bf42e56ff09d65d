"""Action of `prunebench report`."""

from __future__ import annotations

from pathlib import Path

from prunebench.baselines.collected import collect_reference
from prunebench.baselines.versions import compare_versions, read_versions
from prunebench.cli.shell import say
from prunebench.errors import ReportError
from prunebench.gate import Thresholds
from prunebench.report.content import Sources, judged, make_report, report_versions
from prunebench.report.formats import find_format, format_for
from prunebench.storage.files import BASELINES, RUN_FOLDER, check_targets, write_text


def report(
    records: tuple[Path, ...],
    output: Path,
    against: Path | None,
    across: bool,
    form: str | None,
    title: str,
    times: bool,
) -> None:
    """Write a report on records, scans and plans."""
    chosen = find_format(form) if form else format_for(output)
    records = records or (RUN_FOLDER,)
    check_targets({"--output": output}, inputs=records)
    if across and against:
        raise ReportError("--across compares with the first of RECORDS: expected no --against")
    thresholds = Thresholds(times=times)
    if across:
        versions = read_versions(records)
        made = report_versions(versions, compare_versions(versions, thresholds=thresholds), title=title)
    else:
        sources, reference = Sources(), collect_reference(against or BASELINES)
        for path in records:
            sources.add(path)
        made = make_report(
            sources, judged(sources, reference, thresholds=thresholds), references=reference.records, title=title
        )
    write_text(output, chosen.render(made))
    say(f"{made.headline.status}: {made.headline.text}", f"Report: {output}")
