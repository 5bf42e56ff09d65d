"""The work of `prunebench check`: inspect a workload without training."""

from __future__ import annotations

import sys
from pathlib import Path

from prunebench.cli.shell import say, show
from prunebench.experiments.inspection import inspect
from prunebench.machine.devices import resolve_device
from prunebench.machine.memory import keep_freed_memory
from prunebench.report.progress import ProgressBar
from prunebench.report.table import Table, facts_table
from prunebench.workloads import find_workload
from prunebench.workloads.registry import runs_of


def check(workload: str | None, checkpoint: Path | None, data: Path | None, device: str) -> None:
    """Say what was found of a workload."""
    chosen = find_workload(workload)
    keep_freed_memory()
    with ProgressBar() as progress:
        found = inspect(
            chosen,
            runs=runs_of(chosen, workload),
            data_path=data,
            checkpoint=checkpoint,
            device=resolve_device(device),
            progress=progress,
        )
    show(facts_table(found.facts))
    if found.layers:
        rows = [
            [layer.name, "x".join(map(str, layer.shape)), f"{layer.macs:,}", "dense" if layer.kept_dense else ""]
            for layer in found.layers
        ]
        show(f"\n{Table(rows=rows, headers=['layer', 'shape', 'MACs', 'kept'])}")
    say("", *(f"will not work: {problem}" for problem in found.problems))
    say("" if found.problems else "All of this works.")
    sys.exit(2 if found.problems else 0)
