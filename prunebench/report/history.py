"""A history as text: one table, steps first, and a line on each. Nothing here prints."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from tabulate import tabulate

from prunebench.escaping import shown, terminal
from prunebench.gate import Status, Tier
from prunebench.history import FIGURES

if TYPE_CHECKING:
    from prunebench.history import Curve, Curves, Mark

COLUMNS = 80
HEADERS = ("figure", "n", "first", "last", "step", "at")
"""Columns after the case, which gets what room is left."""

_ORDER = (Status.FAIL, Status.IMPROVED, None)


def history_text(found: Curves) -> str:
    """A row a step and one for each curve without, the worst first; then what the gate says; 80 columns."""
    rows: list[tuple[Curve, Mark | None]] = []
    for curve in found.curves:
        rows += [(curve, step) for step in curve.steps] or [(curve, None)]
    rows.sort(key=lambda row: (_ORDER.index(row[1].status), -abs(row[1].change)) if row[1] else (len(_ORDER), 0.0))
    cells = [_cells(curve, step) for curve, step in rows]
    taken = [max(len(title) + 2, *(len(row[column]) for row in cells)) + 2 for column, title in enumerate(HEADERS)]
    table = tabulate(
        [[_shortened(curve.case, COLUMNS - sum(taken)), *row] for (curve, _), row in zip(rows, cells, strict=True)],
        headers=["case", *HEADERS],
        disable_numparse=True,
        colalign=("left", "left", "right", "right", "right", "right", "left"),
    )
    sentences = [_step(curve, step) for curve, step in rows if step is not None] + _other_series(found)
    lines = [line for sentence in sentences for line in wrapped(sentence)]
    steps = sum(len(curve.steps) for curve in found.curves)
    lines += wrapped(
        f"{steps} step{'' if steps == 1 else 's'} in {found.comparisons:,} comparisons, each with the first entry of "
        f"its segment. The chance of any false step is at most {found.alpha:g}: each is judged at {found.level:.2g} "
        "either way (Bonferroni)."
    )
    return "\n".join([table, "", *lines])


def _cells(curve: Curve, step: Mark | None) -> list[str]:
    values = [_value(curve.figure, value).partition(" ")[0] for value in (curve.values[0], curve.values[-1])]
    ends = [f"{step.change:+.2f}", terminal(curve.entries[step.index].commit)] if step else ["", ""]
    return [curve.figure, str(len(curve.values)), *values, *ends]


def _shortened(case: str, most: int) -> str:
    case = terminal(case)
    return case if len(case) <= most else f"{case[: most - 8]}…{case[-7:]}"


def _step(curve: Curve, step: Mark) -> str:
    before, now = curve.entries[step.reference], step.why
    if FIGURES[curve.figure].tier is Tier.EXACT:
        now = f"{_value(curve.figure, curve.values[step.index])} ({now})"
    was = f"{_value(curve.figure, curve.values[step.reference])} at {before.commit}"
    return f"{step.status} {curve.case} {curve.figure} {_where(curve, step)}: {was}, now {now}"


def _other_series(found: Curves) -> list[str]:
    """Figures of a case that end for one reason take a sentence together."""
    figures: dict[tuple[str, str, str], list[str]] = {}
    for curve in found.curves:
        for mark in curve.marks:
            if mark.status is Status.INCOMPARABLE:
                figures.setdefault((curve.case, _where(curve, mark), mark.why), []).append(curve.figure)
    return [f"another series: {case} {', '.join(names)} {at}: {why}" for (case, at, why), names in figures.items()]


def _where(curve: Curve, mark: Mark) -> str:
    at, before = (curve.entries[which] for which in (mark.index, mark.reference))
    upgrade = f"{before.torch} -> " if before.torch != at.torch else ""
    return f"at {at.commit} ({at.record.created[:10]}, torch {upgrade}{at.torch})"


def _value(figure: str, value: float) -> str:
    unit = FIGURES[figure].unit
    return f"{value:.2f} {unit}" if unit in {"%", "points"} else f"{value:.4g} {unit}"


def wrapped(text: str) -> list[str]:
    """A sentence in lines of 80 columns, those after the first indented."""
    text = terminal(shown(text, most=600))
    return textwrap.wrap(text, COLUMNS, subsequent_indent="  ")
