"""Arguments and options of `prunebench run`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import shared
from prunebench.cli.shell import FILE, perform
from prunebench.storage.files import RUN_FOLDER


@click.command()
@click.argument("run")
@shared("workload")
@click.option(
    "--granularity", help="Pruned as one: element, channel, coupled-channel, 2:4 ... Default: as the run says."
)
@click.option("--measure", "measures", multiple=True, metavar="NAME",
              help="Beside size and accuracy: shrunk, onnx, latency or latency:RUNTIME.")  # fmt: skip
@click.option("--recipe", help="How to fine-tune; of prunebench's own workloads quick (default) or full.")
@click.option("--checkpoint", type=FILE, help="Dense checkpoint: .safetensors, .pth or .pt.")
@shared("data", "device", "precision", "seed")
@click.option("--no-finetune", is_flag=True, help="Stop after evaluating the pruned model.")
@click.option(
    "--select-on",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Images that choose the best epoch: test as documented (optimistic), or a tenth of the training images.",
)
@click.option(
    "--test-images",
    type=click.IntRange(1),
    help="Ask only so many, the first of one shuffle; the record is of other data then. Default: all, as they come.",
)
@click.option("--json", "output", type=FILE, help=f"Where to write the record. Default: a new file in {RUN_FOLDER}/.")
@click.option("--save", type=FILE, help="Where to write the weights (.safetensors): best epoch, or pruned.")
def run(**options: Any) -> None:
    """Prune, evaluate, fine-tune, measure and check a run or table.

    RUN is a run of prunebench.toml, run1 ... run5, or the path of a TOML table of your own. Interrupt it any time: the
    same command goes on from the last whole epoch. Exits with 1 where a size or a floor is missed.
    """
    perform("run.run", **options)
