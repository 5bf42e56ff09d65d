"""Arguments and options of `prunebench run`."""

from __future__ import annotations

from typing import Any, get_args

import click

from prunebench.cli.options import FiniteRange, shared
from prunebench.cli.shell import FILE, perform
from prunebench.documented.method import TotalOf
from prunebench.storage.files import RUN_FOLDER

METHOD = ("criterion", "granularity", "allocation", "total", "total_of", "limits", "pruning_schedule",
          "schedule_settings", "evidence_examples", "recalibrated")  # fmt: skip
"""Options that a method has as attributes."""


@click.command()
@click.argument("run", required=False)
@shared("workload")
@click.option("--criterion", "--method", help="What is pruned first, such as taylor. Default: magnitude.")
@click.option("--granularity", help="What is pruned as one, such as 2:4, channel, coupled-channel. Default: element.")
@click.option("--allocation", help="How --total is shared over the layers, such as global. Default: uniform.")
@click.option("--total", type=FiniteRange(0, 1), help="Share to prune, in the place of RUN.")
@click.option("--total-of", type=click.Choice(get_args(TotalOf)), help="What --total is a share of. Default: elements.")
@click.option("--limit", "limits", multiple=True, metavar="LAYERS=MOST",
              help="The largest sparsity of layers, such as 'conv1.*=0.5'.")  # fmt: skip
@click.option("--pruning-schedule", help="When it is pruned, such as gradual. Default: one-shot.")
@click.option("--schedule-setting", "schedule_settings", multiple=True, metavar="NAME=VALUE",
              help="A setting of the pruning schedule, such as end=0.7.")  # fmt: skip
@click.option("--early", type=FILE, help="The checkpoint that weight-rewinding goes back to.")
@click.option("--evidence-examples", type=click.IntRange(1), help="Training examples that a criterion reads.")
@click.option("--recalibrate", "recalibrated", is_flag=True, help="Estimate batch norm's statistics anew.")
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

    RUN is a run of prunebench.toml, run1 ... run5, or the path of a TOML table of your own. Without one --total says
    how much to prune. 'prunebench methods' lists criteria, granularities, allocations and pruning schedules.

    Interrupt it any time: the same command goes on from the last whole epoch. Exits with 1 where a size or a floor is
    missed.
    """
    perform("run.run", asked={name: options.pop(name) for name in METHOD}, **options)
