"""Weight histograms: how each layer's weights spread, and how many lie near zero."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, StepPatch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray
from torch import nn

from prunebench.errors import PlotError
from prunebench.measure import bin_edges, weight_counts
from prunebench.models import as_array, prunable_parameters
from prunebench.records import Layer, RunRecord
from prunebench.report.plots.sources import record_source
from prunebench.report.plots.style import (
    BLUE,
    LINE,
    PALE,
    TINY,
    VERMILLION,
    Caption,
    GivenAxes,
    Grid,
    canvas,
    figure_of,
    new_page,
    panel_titles,
    panels,
    short_count,
)

NEAR_ZERO = 1e-3
"""A weight that is not zero counts as near zero where |w| is under this, unless told otherwise."""

Weights = Mapping[str, NDArray[np.floating]]
"""By parameter name, of any shape."""

_BLUE: Any = {"color": BLUE, "alpha": 0.45, "fill": True, "linewidth": 0}
_KEPT: Any = {"color": BLUE, "fill": True, "linewidth": 0}
_LINE: Any = {"color": VERMILLION, "linewidth": 1.0}
_BEHIND: Any = {"color": PALE, "fill": True, "linewidth": 0}

STAGES: Any = {"dense": _BEHIND, "pruned": _KEPT, "fine-tuned, best epoch": _LINE}
"""Looks of a record's models: what shows of the first is what was pruned."""


