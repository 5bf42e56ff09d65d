"""`pytest --save-plots FOLDER`: plots of what a session's tests handed to the gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.errors import PrunebenchError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from prunebench.records import Record


def save_plots(paths: Mapping[str, Path], folder: Path) -> list[str]:
    """Draw the records and scans at `paths`, by case, into `folder`, and return what could not be drawn, in words.

    A file is named by its case, as a baseline is, and by what it shows: `digits/run3-quick-epochs.svg`. One more,
    `frontier.svg`, is over all records.
    """
    from prunebench.baselines.collected import collect
    from prunebench.records import RunRecord
    from prunebench.report.plots import plot_frontier

    found: dict[str, Record] = {}
    problems = []
    for case, path in paths.items():
        try:
            found |= collect(path).records
        except PrunebenchError as error:
            problems.append(f"no plots of {case}: {error}")
    plots = {f"{case}-{name}": draw for case, record in found.items() for name, draw in _plots(record)}
    if runs := [record for record in found.values() if isinstance(record, RunRecord)]:
        plots["frontier"] = lambda: plot_frontier(runs)
    return [*problems, *_unwritten(plots, folder)]


def _plots(record: Record) -> Iterator[tuple[str, Callable[[], Figure]]]:
    from prunebench.report.plots import plot_epochs, plot_parameters, plot_sensitivity, plot_weights
    from prunebench.sensitivity import Scan

    if isinstance(record, Scan):
        yield "sensitivity", lambda: plot_sensitivity(record)
        return
    yield "parameters", lambda: plot_parameters(record)
    if record.finetuning:
        yield "epochs", lambda: plot_epochs(record)
    if all(layer.histogram for layer in record.layers):
        yield "weights", lambda: plot_weights(record)


def _unwritten(plots: Mapping[str, Callable[[], Figure]], folder: Path) -> Iterator[str]:
    from prunebench.report.plots import write_figure

    for name, draw in plots.items():
        try:
            write_figure(draw(), folder / f"{name}.svg")
        except PrunebenchError as error:  # a plot is no reason to lose the session
            yield f"no plot {name}: {error}"
