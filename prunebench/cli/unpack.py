"""Arguments and options of `prunebench unpack`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.shell import FILE, perform


@click.command()
@click.argument("file", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="Where to write: a .safetensors file.")
def unpack(**options: Any) -> None:
    """Unpack FILE, which `prunebench pack` wrote, as safetensors.

    It is checked against the digests in it. Needs pip install 'prunebench[pack]'.
    """
    perform("packing.unpack", **options)
