"""Arguments and options of `prunebench pack`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.shell import FILE, perform


@click.command()
@click.argument("checkpoint", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="Where to write: a .pbz file.")
def pack(**options: Any) -> None:
    """Pack CHECKPOINT into a small file without losing a bit.

    CHECKPOINT is a .safetensors, .pth or .pt file, of weights or of masks. Needs pip install 'prunebench[pack]'.
    """
    perform("packing.pack", **options)
