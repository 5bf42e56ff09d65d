"""Sensitivity curves: accuracy against the sparsity of one layer, one panel a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from prunebench.errors import PlotError
from prunebench.report.plots.style import (
    GREY,
    INK,
    PALE,
    SERIES,
    TINY,
    Caption,
    GivenAxes,
    Grid,
    SeriesStyle,
    canvas,
    figure_of,
    new_page,
    panel_titles,
    panels,
)
from prunebench.sensitivity import Point, Scan, ScannedLayer


class _Shown(NamedTuple):
    """A scan, what it is called, and how it looks."""

    name: str
    scan: Scan
    style: SeriesStyle
    width: float


def plot_sensitivity(
    scans: Scan | Mapping[str, Scan],
    axes: GivenAxes = None,
    *,
    floor: float | None = None,
    lowest: float | None = None,
) -> Figure:
    """Accuracy in percent over absolute sparsity, one panel a scanned layer, with the base model's accuracy.

    A curve starts at the layer's own sparsity in the base model. Intervals are a band, or bars in a scan that only
    decided; there a filled marker keeps the accuracy that was asked for, a cross loses it, and an empty triangle
    was not decided, because a higher sparsity keeps it.

    Args:
        scans: one, or several by what they are called; at most as many as there are styles.
        axes: to draw into, one a layer, in the place of a page.
        floor: accuracy in percent to draw as a line; default: where scans ask for accuracy within some points of
            their base models, that, if it is one.
        lowest: the accuracy in percent where the y axis begins; default: as low as the curves go.

    Raises:
        PlotError: no scan has a point, there are too many scans, or two have no layer in common; other than one
            of `axes` a layer.
    """
    scans = {scans.model: scans} if isinstance(scans, Scan) else scans
    shown = [
        _Shown(name, scan, style, style.width if len(scans) > 1 else 1.3)
        for (name, scan), style in zip(scans.items(), SERIES, strict=False)
    ]
    layers = _layers(scans)
    floor = _floor(scans) if floor is None else floor
    grid = Grid(panels=len(layers), panel=1.35 if len(layers) <= 12 else 0.95 if len(layers) <= 24 else 0.62)
    labels = {"x_label": "sparsity of the layer, fraction of its elements that are zero", "y_label": "accuracy, %"}
    decisions = [entry.name for entry in shown if entry.scan.mode == "decision"]

    def page() -> Sequence[Axes]:
        made = new_page(_caption(scans, layers), body=grid.body, legend=_legend(shown, floor))
        return panels(made, grid, **labels)

    with canvas(axes, panels=len(layers), page=page, **labels) as axes_of:
        panel_titles(axes_of, {name: layer.numel for name, layer in layers.items()})
        for panel, name in zip(axes_of, layers, strict=True):
            _draw_lines(panel, shown, floor)
            for entry in shown:
                _draw_layer(panel, entry, name, number=decisions.index(entry.name) if entry.name in decisions else 0)
        for panel in axes_of if axes is not None else axes_of[:1]:  # a page's panels share their axes
            _set_limits(panel, shown, floor=floor, lowest=lowest)
        return figure_of(axes_of)


def _layers(scans: Mapping[str, Scan]) -> dict[str, ScannedLayer]:
    """Every layer that a scan has points of, in the model's order."""
    if not 0 < len(scans) <= len(SERIES):
        raise PlotError(f"cannot draw {len(scans)} scans in one plot: expected 1 to {len(SERIES)}")
    first, *others = scans.values()
    for name, scan in list(scans.items())[1:]:
        if not {layer.name for layer in scan.layers} & {layer.name for layer in first.layers}:
            raise PlotError(f"cannot draw '{name}' beside '{next(iter(scans))}': they have no layer in common")
    scanned = {point.layer for scan in scans.values() for point in scan.points}
    layers = {layer.name: layer for scan in (first, *others) for layer in scan.layers if layer.name in scanned}
    if not layers:
        raise PlotError(f"nothing to draw in '{', '.join(scans)}': no layer has been scanned yet")
    return layers


def _floor(scans: Mapping[str, Scan]) -> float | None:
    asked = {scan.base_accuracy - scan.within for scan in scans.values() if scan.within is not None}
    return asked.pop() if len(asked) == 1 else None


def _draw_lines(axes: Axes, shown: list[_Shown], floor: float | None) -> None:
    for entry in shown:
        axes.axhline(
            entry.scan.base_accuracy, color=entry.style.color, linewidth=0.7, dashes=(5, 3), label=f"{entry.name} base"
        )
    if floor is not None:
        axes.axhline(floor, color=INK, linewidth=0.9, linestyle=":", label="floor")


def _draw_layer(axes: Axes, entry: _Shown, layer: str, *, number: int) -> None:
    if not (points := entry.scan.curve(layer)):
        return
    base = entry.scan.base_accuracy
    own = entry.scan.layer(layer).sparsity
    start = (own, base, base, base)
    most = max((point.sparsity for point in points if point.keeps), default=None)
    points = [point for point in points if point.sparsity > own]  # below it nothing was pruned
    answered = [point for point in points if point.images]
    rows = sorted([start, *((point.sparsity, point.accuracy, point.low, point.high) for point in answered)])
    sparsity, accuracy, low, high = zip(*rows, strict=True)
    look, decides = entry.style, entry.scan.mode == "decision"
    axes.plot(
        sparsity,
        accuracy,
        color=look.color,
        linestyle=look.line,
        linewidth=0.7 if decides else entry.width,
        marker="" if decides else look.marker,
        markersize=3.0 + entry.width / 2,
        markevery=[index for index, row in enumerate(rows) if row is not start],
        label=entry.name,
    )
    axes.plot(*start[:2], marker="o", markersize=3.5, markerfacecolor="white", color=look.color, label="")
    if decides:
        axes.vlines(sparsity, low, high, color=look.color, linewidth=1.2, label=f"{entry.name} interval")
        _draw_decisions(axes, entry, points)
        text = "keeps none" if most is None else f"keeps to {most:g}"
        axes.text(0.04, 0.05 + 0.13 * number, text, transform=axes.transAxes, size=TINY, color=look.color)
    elif low != high:
        axes.fill_between(
            sparsity, low, high, color=look.color, alpha=0.22, linewidth=0, label=f"{entry.name} interval"
        )


