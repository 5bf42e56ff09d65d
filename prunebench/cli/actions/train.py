"""The work of `prunebench train`: train a dense checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prunebench.cli.shell import say
from prunebench.machine.devices import resolve_device
from prunebench.machine.memory import keep_freed_memory
from prunebench.report.progress import ProgressBar
from prunebench.storage.files import check_targets, data_source
from prunebench.workloads import find_workload, own_checkpoint, train_dense
from prunebench.workloads.dense import dense_recipe


def train(
    workload: str | None,
    data: Path | None,
    device: str,
    precision: Any,
    seed: int,
    epochs: int | None,
    output: Path | None,
) -> None:
    """Train a dense checkpoint from scratch. Interrupt it any time: the same command goes on."""

    chosen = find_workload(workload)
    if epochs == dense_recipe(chosen).epochs:
        epochs = None
    if output is None and (epochs or seed or precision != "fp32"):
        raise click.UsageError(
            "other epochs, another seed or bf16 make another checkpoint: name its file with --output"
        )
    check_targets({"--output": output}, inputs=(data_source(data),))

    keep_freed_memory()
    with ProgressBar() as progress:
        on = resolve_device(device)
        progress.stage("data")
        images = chosen.data(data, progress.loading)
        output = output or own_checkpoint(chosen, images, seed=seed)
        progress.stage("dense training")
        training = train_dense(
            chosen,
            images,
            output=output,
            epochs=epochs,
            seed=seed,
            device=on,
            precision=precision,
            progress=progress,
        )
    last = training.last.evaluation
    say(f"accuracy {last.accuracy:.2f} % ({last.correct_count:,} of {last.count:,}) after the last epoch: {output}")
