"""A study's methods by compression, theoretical speed-up and total: accuracy, rank and time, with bands over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from prunebench.errors import PlotError
from prunebench.gate.studies import Result, half_width, rank_methods
from prunebench.report.plots.sources import dense_sources
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

RANKS = (
    "Rank: 1 is the best. Within a seed a method is above another only where the exact McNemar test tells their models "
    "apart (Holm over all pairs); where it does not, they share the rank. Seconds: of pruning and training."
)


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """A figure by seed, `values`, over another, `at`; `dense` has the dense model's accuracy."""

    title: str
    at: Callable[[Result], float]
    values: Callable[[Result], Sequence[float]]
    ratio: bool = True
    dense: bool = False


@dataclass(frozen=True, kw_only=True)
class _Panels(Grid):
    each: int

    @property
    def columns(self) -> int:
        return 2 if self.each == 4 else self.each

    @property
    def between(self) -> float:
        return 0.16


def plot_study(
    results: Sequence[Result], axes: GivenAxes = None, *, alpha: float = 0.05, title: str = "", lines: bool = True
) -> Figure:
    """Four panels a workload: accuracy over compression and over theoretical speed-up, rank over totals, and seconds.

    A line is a method by one recipe, a band its interval over seeds. Ranks are those of
    `prunebench.gate.studies.rank_methods`; without any there are three panels.

    Args:
        axes: to draw into in the place of a page: as many as there are panels.
        alpha: bands are at level 1 - `alpha`.
        lines: draw them, and ranks; else marks alone, as of a search, whose runs differ in more.

    Raises:
        PlotError: nothing to draw, or more methods than can be told apart; other than so many `axes`.
    """
    workloads = list(dict.fromkeys(result.planned.workload for result in results))
    several = len({result.planned.recipe for result in results}) > 1
    series: dict[str, list[Result]] = {}
    for result in results:
        series.setdefault(result.label + (f", {result.planned.recipe}" if several else ""), []).append(result)
    if not 0 < len(series) <= len(MORE_SERIES):
        raise PlotError(f"cannot draw {len(series)} methods in one axis: expected 1 to {len(MORE_SERIES)}")
    looks = dict(zip(series, MORE_SERIES, strict=False))
    ranks = {each.result.planned.id: each.ranks for each in rank_methods(results, alpha=alpha)} if lines else {}
    shown = _panels(ranks)
    grid = _Panels(panels=len(shown) * len(workloads), each=len(shown), panel=2.2, own_x=True, own_y=True)

    def page() -> Sequence[Axes]:
        sources = [*_sources(results), *([RANKS] if len(shown) == 4 else [])]
        caption = Caption(title=title or "Pruned models", subtitle=_about(results, alpha), sources=sources)
        return panels(new_page(caption, body=grid.body, legend=_legend(looks)), grid, x_label="", y_label="")

    with canvas(axes, panels=grid.panels, page=page, x_label="", y_label="") as axes_of:
        for number, each in enumerate(axes_of):
            workload, panel = workloads[number // len(shown)], shown[number % len(shown)]
            here = {name: [one for one in all_ if one.planned.workload == workload] for name, all_ in series.items()}
            each.set_title(f"{workload}: {panel.title}" if len(workloads) > 1 else panel.title)
            _draw(each, panel, here, looks, alpha, lines)
        return figure_of(axes_of)


def _panels(ranks: Mapping[str, Sequence[float]]) -> list[_Panel]:
    compression, speed_up = attrgetter("compression"), attrgetter("speed_up")
    accuracies = attrgetter("accuracies")
    return [
        _Panel(title="accuracy, %, by compression", at=compression, values=accuracies, dense=True),
        _Panel(title="accuracy, %, by theoretical speed-up", at=speed_up, values=accuracies, dense=True),
        *([_Panel(
            title="mean rank by total",
            at=lambda result: result.planned.parts["total"] or 0.0,
            values=lambda result: ranks.get(result.planned.id, ()),
            ratio=False,
        )] if ranks else []),
        _Panel(title="seconds of a run, by compression", at=compression, values=attrgetter("seconds")),
    ]  # fmt: skip


def _draw(
    axes: Axes,
    panel: _Panel,
    series: Mapping[str, Sequence[Result]],
    looks: Mapping[str, SeriesStyle],
    alpha: float,
    lines: bool,
) -> None:
    for name, results in series.items():
        look = looks[name]
        points = sorted((panel.at(each), values) for each in results if (values := panel.values(each)))
        at, means = [point for point, _ in points], [fmean(values) for _, values in points]
        widths = [half_width(values, alpha) or 0.0 for _, values in points]
        line = look.line if lines else "none"
        axes.plot(at, means, color=look.color, linestyle=line, marker=look.marker, linewidth=look.width, label=name)
        low, high = ([mean + side * width for mean, width in zip(means, widths, strict=True)] for side in (-1, 1))
        if lines:
            axes.fill_between(at, low, high, color=look.color, alpha=0.15, linewidth=0)
        for dense in {result.dense_accuracy for result in results} if panel.dense else ():
            axes.axhline(dense, color=GREY, linewidth=0.8, dashes=(5, 3))
    if not panel.ratio:
        axes.set_ylim(len(looks) + 0.3, 0.7)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        return
    if not panel.dense:
        axes.set_ylim(bottom=0)
    axes.set_xscale("log")
    marks = [1, 1.2, 1.5, 2, 3, 5, 7, *(digit * 10.0**power for power in range(1, 5) for digit in (1, 2, 3, 5))]
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}x"))


def _sources(results: Sequence[Result]) -> list[str]:
    return dense_sources(
        (row.origin, row.dense, row.data_name, row.data, row.test_answers, settings.select_on if row.epochs else None)
        for result in results
        for settings in [result.planned.settings]
        for row in result.rows.values()
    )


def _about(results: Sequence[Result], alpha: float) -> str:
    seeds = sorted({len(result.rows) for result in results})
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
