"""Arguments and options of `prunebench bisect`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import FiniteRange
from prunebench.cli.shell import perform


@click.command()
@click.argument("good")
@click.argument("bad")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--figure", help="The figure that fell: size_percent or an accuracy. Default: what differs.")
@click.option("--images", type=click.IntRange(1), help="All test images, where COMMAND has {images}.")
@click.option(
    "--alpha", type=FiniteRange(0, 0.5, min_open=True, max_open=True), default=0.01, show_default=True,
    help="Chance of naming a wrong commit.",
)  # fmt: skip
def bisect(**options: Any) -> None:
    """Find the commit after GOOD, up to BAD, at which a figure fell.

    GOOD BAD -- COMMAND: it is run in a worktree of each commit that is tried, and has to leave one record there, in
    .prunebench/records or in the folder that {records} in it stands for. With {images} in it, each commit is asked only
    as many test images as telling takes. Stop it any time: the same command goes on.

    Exits with 0 where the commit was found, 3 for a range of commits.
    """
    perform("bisect.bisect", **options)
