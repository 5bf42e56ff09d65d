"""Arguments and options of `prunebench report`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.shell import FILE, perform
from prunebench.storage.files import BASELINES


@click.command()
@click.argument("records", type=FILE, nargs=-1)
@click.option("-o", "--output", type=FILE, required=True, help="Where to write: .html, .md or .json.")
@click.option("--against", type=FILE, help=f"Baselines, or another run's records. Default: {BASELINES}.")
@click.option("--across", is_flag=True, help="Each of RECORDS is a version, the first the baseline.")
@click.option("--format", "form", metavar="NAME", help="html, markdown, json, or another's. Default: by the suffix.")
@click.option("--title", default="prunebench", show_default=True, help="What the report is called.")
@click.option("--times/--no-times", default=True, help="Judge times too, where both are of one machine. Default: yes.")
def report(**options: Any) -> None:
    """Write one page on what was measured. What got worse, what each run costs and gives, which layers can take more.

    RECORDS are records, scans, plans, baselines, or folders of them; by default the run folder, .prunebench/records.
    """
    perform("report.report", **options)
