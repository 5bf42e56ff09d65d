"""Accuracy of a study's methods against compression and against theoretical speed-up, with bands over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from prunebench.errors import PlotError
from prunebench.gate.studies import Result
from prunebench.report.plots.sources import checkpoint_sources
from prunebench.report.plots.style import (
    GREY,
    MORE_SERIES,
    Caption,
    GivenAxes,
    Grid,
    SeriesStyle,
    canvas,
    figure_of,
    new_page,
    panels,
)

TOTALS = 5
"""Totals of each method that a curve should have at least: Blalock et al., 2020."""

AXES = (("compression", "compression ratio"), ("speed_up", "theoretical speed-up"))


@dataclass(frozen=True, kw_only=True)
class _Pairs(Grid):
    @property
    def columns(self) -> int:
        return len(AXES)


def plot_study(results: Sequence[Result], axes: GivenAxes = None, *, alpha: float = 0.05, title: str = "") -> Figure:
    """Two panels a workload: mean accuracy over compression, and over dense MACs by those that are left.

    A line is a method by one recipe, a band its interval over seeds.

    Args:
        axes: to draw into in the place of a page: two a workload.
        alpha: bands are at level 1 - `alpha`.

    Raises:
        PlotError: nothing to draw, or more methods than can be told apart; other than two of `axes` a workload.
    """
    workloads = list(dict.fromkeys(result.planned.workload for result in results))
    several = len({result.planned.recipe for result in results}) > 1
    series: dict[str, list[Result]] = {}
    for result in results:
        series.setdefault(result.label + (f", {result.planned.recipe}" if several else ""), []).append(result)
    if not 0 < len(series) <= len(MORE_SERIES):
        raise PlotError(f"cannot draw {len(series)} methods in one axis: expected 1 to {len(MORE_SERIES)}")
    looks = dict(zip(series, MORE_SERIES, strict=False))
    grid = _Pairs(panels=len(AXES) * len(workloads), panel=2.9, own_x=True, own_y=False)

    def page() -> Sequence[Axes]:
        sources = checkpoint_sources(record for result in results for record in result.records.values())
        caption = Caption(title=title or "Accuracy of pruned models", subtitle=_about(results, alpha), sources=sources)
        return panels(new_page(caption, body=grid.body, legend=_legend(looks)), grid, x_label="", y_label="accuracy, %")

    with canvas(axes, panels=grid.panels, page=page, x_label="", y_label="accuracy, %") as axes_of:
        for number, each in enumerate(axes_of):
            workload, (figure, label) = workloads[number // len(AXES)], AXES[number % len(AXES)]
            here = {name: [one for one in all_ if one.planned.workload == workload] for name, all_ in series.items()}
            each.set(title=f"{workload}: {label}")
            _draw(each, here, looks, figure, alpha)
        return figure_of(axes_of)


def _draw(
    axes: Axes, series: dict[str, list[Result]], looks: dict[str, SeriesStyle], figure: str, alpha: float
) -> None:
    for name, unordered in series.items():
        look, members = looks[name], sorted(unordered, key=lambda result: getattr(result, figure))
        at = [getattr(result, figure) for result in members]
        means = [result.accuracy for result in members]
        widths = [result.half_width(alpha) or 0.0 for result in members]
        axes.plot(
            at, means, color=look.color, linestyle=look.line, marker=look.marker, linewidth=look.width, label=name
        )
        low, high = ([mean + side * width for mean, width in zip(means, widths, strict=True)] for side in (-1, 1))
        axes.fill_between(at, low, high, color=look.color, alpha=0.15, linewidth=0)
        for dense in {result.dense_accuracy for result in members}:
            axes.axhline(dense, color=GREY, linewidth=0.8, dashes=(5, 3))
    axes.set_xscale("log")
    marks = [digit * 10.0**power for power in range(5) for digit in (1, 1.2, 1.5, 2, 3, 5, 7)]
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}x"))


def _about(results: Sequence[Result], alpha: float) -> str:
    seeds = sorted({len(result.records) for result in results})
    said = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
    text = f"means over {said} seeds, bands at {100 * (1 - alpha):g} %"
    if len({result.trained_images for result in results}) > 1:
        text += "; fine-tuning is unequal"
    points = len(results) / len({(result.label, result.planned.recipe, result.planned.workload) for result in results})
    return text + (f"; fewer than {TOTALS} totals a method" if points < TOTALS else "")


def _legend(looks: dict[str, SeriesStyle]) -> list[tuple[Artist, str]]:
    lines: list[tuple[Artist, str]] = [
        (Line2D([], [], color=look.color, linestyle=look.line, marker=look.marker), name)
        for name, look in looks.items()
    ]
    return [*lines, (Line2D([], [], color=GREY, linewidth=0.8, dashes=(5, 3)), "dense")]
