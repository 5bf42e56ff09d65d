"""The report of a pytest session: made of what its tests handed to the gate, written where the options say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from prunebench.baselines.shelf import baseline_path, read_baseline
from prunebench.errors import RecordError
from prunebench.gate import Verdict
from prunebench.pytest_options import Settings
from prunebench.records import Record
from prunebench.report.content import Report, Sources, make_report
from prunebench.report.formats import Format, find_format, format_for
from prunebench.report.formats.markdown import MARKDOWN
from prunebench.report.github import append_step_summary
from prunebench.storage.files import write_text

Target = tuple[Format, Path]


def targets(settings: Settings) -> list[Target]:
    """Where reports are to be written.

    Raises:
        PrunebenchError: a format that nobody knows.
    """
    return [_target(text, settings.folder) for text in settings.reports]


def write_reports(
    records: Mapping[str, Path], verdicts: Iterable[Verdict], *, settings: Settings, notes: Sequence[str]
) -> None:
    """Append the step summary and write the files; `records` is the file of each record, by case.

    Raises:
        StorageError: a file that cannot be written.
        RecordError: a record that can no longer be read.
    """
    report = _report(records, verdicts, baselines=settings.baselines, notes=notes)
    for form, path in targets(settings):
        write_text(path, form.render(report))
    append_step_summary(MARKDOWN.render(report))


def _report(
    records: Mapping[str, Path], verdicts: Iterable[Verdict], *, baselines: Path, notes: Sequence[str]
) -> Report:
    sources = Sources(notes=[*notes])
    references: dict[str, Record] = {}
    for case, path in records.items():
        sources.add(path)
        try:
            references[case] = read_baseline(baseline_path(case, baselines)).record
        except RecordError:  # none, or one that the verdicts have named
            continue
    return make_report(sources, verdicts, references=references)


def _target(text: str, folder: Path) -> Target:
    name, equals, file = text.partition("=")
    path = folder / (file if equals else text)
    return (find_format(name) if equals else format_for(path)), path
