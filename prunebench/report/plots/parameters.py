"""Parameter counts: how many elements each layer holds, and how many of them are left."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from prunebench.errors import PlotError
from prunebench.records import RunRecord
from prunebench.report.plots.sources import record_source
from prunebench.report.plots.style import (
    BLUE,
    RIGHT,
    TINY,
    VERMILLION,
    WIDTH,
    Caption,
    GivenAxes,
    canvas,
    figure_of,
    new_page,
    short_count,
    short_names,
)
from prunebench.sensitivity import Scan

MANY = 24
"""Layers from which on bars are thin."""

_ZEROS: Any = {"facecolor": "white", "edgecolor": VERMILLION, "hatch": "////", "linewidth": 0.6}
"""Pale and hatched: told from what is kept also in print."""


@dataclass(frozen=True, kw_only=True)
class LayerCount:
    """Elements of one weight, and how many are not zero."""

    name: str
    elements: int
    nonzeros: int


class _Counted(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def nonzeros(self) -> int: ...


def layer_counts(layers: Iterable[_Counted]) -> list[LayerCount]:
    """The counts of the layers of a `Scan` or of a `RunRecord`."""
    return [LayerCount(name=layer.name, elements=math.prod(layer.shape), nonzeros=layer.nonzeros) for layer in layers]


def plot_parameters(
    counted: RunRecord | Scan | Sequence[LayerCount], axes: GivenAxes = None, *, title: str = "", source: str = ""
) -> Figure:
    """Bars of elements by layer, the first layer on top: what is kept, and what is zero behind it, with the numbers.

    Args:
        counted: the pruned model of a record, the base model of a scan, or the layers themselves.
        axes: to draw into, one, in the place of a page.
        title, source: default: what a record or scan says of itself.

    Raises:
        PlotError: no layers; more than one of `axes`.
    """
    layers = layer_counts(counted.layers) if isinstance(counted, RunRecord | Scan) else counted
    if not layers:
        raise PlotError("nothing to draw: the model has no prunable layer")
    about, default = _about(counted)
    caption = Caption(
        title=title or about, subtitle=_subtitle(layers), sources=[text for text in (source or default,) if text]
    )

    def page() -> list[Axes]:
        inches = (0.15 if len(layers) > MANY else 0.26) * len(layers)
        legend = [(Patch(facecolor=BLUE), "kept"), (Patch(**_ZEROS), "zero")] if _is_pruned(layers) else []
        made = new_page(caption, body=0.6 + inches, legend=legend)
        bottom, left = made.bottom + made.height(0.42), 1.25 / WIDTH
        made_axes = made.figure.add_axes((left, bottom, 1 - left - RIGHT / WIDTH, made.height(inches + 0.1)))
        made_axes.set_xlabel("elements")
        return [made_axes]

    with canvas(axes, panels=1, page=page, x_label="elements", y_label="") as axes_of:
        _draw(axes_of[0], layers)
        return figure_of(axes_of)


def _about(counted: RunRecord | Scan | Sequence[LayerCount]) -> tuple[str, str]:
    """A title, and where the numbers come from."""
    title = "Elements of each layer"
    if isinstance(counted, RunRecord):
        return f"{title} of {counted.model}, {counted.run}", record_source(counted)
    if isinstance(counted, Scan):
        origin = f" ({counted.origin})" if counted.origin else ""
        return f"{title} of {counted.model}", f"weights {counted.model_digest[:12]}{origin}"
    return title, ""


def _is_pruned(layers: Sequence[LayerCount]) -> bool:
    return any(layer.nonzeros < layer.elements for layer in layers)


def _subtitle(layers: Sequence[LayerCount]) -> str:
    total, kept = sum(layer.elements for layer in layers), sum(layer.nonzeros for layer in layers)
    share = f", {kept:,} of them kept ({100 * kept / total:.2f} %)" if _is_pruned(layers) else ""
    return f"{len(layers)} prunable weights of {total:,} elements{share}"


def _draw(axes: Axes, layers: Sequence[LayerCount]) -> None:
    many = len(layers) > MANY
    rows = range(len(layers))
    axes.barh(rows, [layer.nonzeros for layer in layers], height=0.72, color=BLUE, label="kept")
    zeros = {row: layer for row, layer in enumerate(layers) if layer.nonzeros < layer.elements}
    if zeros:
        axes.barh(
            list(zeros),
            [layer.elements - layer.nonzeros for layer in zeros.values()],
            height=0.72,
            left=[layer.nonzeros for layer in zeros.values()],
            label="zero",
            **_ZEROS,
        )
    for row, layer in enumerate(layers):
        axes.annotate(
            _number(layer),
            (layer.elements, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center_baseline",
            size=TINY if many else 7,
        )
    names = short_names(layer.name for layer in layers)
    axes.set_yticks(rows, [names[layer.name] for layer in layers], size=TINY if many else 7.5)
    axes.tick_params(axis="y", left=False)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    longest = max(len(_number(layer)) for layer in layers)
    axes.set_xlim(0, max(1, *(layer.elements for layer in layers)) * (1.04 + 0.0125 * longest))
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(round(value))))


def _number(layer: LayerCount) -> str:
    if layer.nonzeros == layer.elements:
        return f"{layer.elements:,}"
    return f"{layer.nonzeros:,} of {layer.elements:,} ({100 * layer.nonzeros / layer.elements:.1f} %)"
