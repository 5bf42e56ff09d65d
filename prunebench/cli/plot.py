"""Arguments and options of `prunebench plot`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import FiniteRange, shared
from prunebench.cli.shell import FILE, perform

OUTPUT = click.option("--output", "-o", type=FILE, required=True, help="The picture: a .png, .svg or .pdf file.")

WORKLOAD = shared("workload")

DOCUMENTED = click.option(
    "--documented/--no-documented",
    default=None,
    help="Draw what is documented too. Default: where a record starts from the checkpoint that it is documented for.",
)


@click.group()
def plot() -> None:
    """Draw what was measured: curves, layers, weights, epochs. The same input gives the same bytes."""


@plot.command()
@click.argument("scans", type=FILE, nargs=-1, required=True)
@click.option("--floor", type=FiniteRange(0, 100), help="Accuracy in percent to draw as a line.")
@click.option("--lowest", type=FiniteRange(0, 100), help="Accuracy in percent where the axis begins.")
@OUTPUT
def sensitivity(**options: Any) -> None:
    """Draw the curves of one to four SCANS, one panel a layer.

    A curve is accuracy by the sparsity of that layer alone. A baseline of a scan will do as well.
    """
    perform("plot.sensitivity", **options)


@plot.command()
@click.argument("source", type=FILE)
@WORKLOAD
@OUTPUT
def parameters(**options: Any) -> None:
    """Draw how many elements each layer of SOURCE holds and keeps. It is a scan, record, baseline or checkpoint."""
    perform("plot.parameters", **options)


@plot.command()
@click.argument("record", type=FILE)
@DOCUMENTED
@OUTPUT
def epochs(**options: Any) -> None:
    """Draw accuracy and training loss by epoch. RECORD is a record or a baseline."""
    perform("plot.epochs", **options)


@plot.command()
@click.argument("sources", type=FILE, nargs=-1, required=True)
@WORKLOAD
@click.option(
    "--near-zero",
    type=FiniteRange(0, min_open=True),
    help="A weight counts as near zero where |w| is under this. Default: 0.001.",
)
@OUTPUT
def weights(**options: Any) -> None:
    """Draw histograms of weights, one panel a layer. SOURCES are one record, or one or two checkpoints.

    Of a record: before pruning, after it, and after fine-tuning.
    """
    perform("plot.weights", **options)


@plot.command()
@click.argument("records", type=FILE, nargs=-1)
@DOCUMENTED
@OUTPUT
def frontier(**options: Any) -> None:
    """Draw size against accuracy of RECORDS. Records, baselines, or folders of them, before and after fine-tuning."""
    perform("plot.frontier", **options)
