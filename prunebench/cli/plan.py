"""Arguments and options of `prunebench plan`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import FiniteRange, PercentOfDense, precision_option, shared
from prunebench.cli.shell import FILE, perform

MOST_NONZEROS = 2**63 - 1
"""What a record can hold."""


@click.command()
@click.option("--scan", "scan_file", type=FILE, help="A sensitivity scan (JSON). Allocators do without.")
@click.option("--rule", default="optimal", show_default=True, help="What chooses sparsities; names are below.")
@click.option("--max-drop", type=FiniteRange(0, 100), help="Points of accuracy that may be lost.")
@click.option("--size", "size_percent", type=PercentOfDense(0, 100), help="Nominal size, percent of dense, at most.")
@click.option("--nonzeros", type=click.IntRange(0, MOST_NONZEROS), help="Nonzeros over all parameters, at most.")
@click.option("--file-size", "file_percent", type=PercentOfDense(0, 100), help="Sparse file, percent of dense at most.")
@click.option("--macs", "macs_percent", type=PercentOfDense(0, 100), help="Sparse MACs, percent of dense, at most.")
@click.option(
    "--cost",
    type=click.Choice(["size", "file", "macs"]),
    default="size",
    show_default=True,
    help="What --max-drop makes least.",
)
@click.option("--previous", help="Compounding: the table, or run, that the scanned model was pruned by.")
@click.option(
    "--step",
    type=FiniteRange(0.001, 0.5),
    default=0.01,
    show_default=True,
    help="Optimal: between candidate sparsities.",
)
@click.option(
    "--caution",
    type=FiniteRange(min=0),
    default=1.0,
    show_default=True,
    help="Plan by each scanned accuracy less so many standard errors: the best of many is flattered.",
)
@click.option("--extrapolate", is_flag=True, help="Beyond the last point, fall to guessing at sparsity 1.")
@shared("workload")
@click.option("--checkpoint", type=FILE, help="The model to plan for; the one that was scanned.")
@shared("data", "device")
@precision_option("Arithmetic that plans are chosen in, and fine-tuned; what is reported is evaluated in fp32.")
@shared("seed")
@click.option("--measure", is_flag=True, help="Prune by the plan and evaluate it on the test images.")
@click.option(
    "--search",
    type=click.IntRange(min=0),
    default=0,
    help="Vary the best of several plans (optimal, with --scan; erk; lamp) at equal size, by so many measurements at "
    "most (CMA-ES); hundreds pay.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes that a search measures in at once; they share the threads.",
)
@click.option("--finetune", is_flag=True, help="Fine-tune what is measured; plans are then judged by what comes out.")
@click.option("--recipe", help="Of fine-tuning. Default: the workload's first.")
@click.option(
    "--choose-on",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="Images that a search chooses by: training images, which the base model may know by heart, or test "
    "images, at most half; what is reported is measured on the others.",
)
@click.option("--images", type=click.IntRange(min=1), default=2000, show_default=True, help="How many of those.")
@click.option("--output", type=FILE, help="Write the sparsity table (TOML) here.")
@click.option("--json", "json_file", type=FILE, help="Keep the plan and every measurement here; taken up from there.")
def plan(**options: Any) -> None:
    """Plan a sparsity table for a size or a largest drop of accuracy.

    Rules: optimal (integer program on the scan's curves), documented (largest sparsity within --max-drop, later layers
    first), compounding (on a scan of a pruned model), and allocations, which need a size and no scan: uniform,
    global, erk, lamp, one of an installed package, or package.module:object. --search takes no rule. Interrupt it
    any time: with --json, the same command goes on.

    Exits with 1 where --measure finds that the optimal plan loses more than --max-drop.
    """
    perform("plan.plan", **options)
