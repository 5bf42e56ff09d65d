"""Plots for people, as matplotlib figures that nothing else draws into. Nothing here imports torch or prints."""

from prunebench.report.plots.frontier import FrontierPoint, documented_points, frontier_figure, record_points
from prunebench.report.plots.history import history_figure
from prunebench.report.plots.parameters import LayerCount, layer_counts, parameters_figure
from prunebench.report.plots.sensitivity import sensitivity_figure
from prunebench.report.plots.style import SUFFIXES, check_suffix, write_figure
from prunebench.report.plots.weights import NEAR_ZERO, WeightHistogram, weight_histogram, weights_figure

__all__ = [
    "NEAR_ZERO",
    "SUFFIXES",
    "FrontierPoint",
    "LayerCount",
    "WeightHistogram",
    "check_suffix",
    "documented_points",
    "frontier_figure",
    "history_figure",
    "layer_counts",
    "parameters_figure",
    "record_points",
    "sensitivity_figure",
    "weight_histogram",
    "weights_figure",
    "write_figure",
]
