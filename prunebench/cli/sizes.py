"""Arguments and options of `prunebench sizes`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.shell import FILE, perform


@click.command()
@click.argument("sources", type=FILE, nargs=-1, required=True)
def sizes(**options: Any) -> None:
    """Show what models take in each format, sparse and compressed.

    Beside each stands the density below which it takes less than dense. SOURCES are checkpoints, records of runs or
    baselines. A record holds counts alone, so that what depends on the values or on where they are is left open.
    Checkpoints need pip install 'prunebench[pack]'.
    """
    perform("sizes.sizes", **options)
