"""Curves over commits: how sizes and accuracies went, steps marked, versions of torch shaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from prunebench.errors import PlotError
from prunebench.escaping import terminal
from prunebench.gate import Status
from prunebench.history import FIGURES, Curve, Curves
from prunebench.report.plots.style import (
    BLUE,
    GREEN,
    GREY,
    TINY,
    VERMILLION,
    Caption,
    GivenAxes,
    Grid,
    canvas,
    figure_of,
    new_page,
    panels,
)

MOST_PANELS, MOST_TICKS = 30, 6
MARKS: Mapping[Status, tuple[str, Literal["-", "--", ":"], str]] = {
    Status.FAIL: (VERMILLION, "-", "worse, or another size"),
    Status.IMPROVED: (GREEN, "--", "better"),
    Status.INCOMPARABLE: (GREY, ":", "another series begins"),
}
SHADE = "#EFEFEF"


def plot_history(found: Curves, axes: GivenAxes = None, *, title: str = "Sizes and accuracies over commits") -> Figure:
    """A panel a case and figure: values in the order they were recorded, each commit below.

    Upright lines are steps and beginnings of other series. Every other version of torch is shaded, and named.

    Args:
        axes: to draw into in the place of a page: one a curve.

    Raises:
        PlotError: nothing to draw, or more panels than a page holds; other than one of `axes` a curve.
    """
    if not 0 < len(found.curves) <= MOST_PANELS:
        raise PlotError(
            f"cannot draw {len(found.curves)} panels: expected 1 to {MOST_PANELS}; choose cases and figures"
        )
    grid = Grid(panels=len(found.curves), panel=1.35, heading=0.34, own_x=True, own_y=True)
    subtitle = (
        f"steps by the gate; chance of any false one at most {found.alpha:g} over {found.comparisons:,} comparisons"
    )

    def page() -> Sequence[Axes]:
        made = new_page(Caption(title=title, subtitle=subtitle), body=grid.body, legend=_legend(found))
        return panels(made, grid, x_label="commit", y_label="")

    with canvas(axes, panels=len(found.curves), page=page, x_label="commit", y_label="") as axes_of:
        for each, curve in zip(axes_of, found.curves, strict=True):
            _draw(each, curve)
        return figure_of(axes_of)


def _draw(axes: Axes, curve: Curve) -> None:
    axes.set_title(f"{_short(curve.case)}\n{curve.figure}, {FIGURES[curve.figure].unit}", loc="left", pad=4, size=TINY)
    axes.grid(visible=False, axis="x")
    starts = [0, *(mark.index for mark in curve.marks), len(curve.values)]
    for start, end in pairwise(starts):
        axes.plot(range(start, end), curve.values[start:end], color=BLUE, marker="o", markersize=2.5)
    for mark in curve.marks:
        color, line, _ = MARKS[mark.status]
        axes.axvline(mark.index - 0.5, color=color, linestyle=line, linewidth=1.2)
    _shade_versions(axes, curve)
    count = len(curve.values)
    ticks = range(0, count, max(1, -(-count // MOST_TICKS)))
    axes.set_xticks(ticks, [terminal(curve.entries[index].commit)[:5] for index in ticks])
    axes.set_xlim(-0.5, count - 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.margins(y=0.15)


def _shade_versions(axes: Axes, curve: Curve) -> None:
    at = 0
    for number, (version, entries) in enumerate(groupby(curve.entries, key=lambda entry: entry.torch)):
        end = at + len(list(entries))
        if number % 2:
            axes.axvspan(at - 0.5, end - 0.5, color=SHADE, linewidth=0, zorder=0)
        axes.text(
            at - 0.4,
            1.0,
            _short(version, most=12),
            size=TINY,
            color=GREY,
            va="top",
            transform=axes.get_xaxis_transform(),
        )
        at = end


def _short(name: str, *, most: int = 40) -> str:
    text = terminal(name)
    return text if len(text) <= most else f"{text[: most - 12]}…{text[-11:]}"


def _legend(found: Curves) -> list[tuple[Artist, str]]:
    seen = {mark.status for curve in found.curves for mark in curve.marks}
    entries: list[tuple[Artist, str]] = [
        (Line2D([], [], color=color, linestyle=line), text)
        for status, (color, line, text) in MARKS.items()
        if status in seen
    ]
    return [*entries, (Patch(color=SHADE), "every other version of torch")]
