"""Arguments and options of `prunebench lint`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.shell import perform


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--workload", help="What the tables are for. Default: the model that each names, else the VGG.")
def lint(**options: Any) -> None:
    """Recompute what documents claim of sizes, layers and accuracies.

    TABLES are names of documented runs or paths of TOML tables; without any, all documented runs and the differences
    drawn between them are checked. Exits with 1 where a claim differs.
    """
    perform("lint.lint", **options)
