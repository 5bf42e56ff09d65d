"""Arguments and options of `prunebench runs`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.shell import perform


@click.command()
def runs(**options: Any) -> None:
    """List the documented runs. Their sparsities, sizes and accuracies."""
    perform("runs.runs", **options)
