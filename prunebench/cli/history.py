"""Arguments and options of `prunebench history`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import ONLY, FiniteRange
from prunebench.cli.shell import FILE, perform
from prunebench.storage.files import BASELINES, RUN_FOLDER


@click.command()
@click.argument("paths", metavar="[PATH]...", type=FILE, nargs=-1)
@click.option("--git", "committed", is_flag=True, help="Read every version of the files in PATH that git has.")
@ONLY
@click.option("--figure", "figures", metavar="NAMES", multiple=True, help="With commas. Default: size and accuracies.")
@click.option("--torch", metavar="VERSION", help="Only records made with this version of torch.")
@click.option(
    "--alpha", type=FiniteRange(0, 0.5, min_open=True, max_open=True), default=0.01, show_default=True,
    help="Chance of any false step, over all.",
)  # fmt: skip
@click.option("--json", "json_file", type=FILE, help="Write every point and step here.")
@click.option("--plot", "plot_file", type=FILE, help="Draw the curves: a .png, .svg or .pdf file.")
@click.option("--bmf", "bmf_file", type=FILE, help="Write the newest figures for Bencher here.")
@click.option(
    "--github-action-benchmark", "action_file", metavar="NAME.json", type=FILE,
    help="Write the newest figures for that action: NAME-smaller.json, NAME-bigger.json.",
)  # fmt: skip
def history(**options: Any) -> None:
    """Show sizes and accuracies over commits. Their steps are marked.

    A PATH is a record, a baseline, a folder of them with folders in it, or a .zip of these as CI keeps it. Default:
    .prunebench/records; with --git, baselines.

    Figures: size_percent, size_mib, accuracy_dense, accuracy_before, accuracy_best, change, seconds_pruning,
    seconds_evaluation, seconds_epochs (times are advisory).
    """
    options["paths"] = options["paths"] or ((BASELINES,) if options["committed"] else (RUN_FOLDER,))
    perform("history.history", **options)
