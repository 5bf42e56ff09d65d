"""Arguments and options of `prunebench train`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import shared
from prunebench.cli.shell import FILE, perform


@click.command()
@shared("workload", "data", "device", "precision", "seed")
@click.option("--epochs", type=click.IntRange(min=1), help="Default: the recipe's.")
@click.option("--output", type=FILE, help="Where to write it. Default: the cache, where 'run' finds it.")
def train(**options: Any) -> None:
    """Train a dense checkpoint from scratch. Interrupt it any time: the same command goes on.

    The cache is for what the recipe makes. With other epochs, another seed or bf16, name a file with --output, and give
    it to the other commands with --checkpoint.
    """
    perform("train.train", **options)
