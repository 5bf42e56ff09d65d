"""Several versions side by side: the table, for every format, and the sentences around it. Nothing here prints."""

from __future__ import annotations

from collections.abc import Iterable

from prunebench.baselines.versions import AcrossVersions, Row
from prunebench.gate import Status
from prunebench.report.table import Cell, Table

_SAID = {Status.FAIL, Status.IMPROVED, Status.INCONCLUSIVE, Status.INCOMPARABLE, Status.NO_BASELINE}
"""Statuses that a cell names."""


def versions_table(found: AcrossVersions) -> Table:
    """A row a thing, a column a version. Where all cases are of one folder, its name is left out."""
    folders = {row.case.partition("/")[0] for row in found.rows}
    shown = [row.case.partition("/")[2] if len(folders) == 1 else row.case for row in found.rows]
    rows = [[f"{case} {row.thing}", *_cells(row)] for case, row in zip(shown, found.rows, strict=True)]
    return Table(rows=rows, headers=["", *found.versions])


def _cells(row: Row) -> Iterable[Cell]:
    for cell, status in zip(row.cells, row.statuses, strict=True):
        yield Cell(f"{cell} {status}", status=status) if status in _SAID else Cell(cell)


def versions_lines(found: AcrossVersions) -> list[str]:
    """Sentences on the table: what its marks mean, how much is the same, and what differs in most cases."""
    first, same = found.versions[0], [row for row in found.rows if row.is_same]
    lines = [
        f"The baseline is {first}, the first; = is the same to the last bit, (-2 +1) two answers lost and one gained.",
        f"{len(same)} of {len(found.rows)} rows are the same in every version.",
    ]
    differing: dict[str, int] = {}
    for row in found.rows:
        differing[row.thing] = differing.get(row.thing, 0) + (not row.is_same)
    if named := [f"{thing} ({count})" for thing, count in differing.items() if count]:
        lines.append(f"Differing, by how many cases: {'; '.join(named)}.")
    return lines
