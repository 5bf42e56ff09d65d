"""The frontier: size against accuracy, of plans, of records and of documented runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from prunebench.documented.runs import REPORT, DocumentedRun
from prunebench.errors import PlotError
from prunebench.records import RunRecord
from prunebench.report.plots.labels import Label, place_labels
from prunebench.report.plots.sources import checkpoint_sources
from prunebench.report.plots.style import (
    GREY,
    LEFT,
    RIGHT,
    SERIES,
    WIDTH,
    Caption,
    GivenAxes,
    Page,
    SeriesStyle,
    canvas,
    figure_of,
    new_page,
)

X_LABEL, Y_LABEL = "size, % of dense (nonzero elements over all parameters)", "accuracy, %"

CLOSE = 5.0
"""Points under the dense model that a panel of its own shows, where other accuracies lie far below."""

FAR = 10.0

LOG_RATIO = 4.0
"""Largest over smallest size from which on the axis is logarithmic."""


@dataclass(frozen=True, kw_only=True)
class FrontierPoint:
    """One plan or run: what is left of the model, and how accurate that is.

    Attributes:
        label: what stands beside it.
        series: what it is compared within: one model on one data set.
        size_percent: nominal size in percent of the dense model's.
        pruned: accuracy in percent before fine-tuning; None where not known.
        tuned: accuracy in percent after fine-tuning; None where not known.
        dense: accuracy in percent of the dense model; None where not known.
    """

    label: str
    series: str
    size_percent: float
    pruned: float | None = None
    tuned: float | None = None
    dense: float | None = None

    @property
    def accuracy(self) -> float | None:
        """The model's final accuracy in percent: after fine-tuning where there was any."""
        return self.pruned if self.tuned is None else self.tuned


def record_points(records: Iterable[RunRecord], *, suffix: str = "") -> list[FrontierPoint]:
    """A point a record; a series is a workload at a recipe from one dense checkpoint, its name ended by `suffix`."""
    records = list(records)
    dense = {(record.workload, record.recipe, record.checkpoints.dense) for record in records}
    started = Counter((workload, recipe) for workload, recipe, _ in dense)

    def series(record: RunRecord) -> str:
        several = started[record.workload, record.recipe] > 1
        which = f" from {record.checkpoints.dense[:8]}" if several else ""
        return f"{record.workload} {record.recipe}{which}{suffix}"

    return [
        FrontierPoint(
            label=_label(record),
            series=series(record),
            size_percent=record.size_percent,
            pruned=record.pruned_accuracy.percent,
            tuned=record.finetuning.best.percent if record.finetuning else None,
            dense=record.dense_accuracy.percent,
        )
        for record in records
    ]


def documented_points(runs: Iterable[DocumentedRun]) -> list[FrontierPoint]:
    """A point a run of which a size and an accuracy are documented."""
    return [
        FrontierPoint(
            label=run.name,
            series="as documented",
            size_percent=float(run.size_percent.value),
            pruned=float(run.accuracy_before.value) if run.accuracy_before else None,
            tuned=float(run.accuracy_best.value) if run.accuracy_best else None,
            dense=float(run.dense_accuracy.value) if run.dense_accuracy else None,
        )
        for run in runs
        if run.size_percent and (run.accuracy_before or run.accuracy_best)
    ]


