"""The work of `prunebench shrink`: remove pruned channels, compare the answers, write the smaller model."""

from __future__ import annotations

import sys
from pathlib import Path

from torch import nn

from prunebench.cli.shell import say, show
from prunebench.data import Dataset
from prunebench.machine.memory import keep_freed_memory
from prunebench.measure import count_macs, file_size_bytes
from prunebench.report.progress import ProgressBar
from prunebench.report.table import Table
from prunebench.shrink import EXAMPLES, shrunk
from prunebench.storage.files import check_targets, data_source
from prunebench.tasks import compare_answers
from prunebench.workloads import dense_model, find_workload


def shrink(checkpoint: Path, workload: str | None, data: Path | None, test_images: int | None, output: Path) -> None:
    """Remove pruned channels from a model, with all that depends on them."""
    chosen = find_workload(workload)
    check_targets({"--output": output}, inputs=(checkpoint, data_source(data)))
    keep_freed_memory()
    with ProgressBar() as progress:
        progress.stage("data")
        loaded = chosen.data(data, progress.loading)
        progress.stage("masked model")
        masked = dense_model(chosen, loaded, checkpoint=checkpoint).model
        progress.stage("removal of channels")
        small = shrunk(masked, loaded.test.fed(loaded.test.inputs[:EXAMPLES]))
        asked = loaded.test if test_images is None else loaded.with_test_images(test_images).test
        progress.stage("answers of both models")
        found = compare_answers(masked, small.model, asked, task=chosen.task, progress=progress.evaluated)
    show(f"{_sizes(masked, small.model, loaded)}\n")
    if small.masked:
        rows = [[each.layer, each.channels, each.reason] for each in small.masked]
        show(f"{Table(rows=rows, headers=['still masked', 'channels', 'why'], texts=1)}\n")
    say(
        f"Answers to {found.images:,} test examples: {len(found.different):,} differ, {len(found.ties):,} by a tie; "
        f"the largest difference is {found.difference:.1e} of the largest output."
    )
    say(*(f"tie: test example {index}" for index in found.ties))
    if not found.same:
        say("FAIL: the shrunk model answers otherwise; nothing was written.")
        sys.exit(1)
    small.save(output)
    say(f"Shrunk model: {output}")


def _sizes(masked: nn.Module, small: nn.Module, data: Dataset) -> Table:
    example = data.test.fed(data.test.inputs[:1])
    figures = {
        "parameters": [sum(each.numel() for each in model.parameters()) for model in (masked, small)],
        "multiply-accumulates": [sum(count_macs(model, example).values()) for model in (masked, small)],
        "file, bytes": [file_size_bytes(model.state_dict()) for model in (masked, small)],
    }
    rows = [
        [name, f"{before:,}", f"{after:,}", f"{100 * after / before:.2f}"] for name, (before, after) in figures.items()
    ]
    return Table(rows=rows, headers=["", "masked", "shrunk", "% left"])
