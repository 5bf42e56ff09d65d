"""Arguments and options of `prunebench study`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import FiniteRange
from prunebench.cli.shell import FILE, perform

STUDY = click.argument("file", metavar="STUDY.toml", type=FILE)

ALPHA = click.option("--alpha", type=FiniteRange(0, 0.5, min_open=True, max_open=True), default=0.05,
                     show_default=True, help="Chance of any false difference; intervals are at 1 - alpha.")  # fmt: skip


@click.group()
def study() -> None:
    """Compare methods, totals, recipes and seeds over many runs."""


@study.command()
@STUDY
@click.option("--dry-run", is_flag=True, help="Say how many runs, how long and how much disk, by the shortest run.")
@click.option("--workers", type=click.IntRange(1), help="Processes at once. Default: cores by threads of a process.")
@click.option("--on", metavar="CLUSTER", help="Ray: 'ray' for the one that runs here, HOST:PORT, ray://HOST:PORT.")
@click.option("--retry", is_flag=True, help="Execute runs that failed as well.")
def run(**options: Any) -> None:
    """Execute the runs that have no record yet, longest first.

    Interrupt it any time, or kill it: the same command goes on, unfinished trainings from their last epoch. A run that
    fails has a record of its failure, and the others go on. Exits with 1 where a run failed.
    """
    perform("study.run", **options)


@study.command()
@STUDY
def status(**options: Any) -> None:
    """Say how many runs are done, failed and to go."""
    perform("study.status", **options)


@study.command()
@STUDY
@ALPHA
def results(**options: Any) -> None:
    """Print means over seeds with intervals, and comparisons."""
    perform("study.results", **options)


@study.command()
@STUDY
@ALPHA
@click.option("--output", "-o", type=FILE, required=True, help="The picture: a .png, .svg or .pdf file.")
def plot(**options: Any) -> None:
    """Draw accuracy, theoretical speed-up, rank over seeds, and time."""
    perform("study.plot", **options)


@study.command()
@STUDY
@click.option("--output", "-o", type=FILE, required=True, help="The table: a .csv or .parquet file.")
def export(**options: Any) -> None:
    """Write one row a run, with every setting and score."""
    perform("study.export", **options)