@dataclass(frozen=True, kw_only=True)
class WeightHistogram:
    """The weights of one layer.

    Attributes:
        counts: of the weights that are not zero, between neighbouring `edges`.
        zeros: elements that are exactly zero; in no bin.
        near_zero: elements that are not zero and of |w| under the limit; in the bins too; None where not known.
        elements: all of them: the sum of `counts`, and `zeros`.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    zeros: int
    near_zero: int | None
    elements: int


def weight_histogram(
    weights: NDArray[np.floating], *, largest: float | None = None, near_zero: float = NEAR_ZERO
) -> WeightHistogram:
    """Count the weights in equal bins from -`largest` to `largest`; by default that is the layer's largest |w|.

    `largest` must not be under the layer's largest |w|: nothing is left out.
    """
    magnitudes = np.abs(weights)
    largest = float(magnitudes.max(initial=0.0)) if largest is None else largest
    return WeightHistogram(
        edges=bin_edges(largest),
        counts=weight_counts(weights, largest),
        zeros=int((magnitudes == 0).sum()),
        near_zero=int(((magnitudes > 0) & (magnitudes < near_zero)).sum()),
        elements=weights.size,
    )


_Layers = Mapping[str, Mapping[str, WeightHistogram]]
"""By layer and model."""


def plot_weights(
    source: RunRecord | Mapping[str, Weights | nn.Module],
    axes: GivenAxes = None,
    *,
    near_zero: float = NEAR_ZERO,
    title: str = "",
    origin: str = "",
) -> Figure:
    """Histograms of the weights that are not zero, one panel a layer, counts on a log axis.

    Above each panel: the share of the layer's elements that is zero (of a record, after pruning), and near zero.

    Args:
        source: a record, of which the dense, pruned and fine-tuned model are drawn; or one or two models, or their
            weights, by what they are called. The layers are those of the first.
        axes: to draw into, one a layer, in the place of a page.
        near_zero: the limit of |w|, shaded; not of a record.
        title, origin: default: what a record says of itself.

    Raises:
        PlotError: no layers, more than two models, models with different layers, or a record without histograms;
            other than one of `axes` a layer.
    """
    if isinstance(source, RunRecord):
        layers, looks, limit = _of_record(source), STAGES, None
        title = title or f"Weights of each layer of {source.model}, {source.run}"
        origin = origin or record_source(source)
    else:
        layers, looks, limit = _of_models(source, near_zero), dict(zip(source, (_BLUE, _LINE), strict=False)), near_zero
    models = list(next(iter(layers.values())))
    notes = 1 if limit is None else len(models)
    grid = Grid(
        panels=len(layers),
        panel=1.0 if len(layers) <= 12 else 0.7 if len(layers) <= 24 else 0.42,
        heading=0.2 + 0.12 * notes,
        own_x=True,
    )
    caption = Caption(title=title or "Weights of each layer", subtitle=_subtitle(notes, limit), sources=[origin])
    labels = {"x_label": "weight", "y_label": "weights in a bin (log)"}

    def page() -> Sequence[Axes]:
        legend = _legend({model: looks[model] for model in models}, limit)
        return panels(new_page(caption, body=grid.body, legend=legend), grid, **labels)

    with canvas(axes, panels=len(layers), page=page, **labels) as axes_of:
        sizes = {name: next(iter(found.values())).elements for name, found in layers.items()}
        panel_titles(axes_of, sizes, above=notes)
        for panel, found in zip(axes_of, layers.values(), strict=True):
            _draw_layer(panel, found, looks, limit)
        top = max(int(found.counts.max(initial=1)) for layer in layers.values() for found in layer.values())
        for panel in axes_of if axes is not None else axes_of[:1]:  # a page's panels share y
            _log_axis(panel, top)
        return figure_of(axes_of)


def _of_record(record: RunRecord) -> _Layers:
    if missing := [layer.name for layer in record.layers if layer.histogram is None]:
        raise PlotError(
            f"cannot draw the weights of '{record.run}': the record has no histogram of '{missing[0]}'; record the run "
            "again, or draw its checkpoints"
        )
    return {layer.name: _of_layer(layer) for layer in record.layers}


def _of_layer(layer: Layer) -> dict[str, WeightHistogram]:
    assert layer.histogram is not None, "as above"
    edges = bin_edges(layer.histogram.largest)
    return {
        stage: WeightHistogram(
            edges=edges, counts=np.array(counts), zeros=layer.numel - sum(counts), near_zero=None, elements=layer.numel
        )
        for stage, counts in zip(STAGES, layer.histogram.counts.values(), strict=False)
    }


def _of_models(models: Mapping[str, Weights | nn.Module], near_zero: float) -> _Layers:
    weights = {name: _weights(model) for name, model in models.items()}
    _check(weights)
    layers = {}
    for name in next(iter(weights.values())):
        found = {model: np.asarray(of_model[name]) for model, of_model in weights.items()}
        largest = max(float(np.abs(array).max(initial=0.0)) for array in found.values())
        layers[name] = {
            model: weight_histogram(array, largest=largest, near_zero=near_zero) for model, array in found.items()
        }
    return layers


def _weights(model: Weights | nn.Module) -> Weights:
    if isinstance(model, nn.Module):
        return {name: as_array(weight) for name, weight in prunable_parameters(model).items()}
    return model


def _check(models: Mapping[str, Weights]) -> None:
    if not 0 < len(models) <= 2:
        raise PlotError(f"cannot draw the weights of {len(models)} models in one plot: expected one, or two to compare")
    first, *others = models.items()
    if not first[1]:
        raise PlotError(f"nothing to draw in '{first[0]}': it has no prunable layer")
    for name, layers in others:
        if layers.keys() != first[1].keys():
            raise PlotError(f"cannot draw '{name}' beside '{first[0]}': their layers are not the same")


def _subtitle(notes: int, limit: float | None) -> str:
    if limit is None:
        return "weights that are not zero; above each: share of the elements that is zero after pruning"
    return (
        "weights that are not zero; above each: share that is zero, and near zero "
        f"(not zero, |w| < {limit:g}), of all elements" + (", as in the legend" if notes > 1 else "")
    )


def _draw_layer(
    axes: Axes, models: Mapping[str, WeightHistogram], looks: Mapping[str, Any], limit: float | None
) -> None:
    if limit is not None:
        axes.axvspan(-limit, limit, color=PALE, linewidth=0.6, label="near zero")
    for model, found in models.items():
        steps = StepPatch(found.counts, found.edges, baseline=0.5, label=model, **{"fill": False} | looks[model])
        axes.add_artist(steps)  # the limits are set below: looking for them takes as long as all else
    noted = list(models.items()) if limit is not None else list(models.items())[1:2]
    for above, (model, found) in zip(reversed(range(len(noted))), noted, strict=True):
        near = "" if found.near_zero is None else f", near {_percent(found.near_zero, found.elements)}"
        axes.annotate(
            f"zero {_percent(found.zeros, found.elements)}{near}", (0, 1), xytext=(0, 3 + LINE * above),
            xycoords="axes fraction", textcoords="offset points", size=TINY,
            color=looks[model]["color"] if len(noted) > 1 else None,
        )  # fmt: skip
    reach = float(found.edges[-1])
    mark = float(f"{0.6 * reach:.0e}")  # one digit, and clear of the neighbouring panels
    axes.set_xlim(-1.04 * reach, 1.04 * reach)
    axes.set_xticks([-mark, 0, mark], [f"\N{MINUS SIGN}{mark:g}", "0", f"{mark:g}"])


def _percent(count: int, elements: int) -> str:
    return f"{100 * count / elements:.1f} %" if elements else "0 %"


def _log_axis(axes: Axes, top: int) -> None:
    powers = [10**exponent for exponent in range(len(str(top)))]
    axes.set_yscale("log")
    axes.set_ylim(0.5, 2 * top)
    axes.yaxis.set_major_locator(FixedLocator(powers[:: math.ceil(len(powers) / 3)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(round(value))))


def _legend(looks: Mapping[str, Any], limit: float | None) -> list[tuple[Artist, str]]:
    entries: list[tuple[Artist, str]] = [
        (Patch(**look) if "fill" in look else Line2D([], [], **look), model.lstrip("_"))
        for model, look in looks.items()
    ]
    return entries if limit is None else [*entries, (Patch(color=PALE), f"|w| < {limit:g}")]
