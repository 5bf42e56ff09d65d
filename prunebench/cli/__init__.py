"""The command line: one file a command. What a command does is in `actions`, imported when it runs.

Exit codes: 0 done; 1 a check failed; 2 bad input or nothing that can be compared, one line says which; 3 inconclusive
(`compare`, `export`), or not found to the commit (`bisect`); 130 interrupted (the same command goes on).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from prunebench.cli.baseline import baseline
from prunebench.cli.bench import bench
from prunebench.cli.bisect import bisect
from prunebench.cli.check import check
from prunebench.cli.compare import compare
from prunebench.cli.data import data
from prunebench.cli.export import export
from prunebench.cli.history import history
from prunebench.cli.init import init
from prunebench.cli.latency import latency
from prunebench.cli.lint import lint
from prunebench.cli.methods import methods
from prunebench.cli.pack import pack
from prunebench.cli.plan import plan
from prunebench.cli.plot import plot
from prunebench.cli.report import report
from prunebench.cli.run import run
from prunebench.cli.runs import runs
from prunebench.cli.scan import scan
from prunebench.cli.shell import Group as _Group
from prunebench.cli.shrink import shrink
from prunebench.cli.sizes import sizes
from prunebench.cli.study import study
from prunebench.cli.train import train
from prunebench.cli.unpack import unpack


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="prunebench")
@click.option("--quiet", is_flag=True, help="No progress: neither bars nor lines. Also PRUNEBENCH_QUIET=1.")
def main(quiet: bool) -> None:
    """Prune a model, fine-tune it under masks, and check what came out: against claims, floors and baselines."""
    if quiet:
        click.get_current_context().with_resource(_quiet())


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress, also of whatever this process starts; afterwards the environment is as it was."""
    before = os.environ.get("PRUNEBENCH_QUIET")
    os.environ["PRUNEBENCH_QUIET"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PRUNEBENCH_QUIET"]
        else:
            os.environ["PRUNEBENCH_QUIET"] = before


PROJECT = (init, check, run, train, scan, plan, study, shrink)
GAINS = (export, latency)
JUDGEMENT = (bench, compare, report, baseline, history, bisect)
FILES = (pack, unpack, sizes)
VIEWS = (plot, lint, methods, runs, data)

for command in (*PROJECT, *GAINS, *JUDGEMENT, *FILES, *VIEWS):
    main.add_command(command)

__all__ = ["main"]
