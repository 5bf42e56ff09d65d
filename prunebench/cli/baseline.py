"""Arguments and options of `prunebench baseline`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import ONLY
from prunebench.cli.shell import FILE, perform
from prunebench.storage.files import BASELINES

BASELINES_OPTION = click.option(
    "--baselines", "folder", type=FILE, default=BASELINES, show_default=True, help="The folder of baselines."
)


@click.group()
def baseline() -> None:
    """Baselines: records that a person approved. Only 'approve' and 'remove' change any."""


@baseline.command("list")
@BASELINES_OPTION
def list_(**options: Any) -> None:
    """List the baselines, who approved them, when and why. Exits with 2 where one is damaged."""
    perform("baseline.list_", **options)


@baseline.command("show")
@click.argument("case")
@BASELINES_OPTION
def show_(**options: Any) -> None:
    """Show the baseline of CASE. Its approval, layers, sizes and accuracies; of a scan its curves."""
    perform("baseline.show_", **options)


@baseline.command()
@click.argument("run", type=FILE)
@ONLY
@click.option("--reason", required=True, help="Why this is the new baseline; kept with it.")
@click.option(
    "--incomparable", metavar="IDS", multiple=True, help="Cases that may replace a baseline they are INCOMPARABLE with."
)
@BASELINES_OPTION
def approve(**options: Any) -> None:
    """Make records of RUN the baselines of their cases.

    RUN is a record of a run or a sensitivity scan, or a folder of them, of which all that are named become baselines or
    none does. Refuses a dirty tree, a failed run, a record under a floor, a scan that is not exact, and whatever
    is INCOMPARABLE with the baseline it would replace. Commit what it writes.
    """
    perform("baseline.approve", **options)


@baseline.command()
@ONLY
@click.option("--yes", is_flag=True, help="Remove them; without it they are only listed.")
@BASELINES_OPTION
def remove(**options: Any) -> None:
    """Remove baselines that nothing can be compared with any more.

    Or those named with --only. Nothing can be compared with a baseline of one of prunebench's own workloads whose
    recipe is gone, or whose documented run has changed its sparsities, model or epochs. Baselines of scans and of your
    own workloads go only where they are named.
    """
    perform("baseline.remove", **options)
