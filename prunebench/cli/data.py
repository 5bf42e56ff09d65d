"""Arguments and options of `prunebench data`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import shared
from prunebench.cli.shell import perform


@click.command()
@shared("workload", "data")
@click.option("--verify", is_flag=True, help="Decode again from the source and compare with the cached copy.")
def data(**options: Any) -> None:
    """Show a workload's data: where from, how many images, digests."""
    perform("data.data", **options)
