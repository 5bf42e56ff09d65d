"""Arguments and options of `prunebench init`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prunebench.cli.shell import FILE, perform


@click.command()
@click.option("--model", help="prunebench:NAME, torchvision:NAME, timm:NAME or package.module:builder.")
@click.option("--data", help="prunebench:NAME, torchvision:NAME, folder:PATH, npz:PATH or package.module:function.")
@click.option("--checkpoint", help="The dense model's weights; a file that is not there is trained by the first run.")
@click.option("--name", default="mine", show_default=True, help="What to call the workload.")
@click.option("--output", type=FILE, default=Path("prunebench.toml"), show_default=True, help="Where to write it.")
def init(**options: Any) -> None:
    """Write a prunebench.toml with comments, for your model and data.

    Without --model and --data it describes an example that runs at once. 'prunebench check' says what was found.
    """
    perform("init.init", **options)
