"""Weight histograms: how each layer's weights spread, and how many lie near zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from prunebench.errors import PlotError
from prunebench.report.plots.style import (
    LINE,
    PALE,
    SERIES,
    TINY,
    Caption,
    Grid,
    new_page,
    panel_titles,
    panels,
    short_count,
    styled,
)

NEAR_ZERO = 1e-3
"""A weight that is not zero counts as near zero where |w| is under this, unless told otherwise."""

BINS = 100

Weights = Mapping[str, NDArray[np.floating]]
"""By parameter name, of any shape."""


@dataclass(frozen=True, kw_only=True)
class WeightHistogram:
    """The weights of one layer.

    Attributes:
        counts: of the weights that are not zero, between neighbouring `edges`.
        zeros: elements that are exactly zero; in no bin.
        near_zero: elements that are not zero and of |w| under the limit; in the bins too.
        elements: all of them: the sum of `counts`, and `zeros`.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    zeros: int
    near_zero: int
    elements: int


def weight_histogram(
    weights: NDArray[np.floating], *, largest: float | None = None, near_zero: float = NEAR_ZERO
) -> WeightHistogram:
    """Count the weights in equal bins from -`largest` to `largest`; by default that is the layer's largest |w|.

    `largest` must not be under the layer's largest |w|: nothing is left out.
    """
    values = np.asarray(weights, dtype=np.float64).ravel()
    magnitudes = np.abs(values)
    reach = float(magnitudes.max(initial=0.0)) if largest is None else largest
    nonzero = magnitudes > 0
    counts, edges = np.histogram(values[nonzero], bins=BINS, range=(-(reach or 1.0), reach or 1.0))
    return WeightHistogram(
        edges=edges,
        counts=counts.astype(np.int64),
        zeros=int((~nonzero).sum()),
        near_zero=int((nonzero & (magnitudes < near_zero)).sum()),
        elements=values.size,
    )


@styled()
def plot_weights(
    models: Mapping[str, Weights],
    *,
    near_zero: float = NEAR_ZERO,
    title: str = "Weights of each layer",
    source: str = "",
) -> Figure:
    """Histograms of the weights that are not zero, one panel a layer, counts on a log axis; one or two models.

    Above each panel, for each model: the share of the layer's elements that is zero, and near zero.

    Args:
        models: weights by what the model is called; the layers are those of the first.
        near_zero: the limit of |w|, shaded.

    Raises:
        PlotError: no layers, more models than one before and one after, or models with different layers.
    """
    _check(models)
    names = list(next(iter(models.values())))
    grid = Grid(
        panels=len(names),
        panel=1.0 if len(names) <= 12 else 0.7 if len(names) <= 24 else 0.42,
        heading=0.2 + 0.12 * len(models),
        own_x=True,
    )
    caption = Caption(
        title=title,
        subtitle="weights that are not zero; above each: share that is zero, and near zero "
        f"(not zero, |w| < {near_zero:g}), of all elements" + (", as in the legend" if len(models) > 1 else ""),
        sources=[source] if source else [],
    )
    page = new_page(caption, body=grid.body, legend=_legend(models, near_zero))
    axes_of = panels(page, grid, x_label="weight", y_label="weights in a bin (log)")
    panel_titles(
        axes_of, {name: weights.size for name, weights in next(iter(models.values())).items()}, above=len(models)
    )
    top = max(
        _draw_layer(axes, {model: layers[name] for model, layers in models.items()}, near_zero)
        for axes, name in zip(axes_of, names, strict=True)
    )
    _log_axis(axes_of[0], top)
    return page.figure


def _check(models: Mapping[str, Weights]) -> None:
    if not 0 < len(models) <= 2:
        raise PlotError(f"cannot draw the weights of {len(models)} models in one plot: expected one, or two to compare")
    first, *others = models.items()
    if not first[1]:
        raise PlotError(f"nothing to draw in '{first[0]}': it has no prunable layer")
    for name, layers in others:
        if layers.keys() != first[1].keys():
            raise PlotError(f"cannot draw '{name}' beside '{first[0]}': their layers are not the same")


def _draw_layer(axes: Axes, models: Weights, near_zero: float) -> int:
    """Draw the weights of one layer and return the highest bar."""
    largest = max(float(np.abs(weights).max(initial=0.0)) for weights in models.values())
    axes.axvspan(-near_zero, near_zero, color=PALE, linewidth=0.6, label="near zero")
    highest = 1
    for number, (model, weights) in enumerate(models.items()):
        found = weight_histogram(weights, largest=largest, near_zero=near_zero)
        look = SERIES[number]
        axes.stairs(
            found.counts, found.edges, baseline=0.5, fill=number == 0, alpha=0.45 if number == 0 else 1,
            color=look.color, linewidth=0 if number == 0 else 1.0, label=model,
        )  # fmt: skip
        text = f"zero {_percent(found.zeros, found.elements)}, near {_percent(found.near_zero, found.elements)}"
        height = 3 + LINE * (len(models) - 1 - number)
        axes.annotate(
            text, (0, 1), xytext=(0, height), xycoords="axes fraction", textcoords="offset points", size=TINY,
            color=look.color if len(models) > 1 else None,
        )  # fmt: skip
        highest = max(highest, int(found.counts.max(initial=1)))
    reach = largest or 1.0
    mark = float(f"{0.6 * reach:.0e}")  # one digit, and clear of the neighbouring panels
    axes.set_xlim(-1.04 * reach, 1.04 * reach)
    axes.set_xticks([-mark, 0, mark], [f"\N{MINUS SIGN}{mark:g}", "0", f"{mark:g}"])
    return highest


def _percent(count: int, elements: int) -> str:
    return f"{100 * count / elements:.1f} %" if elements else "0 %"


def _log_axis(axes: Axes, top: int) -> None:
    powers = [10**exponent for exponent in range(math.ceil(math.log10(top)) + 1)]
    axes.set_yscale("log")
    axes.set_ylim(0.5, 2 * top)
    axes.yaxis.set_major_locator(FixedLocator(powers if len(powers) <= 5 else powers[::2]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(round(value))))


def _legend(models: Mapping[str, Weights], near_zero: float) -> list[tuple[Artist, str]]:
    handles: list[Artist] = [
        Patch(color=SERIES[0].color, alpha=0.45),
        Line2D([], [], color=SERIES[1].color, linewidth=1),
    ]
    entries = [(handle, model.lstrip("_")) for handle, model in zip(handles, models, strict=False)]
    return [*entries, (Patch(color=PALE), f"|w| < {near_zero:g}")]
