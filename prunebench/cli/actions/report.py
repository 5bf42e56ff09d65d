"""Action of `prunebench report`."""

from __future__ import annotations

from pathlib import Path

from prunebench.baselines.collected import collect_reference
from prunebench.cli.shell import say
from prunebench.gate import Thresholds
from prunebench.report.content import Sources, judged, make_report
from prunebench.report.formats import find_format, format_for
from prunebench.storage.files import RUN_FOLDER, check_targets, write_text


def report(records: tuple[Path, ...], output: Path, against: Path, form: str | None, title: str, times: bool) -> None:
    """Write a report on records, scans and plans."""
    chosen = find_format(form) if form else format_for(output)
    records = records or (RUN_FOLDER,)
    check_targets({"--output": output}, inputs=records)
    sources = Sources()
    for path in records:
        sources.add(path)
    reference = collect_reference(against)
    verdicts = judged(sources, reference, thresholds=Thresholds(times=times))
    made = make_report(sources, verdicts, references=reference.records, title=title)
    write_text(output, chosen.render(made))
    say(f"{made.headline.status}: {made.headline.text}", f"Report: {output}")
