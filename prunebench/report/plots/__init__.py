"""Plots for people, as matplotlib figures. Nothing here prints."""

from prunebench.report.plots.epochs import plot_epochs
from prunebench.report.plots.frontier import (
    FrontierPoint,
    documented_points,
    frontier_sources,
    plot_frontier,
    record_points,
)
from prunebench.report.plots.history import plot_history
from prunebench.report.plots.parameters import LayerCount, layer_counts, plot_parameters
from prunebench.report.plots.sensitivity import plot_sensitivity
from prunebench.report.plots.study import plot_study
from prunebench.report.plots.style import SERIES, SUFFIXES, check_suffix, write_figure
from prunebench.report.plots.svg import inline_svg
from prunebench.report.plots.weights import NEAR_ZERO, WeightHistogram, plot_weights, weight_histogram

__all__ = [
    "NEAR_ZERO",
    "SERIES",
    "SUFFIXES",
    "FrontierPoint",
    "LayerCount",
    "WeightHistogram",
    "check_suffix",
    "documented_points",
    "frontier_sources",
    "inline_svg",
    "layer_counts",
    "plot_epochs",
    "plot_frontier",
    "plot_history",
    "plot_parameters",
    "plot_sensitivity",
    "plot_study",
    "plot_weights",
    "record_points",
    "weight_histogram",
    "write_figure",
]
