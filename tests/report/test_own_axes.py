"""Plots into a user's own axes: nothing but these is drawn into, in the user's style."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from record_factory import make_record
from torch import nn

import prunebench
from prunebench.errors import PlotError
from prunebench.report.plots import LayerCount

WEIGHTS = {"dense": {"a.weight": np.linspace(-1, 1, 50), "b.weight": np.linspace(-2, 2, 60)}}

PLOTS: dict[str, tuple[int, Callable[[Any], Figure]]] = {
    "epochs": (1, lambda axes: prunebench.plot_epochs(make_record(), axes)),
    "epochs and losses": (2, lambda axes: prunebench.plot_epochs(make_record(), axes)),
    "frontier": (1, lambda axes: prunebench.plot_frontier([make_record(), prunebench.RUNS["run1"]], axes)),
    "parameters": (1, lambda axes: prunebench.plot_parameters(make_record(), axes)),
    "weights": (2, lambda axes: prunebench.plot_weights(WEIGHTS, axes)),
    "weights of a record": (2, lambda axes: prunebench.plot_weights(make_record(histograms=True), axes)),
}


@pytest.mark.parametrize("name", PLOTS)
def test_only_the_axes_given_are_drawn_into_in_the_users_style(name: str) -> None:
    count, plot = PLOTS[name]
    with mpl.rc_context({"axes.facecolor": "#abcdef", "font.family": ["serif"]}):
        figure = Figure(figsize=(4, 3))
        axes = figure.subplots(1, count + 1)
        given = axes[0] if count == 1 else axes[:count]
        before = figure.get_size_inches().tolist(), len(figure.axes)
        assert figure is plot(given)
        figure.canvas.draw()
    assert before == (figure.get_size_inches().tolist(), len(figure.axes))
    assert ([], []) == (figure.texts, figure.legends)
    assert not axes[-1].has_data()
    for each in axes[:count]:
        assert each.has_data()
        assert each.get_xlabel()
        assert mpl.colors.to_rgba("#abcdef") == each.get_facecolor()
        assert ["serif"] == each.xaxis.label.get_fontfamily()
        assert each.get_legend_handles_labels()[1], "the user may call legend()"


@pytest.mark.parametrize("name", PLOTS)
def test_axes_in_a_subfigure_belong_to_the_whole_figure(name: str) -> None:
    count, plot = PLOTS[name]
    figure = Figure()
    part = figure.subfigures(1, 2)[0]
    assert figure is plot(part.subplots(count, 1))


@pytest.mark.parametrize("name", PLOTS)
def test_another_number_of_axes_is_one_clear_error(name: str) -> None:
    for wrong in (Figure().subplots(1, 3), [], "axes"):
        with pytest.raises(PlotError, match=r"axes must be as many matplotlib Axes as there are panels, \d, got [03]"):
            PLOTS[name][1](wrong)


def test_a_model_is_drawn_by_its_prunable_weights() -> None:
    figure = prunebench.plot_weights({"net": nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))})
    assert ["0 (12)", "2 (8)"] == [axes.get_title(loc="left") for axes in figure.axes]


def test_the_figure_of_one_layer_takes_one_axes() -> None:
    axes = Figure().subplots()
    prunebench.plot_parameters([LayerCount(name="$x_a.weight", elements=4, nonzeros=2)], axes)
    axes.figure.canvas.draw()
    assert "$x_a" == axes.get_yticklabels()[0].get_text()
