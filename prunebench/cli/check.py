"""Arguments and options of `prunebench check`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import shared
from prunebench.cli.shell import FILE, perform


@click.command()
@shared("workload")
@click.option("--checkpoint", type=FILE, help="Dense checkpoint, in the place of the workload's own.")
@shared("data", "device")
def check(**options: Any) -> None:
    """Say what was found of a workload, and what will not work.

    Nothing is trained or pruned. It shows the model, its prunable layers with elements and MACs, the data, the dense
    score on a batch and on all, what is kept dense, and what each run of the file comes to. Exits with 2 where
    something will not work.
    """
    perform("check.check", **options)
