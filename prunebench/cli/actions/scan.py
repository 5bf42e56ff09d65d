"""The work of `prunebench scan`: measure accuracy with one layer pruned at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from prunebench.cli.shell import say, show
from prunebench.documented.method import Method
from prunebench.experiments.flow import images_to_scan
from prunebench.experiments.methods import at_work
from prunebench.experiments.requests import kept_dense
from prunebench.machine.devices import resolve_device
from prunebench.machine.memory import keep_freed_memory
from prunebench.models import prunable_parameters
from prunebench.records import keep_record
from prunebench.report import scan_heading, scan_table
from prunebench.report.progress import ProgressBar
from prunebench.sensitivity import HalfWidth, sensitivity_scan, write_scan
from prunebench.storage.files import RUN_FOLDER, cache_folder, check_targets, check_writable, data_source
from prunebench.workloads import Workload, dense_model, find_workload


def scan(
    workload: str | None,
    checkpoint: Path | None,
    data: Path | None,
    device: str,
    precision: Any,
    sparsities: tuple[float, ...],
    compounding: bool,
    criterion: str,
    granularity: str,
    evidence_examples: int | None,
    layers: str | None,
    mode: Any,
    half_width: float,
    within: float,
    confidence: float,
    on: Any,
    images: int | None,
    seed: int,
    output: Path | None,
) -> None:
    """Measure accuracy with one layer pruned at a time."""

    chosen = find_workload(workload)
    check_targets({"--json": output}, inputs=(checkpoint, data_source(data)))
    if not output:
        check_writable(RUN_FOLDER)

    keep_freed_memory()
    with ProgressBar() as progress:
        progress.stage("data")
        loaded = chosen.data(data, progress.loading)
        scanned = images_to_scan(loaded, on=on, limit=images, seed=seed)  # refused before a dense training
        asked = Method(criterion=criterion, granularity=granularity, evidence_examples=evidence_examples)
        example = loaded.train.fed(loaded.train.inputs[:1])
        method = at_work(asked, chosen, loaded.train, example, seed=seed)
        progress.stage("dense model")
        dense = dense_model(chosen, loaded, checkpoint=checkpoint, device=resolve_device(device), progress=progress)
        progress.stage("scan")
        found = sensitivity_scan(
            dense.model,
            scanned,
            task=chosen.task,
            sparsities=sparsities,
            compounding=compounding,
            criterion=method.criterion,
            granularity=method.units,
            evidence=None if criterion == "magnitude" else method.dense_evidence(dense.model),
            layers=layers.split(",") if layers else _open_layers(chosen, dense.model),
            mode=mode,
            half_width=HalfWidth(points=half_width),
            within=within,
            confidence=confidence,
            precision=precision,
            seed=seed,
            store=cache_folder() / "scans",
            model_name=chosen.model or type(dense.model).__name__,
            data_name=loaded.name if on == "test" else f"{loaded.name} {on}",
            origin=dense.origin,
            progress=progress,
        )
    if output:
        write_scan(found, output)
    else:
        output = keep_record(found)
    show(f"{scan_heading(found)}\n\n{scan_table(found)}\n")
    say(f"Scan: {output}")


def _open_layers(workload: Workload, model: nn.Module) -> list[str] | None:
    """Names of the layers that the workload does not keep dense; None for all."""
    weights = prunable_parameters(model)
    dense = kept_dense(workload, weights)
    return [name for name in weights if name not in dense] if dense else None
