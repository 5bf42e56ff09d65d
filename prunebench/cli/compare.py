"""Arguments and options of `prunebench compare`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import ONLY
from prunebench.cli.shell import FILE, perform


@click.command()
@click.argument("paths", metavar="A [B]", type=FILE, nargs=-1, required=True)
@click.option("--across", is_flag=True, help="All of A B C... in one table; each is a version, the first the baseline.")
@ONLY
@click.option("--alpha", type=float, help="Chance of a false alarm, over all cases. Default: 0.01.")
@click.option("--margin", type=float, help="Points of accuracy that the same weights may lose. Default: 0.5.")
@click.option(
    "--seed-spread", type=float, help="Points more that one fine-tuning may lose, for its seed. Default: by density."
)
@click.option("--times/--no-times", default=True, help="Judge times too, where both are of one machine. Default: yes.")
@click.option("--json", "json_file", type=FILE, help="Write the verdicts with their evidence here.")
@click.option("--markdown", "markdown_file", type=FILE, help="Write the summary here.")
def compare(**options: Any) -> None:
    """Judge records A against B, by default the baselines.

    A and B are each a record of a run or a scan, a folder of records, or a folder of baselines; of several records of a
    case the newest counts. Where A is a folder, a baseline of the same workload and recipe without a record in A is
    INCOMPARABLE, and so is one of the same data and number of images without a scan.

    With --across, A B C... hold the same cases of several versions of torch, which name the columns.

    Exits with 0 where all passed, 1 for a regression, 2 where something could not be compared, 3 for inconclusive.
    """
    perform("compare.compare", **options)
