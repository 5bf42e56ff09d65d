"""The work of `prunebench latency`: two checkpoints of a workload timed in turn."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from prunebench.cli.shell import say, show
from prunebench.latency.measure import compare_latency
from prunebench.report.latency import costs_table, latency_note, latency_table
from prunebench.report.progress import ProgressBar
from prunebench.storage.files import check_targets, data_source, printable
from prunebench.workloads import dense_model, find_workload


def latency(
    a: Path,
    b: Path,
    workload: str | None,
    data: Path | None,
    runtimes: tuple[str, ...],
    batches: tuple[int, ...],
    threads: int | None,
    launches: int,
    output: Path | None,
) -> None:
    """Compare two checkpoints."""
    chosen = find_workload(workload)
    check_targets({"--json": output}, inputs=(a, b, data_source(data)))
    with ProgressBar() as progress:
        progress.stage("data")
        loaded = chosen.data(data, progress.loading)
        progress.stage("models")
        one, other = (dense_model(chosen, loaded, checkpoint=path, laid_out=False).model for path in (a, b))
        inputs = loaded.test.inputs[torch.arange(max(batches)) % len(loaded.test)]
        progress.stage("latency")
        found = compare_latency(
            one,
            other,
            loaded.test.fed(inputs),
            names=(printable(a.name), printable(b.name)),
            runtimes=runtimes,
            batches=sorted(set(batches)),
            threads=threads or os.cpu_count() or 1,
            launches=launches,
            told=progress.evaluated,
        )
    if output:
        found.write(output)
    show(f"{costs_table(found)}\n\n{latency_table(found)}\n")
    say(latency_note(found), *([f"Record: {output}"] if output else []))
