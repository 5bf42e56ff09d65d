"""The work of `prunebench methods`: list what a method is made of."""

from __future__ import annotations

from prunebench.cli.shell import say
from prunebench.report.methods import methods_lines


def methods() -> None:
    """List criteria, granularities, allocations and pruning schedules."""
    say(*methods_lines())
