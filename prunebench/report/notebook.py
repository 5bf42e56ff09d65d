"""Records, scans, plans and verdicts as a notebook shows them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from matplotlib.figure import Figure

from prunebench.gate import Verdict
from prunebench.planning import Plan
from prunebench.records import RunRecord
from prunebench.report.content import reach_table
from prunebench.report.formats.html import templates
from prunebench.report.plans import plan_table
from prunebench.report.plots import inline_svg, plot_epochs, plot_parameters, plot_sensitivity
from prunebench.report.scans import scan_heading
from prunebench.report.sentences import next_step, sentence
from prunebench.report.table import Table
from prunebench.report.tables import accuracy_table, heading, layer_table
from prunebench.sensitivity import Scan


@singledispatch
def html_of(shown: Any) -> str:
    """A piece of HTML: what it is, its tables, a plot.

    Raises:
        TypeError: nothing is known of how to show it.
    """
    raise TypeError(f"no HTML is made of a {type(shown).__name__}")


@html_of.register
def _record(shown: RunRecord) -> str:
    label = f"{shown.run} on {shown.workload}"
    figure = plot_epochs(shown) if shown.finetuning else plot_parameters(shown)
    tables = {"Measured": accuracy_table(shown), "Elements by layer": layer_table(shown)}
    return _rendered(heading(shown.run, shown, []), tables=tables, figure=figure, label=label)


@html_of.register
def _scan(shown: Scan) -> str:
    tables = {"Largest sparsity of each layer alone, by how much accuracy it may cost": reach_table(shown)}
    return _rendered(scan_heading(shown), tables=tables, figure=plot_sensitivity(shown), label="sensitivity")


@html_of.register
def _plan(shown: Plan) -> str:
    about = f"plan by {shown.rule} for {shown.model}: {shown.size_percent:.2f} % of the dense model's nominal size"
    return _rendered(about, tables={"Sparsity by layer": plan_table(shown)})


@html_of.register
def _verdict(shown: Verdict) -> str:
    return _rendered("\n".join(filter(None, (sentence(shown), next_step(shown)))), status=str(shown.status))


def _rendered(
    text: str,
    *,
    tables: Mapping[str, Table] | None = None,
    figure: Figure | None = None,
    label: str = "",
    status: str = "",
) -> str:
    return (
        templates()
        .get_template("notebook.html.j2")
        .render(
            lines=text.split("\n"),
            tables=(tables or {}).items(),
            figure=inline_svg(figure, label=label) if figure else "",
            status=status,
        )
    )
