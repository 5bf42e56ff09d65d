"""The figures of a session at a glance: one line a record or scan, worst first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prunebench.documented.runs import documented_run, is_documented_run
from prunebench.records import Record, RunRecord
from prunebench.report.table import Table
from prunebench.report.tables import UNDOCUMENTED, heading, machine_line
from prunebench.report.verdicts import COLOURS

HEADERS = ("size %", "dense", "pruned", "best", "last", "change", "doc. change")
"""Of `figures`. Accuracy in percent, changes in points, the last one as documented."""
CHANGE = HEADERS.index("change")


def about(record: Record) -> list[str]:
    """Lines on what a record or scan was measured on, and how: equal for those that were measured alike."""
    if not isinstance(record, RunRecord):
        return [machine_line(record.environment)]
    documented = is_documented_run(record.run, record.run_digest)
    return heading("runs", record, [documented_run(record.run)] if documented else []).split("\n")


def figures(record: Record) -> list[float | None]:
    """Figures of a record, one for each of `HEADERS`; of a scan those of the unpruned model and of its lowest point."""
    if not isinstance(record, RunRecord):
        lowest = min((point.accuracy for point in record.points), default=record.base_accuracy)
        return [None, record.base_accuracy, lowest, None, None, lowest - record.base_accuracy, None]
    tuned, documented = record.finetuning, None
    if is_documented_run(record.run, record.run_digest):
        documented = documented_run(record.run).change_after_finetuning
    dense, pruned = record.dense_accuracy.percent, record.pruned_accuracy.percent
    best, last = (tuned.best.percent, tuned.last.percent) if tuned else (None, None)
    change = (pruned if best is None else best) - dense
    size = record.size_percent if record.dense_size_bits else None
    return [size, dense, pruned, best, last, change, None if documented is None else float(documented)]


def figures_table(rows: Iterable[tuple[str, str, Sequence[float | None]]]) -> Table:
    """One line a case, by its status and then its change, worst first; `rows` hold case, status and `figures`."""
    severity = [str(status) for status in COLOURS]
    ordered = sorted(rows, key=lambda row: (severity.index(row[1]), row[2][CHANGE] or 0.0))
    shown = len(HEADERS) if any(row[2][-1] is not None for row in ordered) else len(HEADERS) - 1
    cells = [[case, status, *map(_figure, range(shown), found)] for case, status, found in ordered]
    return Table(rows=cells, headers=["case", "status", *HEADERS[:shown]])


def _figure(place: int, value: float | None) -> str:
    sign = "+" if place >= CHANGE else ""
    return UNDOCUMENTED if value is None else f"{value:{sign}.2f}"