def plot_frontier(
    points: Sequence[FrontierPoint | RunRecord | DocumentedRun],
    axes: GivenAxes = None,
    *,
    title: str = "Size against accuracy",
    sources: Sequence[str] | None = None,
) -> Figure:
    """Accuracy in percent over nominal size in percent of dense; empty markers before fine-tuning, filled after.

    Both of a run are joined by a line; a stepped line joins what no smaller model of its series beats. Where some
    accuracies lie far below the dense model, a panel on top shows those near it. Labels give way to each other.

    Args:
        axes: to draw into, one and no close-up, in the place of a page.
        sources: where the numbers come from; default: what the records say of it.

    Raises:
        PlotError: nothing to draw, a point without an accuracy, or more series than can be told apart; more than one
            of `axes`.
    """
    sources = frontier_sources(points) if sources is None else sources
    points = _points(points)
    groups = _groups(points)
    values = [value for point in points for value in _accuracies(point)]
    near = [value for point in points for value in _near(point)]
    split = axes is None and bool(near) and min(values) < max(values) - FAR
    caption = Caption(title=title, subtitle=f"{len(points)} runs; steps join what is unbeaten", sources=sources)

    def page() -> list[Axes]:
        return _axes(new_page(caption, body=6.2 if split else 4.2, legend=_legend(groups, points)), split=split)

    with canvas(axes, panels=1, page=page, x_label=X_LABEL, y_label=Y_LABEL) as axes_of:
        for panel, shown in zip(axes_of, (near, values) if split else (values,), strict=True):
            dense = [point.dense for point in points if point.dense is not None]
            _set_limits(panel, points, [*shown, *dense])
            for members, look in zip(groups.values(), SERIES, strict=False):
                _draw_series(panel, members, look)
        _label_panels(axes_of, points)
        return figure_of(axes_of)


def frontier_sources(points: Iterable[FrontierPoint | RunRecord | DocumentedRun]) -> list[str]:
    """A line a dense checkpoint of the records among `points`, and the document of what is documented."""
    points = list(points)
    documented = any(isinstance(point, DocumentedRun) for point in points)
    measured = checkpoint_sources(point for point in points if isinstance(point, RunRecord))
    return [*measured, *([f"as documented: {REPORT}"] if documented else [])]


def _points(points: Iterable[FrontierPoint | RunRecord | DocumentedRun]) -> list[FrontierPoint]:
    points = list(points)
    return [
        *(point for point in points if isinstance(point, FrontierPoint)),
        *record_points(point for point in points if isinstance(point, RunRecord)),
        *documented_points(point for point in points if isinstance(point, DocumentedRun)),
    ]


def _label_panels(axes_of: Sequence[Axes], points: Sequence[FrontierPoint]) -> None:
    """Name the points; where there is a close-up, in the panel that shows them best."""
    markers = [(point.size_percent, value) for point in points for value in _accuracies(point)]
    if len(axes_of) == 1:
        ends = [Label(point.size_percent, point.accuracy or 0.0, point.label) for point in points]
        place_labels(axes_of[0], ends, markers)
        return
    near = [Label(point.size_percent, value, point.label) for point in points for value in _near(point)[-1:]]
    far = [
        Label(point.size_percent, point.pruned, point.label)
        for point in points
        if point.pruned is not None and point.pruned not in _near(point)
    ]
    for panel, labels, title in zip(
        axes_of, (near, far), (f"close up: within {CLOSE:g} points of dense", "all"), strict=True
    ):
        place_labels(panel, labels, markers)
        panel.set_title(title, loc="left", pad=4)


_Groups = dict[str, list[FrontierPoint]]


def _groups(points: Sequence[FrontierPoint]) -> _Groups:
    groups: _Groups = {}
    for point in points:
        if point.accuracy is None:
            raise PlotError(f"'{point.label}' has no accuracy, before fine-tuning or after: give at least one")
        groups.setdefault(point.series, []).append(point)
    if not groups:
        raise PlotError("nothing to draw: no run has a size and an accuracy")
    if len(groups) > len(SERIES):
        raise PlotError(f"cannot tell {len(groups)} series apart in one plot: expected up to {len(SERIES)}")
    return groups


def _accuracies(point: FrontierPoint) -> list[float]:
    return [value for value in (point.pruned, point.tuned) if value is not None]


def _near(point: FrontierPoint) -> list[float]:
    """Those of a point's accuracies that are near the dense model's, the one before fine-tuning first."""
    return [value for value in _accuracies(point) if point.dense is not None and value >= point.dense - CLOSE]


