"""Parameter counts: how many elements each layer holds, and how many of them are left."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from prunebench.errors import PlotError
from prunebench.report.plots.style import (
    BLUE,
    RIGHT,
    TINY,
    VERMILLION,
    WIDTH,
    Caption,
    new_page,
    short_count,
    short_names,
    styled,
)

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


@styled()
def parameters_figure(
    layers: Sequence[LayerCount], *, title: str = "Elements of each layer", source: str = ""
) -> Figure:
    """Bars of elements by layer, the first layer on top: what is kept, and what is zero behind it, with the numbers.

    Raises:
        PlotError: no layers.
    """
    if not layers:
        raise PlotError("nothing to draw: the model has no prunable layer")
    many = len(layers) > 24
    pitch = 0.15 if many else 0.26
    pruned = any(layer.nonzeros < layer.elements for layer in layers)
    legend = [(Patch(facecolor=BLUE), "kept"), (Patch(**_ZEROS), "zero")] if pruned else []
    total, kept = sum(layer.elements for layer in layers), sum(layer.nonzeros for layer in layers)
    share = f", {kept:,} of them kept ({100 * kept / total:.2f} %)" if pruned and total else ""
    caption = Caption(
        title=title,
        subtitle=f"{len(layers)} prunable weights of {total:,} elements{share}",
        sources=[source] if source else [],
    )
    page = new_page(caption, body=0.6 + pitch * len(layers), legend=legend)
    bottom, height = page.bottom + page.height(0.42), page.height(pitch * len(layers) + 0.1)
    left = 1.25 / WIDTH
    axes = page.figure.add_axes((left, bottom, 1 - left - RIGHT / WIDTH, height))
    rows = range(len(layers))
    axes.barh(rows, [layer.nonzeros for layer in layers], height=0.72, color=BLUE, label="kept")
    for row, layer in enumerate(layers):
        if zeros := layer.elements - layer.nonzeros:
            axes.barh(row, zeros, height=0.72, left=layer.nonzeros, label="zero", **_ZEROS)
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
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    longest = max(len(_number(layer)) for layer in layers)
    axes.set_xlim(0, max(1, *(layer.elements for layer in layers)) * (1.04 + 0.0125 * longest))
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(round(value))))
    axes.set_xlabel("elements")
    return page.figure


def _number(layer: LayerCount) -> str:
    if layer.nonzeros == layer.elements:
        return f"{layer.elements:,}"
    return f"{layer.nonzeros:,} of {layer.elements:,} ({100 * layer.nonzeros / layer.elements:.1f} %)"
