"""The work of `prunebench runs`: list the documented runs."""

from __future__ import annotations

from prunebench.cli.shell import say, show
from prunebench.documented.runs import REPORT, RUNS
from prunebench.report import runs_table


def runs() -> None:
    """List the documented runs, their sparsities, sizes and accuracies."""

    say(f"Sparsity by layer, then what is documented ('-': not documented). Source: {REPORT}.", "")
    show(runs_table(RUNS.values()))