def _draw_decisions(axes: Axes, entry: _Shown, points: list[Point]) -> None:
    look, asked = entry.style, entry.scan.base_accuracy - (entry.scan.within or 0.0)
    kept = [(point.sparsity, point.accuracy) for point in points if point.images and point.keeps]
    lost = [(point.sparsity, point.accuracy) for point in points if point.images and point.keeps is False]
    implied = [(p.sparsity, p.accuracy if p.images else asked) for p in points if p.keeps is None]
    for found, marker, face in ((kept, look.marker, look.color), (lost, "x", look.color), (implied, "^", "white")):
        x, y = zip(*found, strict=True) if found else ((), ())
        axes.plot(x, y, linestyle="", marker=marker, markersize=4.2, markerfacecolor=face, color=look.color, label="")


def _set_limits(axes: Axes, shown: list[_Shown], *, floor: float | None, lowest: float | None) -> None:
    """Set the limits of the shared axes: all that is drawn, with a little room around it."""
    points = [point for entry in shown for point in entry.scan.points if point.images]
    bases = [entry.scan.base_accuracy for entry in shown] + ([] if floor is None else [floor])
    top = max([*bases, *(point.high for point in points)])
    if lowest is not None and lowest >= min(bases):
        raise PlotError(f"--lowest must be below the lines that are drawn, {min(bases):.2f} %, got {lowest:g}")
    bottom = min([*bases, *(point.low for point in points)]) if lowest is None else lowest
    room = 0.06 * max(top - bottom, 1.0)
    axes.set_ylim(bottom - (room if lowest is None else 0), top + room)
    scanned = {point.layer for entry in shown for point in entry.scan.points}
    x = [point.sparsity for entry in shown for point in entry.scan.points]
    x += [layer.sparsity for entry in shown for layer in entry.scan.layers if layer.name in scanned]
    axes.set_xlim(min(x) - 0.04, max(x) + 0.04)


def _legend(shown: list[_Shown], floor: float | None) -> list[tuple[Artist, str]]:
    entries: list[tuple[Artist, str]] = [
        (
            Line2D([], [], color=look.color, linestyle=look.line, marker=look.marker),
            f"{name.lstrip('_')}, base {scan.base_accuracy:.2f} %",
        )
        for name, scan, look, _ in shown
    ]
    entries.append((Line2D([], [], color=GREY, linewidth=0.7, dashes=(5, 3)), "accuracy of the base model"))
    if floor is not None:
        entries.append((Line2D([], [], color=INK, linewidth=0.9, linestyle=":"), f"floor, {floor:.2f} %"))
    modes = {entry.scan.mode for entry in shown}
    confidence = ", ".join(
        sorted({f"{100 * entry.scan.confidence:g} %" for entry in shown if entry.scan.mode != "exact"})
    )
    if "adaptive" in modes:
        entries.append((Patch(color=PALE), f"interval at {confidence}"))
    if "decision" in modes:
        within = " and ".join(sorted({str(entry.scan.within) for entry in shown if entry.scan.mode == "decision"}))
        entries += [
            (Line2D([], [], color=GREY, linestyle="", marker="|", markersize=9), f"interval at {confidence}"),
            (Line2D([], [], color=GREY, linestyle="", marker="o"), f"stays within {within} points of base"),
            (Line2D([], [], color=GREY, linestyle="", marker="x"), "falls below that"),
            (
                Line2D([], [], color=GREY, linestyle="", marker="^", markerfacecolor="white"),
                "stays at a higher sparsity: not decided",
            ),
        ]
    return entries


def _caption(scans: Mapping[str, Scan], layers: Mapping[str, ScannedLayer]) -> Caption:
    first = next(iter(scans.values()))
    images = " and ".join(sorted({f"{scan.images:,}" for scan in scans.values()}))
    data = " and ".join(sorted({scan.data for scan in scans.values()}))
    criterion = " and ".join(sorted({scan.criterion for scan in scans.values()}))
    everything = {layer.name for scan in scans.values() for layer in scan.layers}
    few = "" if len(layers) == len(everything) else f"; {len(layers)} of {len(everything)} layers scanned"
    return Caption(
        title=f"Sensitivity of {first.model} on {data} to pruning one layer",
        subtitle=f"accuracy on {images} images, one layer pruned by {criterion}, the others left alone{few}",
        sources=[_source(name, scan) for name, scan in scans.items()],
    )


def _source(name: str, scan: Scan) -> str:
    zero = 100 * (1 - scan.nonzeros / scan.elements)
    return (
        f"{name}: weights {scan.model_digest[:12]}{f' ({scan.origin})' if scan.origin else ''}, {zero:.1f} % sparse; "
        f"data {scan.data_digest[:12]}; {scan.mode} scan in {scan.precision}, {len(scan.points)} points, "
        f"{scan.images_answered:,} answers"
    )