def _axes(page: Page, *, split: bool) -> list[Axes]:
    bottom, top = page.bottom + page.height(0.42), page.top - page.height(0.25 if split else 0.08)
    grid = {"left": LEFT / WIDTH, "right": 1 - RIGHT / WIDTH, "bottom": bottom, "top": top}
    rows = 2 if split else 1
    axes = list(page.figure.subplots(rows, 1, squeeze=False, sharex=True, gridspec_kw=grid | {"hspace": 0.14}).flat)
    for each in axes:
        each.set_ylabel(Y_LABEL)
    page.figure.align_ylabels(axes)
    axes[-1].set_xlabel(X_LABEL)
    return axes


def _set_limits(axes: Axes, points: Sequence[FrontierPoint], accuracies: Sequence[float]) -> None:
    sizes = [point.size_percent for point in points]
    low, high = min(sizes), max(sizes)
    if low > 0 and high / low >= LOG_RATIO:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.2, high * 1.2)
        marks = [digit * 10.0**power for power in range(-3, 3) for digit in (1, 2, 3, 5, 7)]
        axes.xaxis.set_major_locator(FixedLocator(marks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        room = max(0.08 * (high - low), 2.0)
        axes.set_xlim(low - room, high + room)
    room = 0.1 * max(max(accuracies) - min(accuracies), 0.5)
    axes.set_ylim(min(accuracies) - room, max(accuracies) + room)


def _draw_series(axes: Axes, members: Sequence[FrontierPoint], look: SeriesStyle) -> None:
    for dense in sorted({point.dense for point in members if point.dense is not None}):
        axes.axhline(dense, color=look.color, linewidth=0.8, dashes=(5, 3), label="dense")
    for point in members:
        if point.pruned is not None and point.tuned is not None:
            axes.plot(
                [point.size_percent] * 2, [point.pruned, point.tuned], color=look.color, linewidth=0.8, linestyle=":"
            )
    best = _unbeaten(members)
    axes.plot(*_columns(best), color=look.color, linestyle=look.line, linewidth=0.9, alpha=0.6, drawstyle="steps-post")
    for name, face in (("pruned", "white"), ("tuned", look.color)):
        found = [(point.size_percent, value) for point in members if (value := getattr(point, name)) is not None]
        axes.plot(
            *_columns(found),
            linestyle="",
            marker=look.marker,
            markersize=5.5,
            zorder=3,
            color=look.color,
            markerfacecolor=face,
            label=f"{members[0].series} {name}",
        )


def _columns(rows: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in rows], [y for _, y in rows]


def _unbeaten(members: Sequence[FrontierPoint]) -> list[tuple[float, float]]:
    """Size and final accuracy of those that no model as small or smaller matches, smallest first."""
    best: list[tuple[float, float]] = []
    for size, accuracy in sorted((point.size_percent, -(point.accuracy or 0.0)) for point in members):
        if not best or -accuracy > best[-1][1]:
            best.append((size, -accuracy))
    return best


def _legend(groups: _Groups, points: Sequence[FrontierPoint]) -> list[tuple[Artist, str]]:
    entries: list[tuple[Artist, str]] = []
    for (series, members), look in zip(groups.items(), SERIES, strict=False):
        dense = sorted({point.dense for point in members if point.dense is not None})
        level = f", dense {' and '.join(f'{value:.2f}' for value in dense)} %" if dense else ""
        entries.append((Line2D([], [], color=look.color, linestyle=look.line, marker=look.marker), series + level))
    if any(point.pruned is not None for point in points):
        entries.append((Line2D([], [], color=GREY, linestyle="", marker="o", markerfacecolor="white"), "pruned"))
    if any(point.tuned is not None for point in points):
        entries.append((Line2D([], [], color=GREY, linestyle="", marker="o"), "fine-tuned, best epoch"))
    if any(point.dense is not None for point in points):
        entries.append((Line2D([], [], color=GREY, linewidth=0.8, dashes=(5, 3)), "dense"))
    return entries


def _label(record: RunRecord) -> str:
    """The label of a record: its run, and what departs from the defaults."""
    parts = (
        record.run,
        f"seed {record.seed}" if record.seed else "",
        record.precision if record.precision != "fp32" else "",
    )
    return " ".join(part for part in parts if part)
