"""Arguments and options of `prunebench methods`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.shell import perform


@click.command()
def methods(**options: Any) -> None:
    """List criteria, granularities, allocations and pruning schedules.

    With the source of each, and what a criterion reads beside the weights. Those of installed packages too.
    """
    perform("methods.methods", **options)
