"""Arguments and options of `prunebench shrink`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import shared
from prunebench.cli.shell import FILE, perform


@click.command()
@click.argument("checkpoint", type=FILE)
@shared("workload", "data")
@click.option("--test-images", type=click.IntRange(1), help="Compare answers on only so many. Default: all.")
@click.option("--output", "-o", type=FILE, required=True, help="Where to write the shrunk model (.safetensors).")
def shrink(**options: Any) -> None:
    """Remove pruned channels from a model, and what hangs on them.

    CHECKPOINT holds masked weights, such as 'run --granularity channel --save' writes. The file that is written loads
    with --checkpoint like any other, into the same workload. What cannot be removed stays zero and is listed.

    Needs torch-pruning (pip install 'prunebench[channels]'). Exits with 1, and writes nothing, where the shrunk model
    answers otherwise.
    """
    perform("shrink.shrink", **options)
