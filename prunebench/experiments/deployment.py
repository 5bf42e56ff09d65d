"""The model that is kept as people deploy it: shrunk, in another program, and timed beside the dense one."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from prunebench.data import Dataset
from prunebench.documented.runs import Run, check_measures
from prunebench.export.onnx import ONNX
from prunebench.latency.measure import check_runtime, compare_latency
from prunebench.measure import count_macs, file_size_bytes
from prunebench.models import copied
from prunebench.records import Accuracy, ExportedModel, LatencyRatio, ShrunkModel
from prunebench.shrink import EXAMPLES, shrunk
from prunebench.storage.imports import import_extra
from prunebench.tasks import Task, compare_answers


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """Measurements of the model that is kept; None for those that the run did not ask for."""

    shrunk: ShrunkModel | None = None
    exported: ExportedModel | None = None
    latency: LatencyRatio | None = None


def check_deployable(run: Run) -> None:
    """Check that all that `run` measures can be had here, before hours of fine-tuning.

    Raises:
        UnknownNameError, PlanError: as `prunebench.documented.runs.check_measures`.
        MissingExtraError: an extra is not installed.
    """
    check_measures(run.measures)
    if "shrunk" in run.measures:
        import_extra("torch_pruning", extra="channels")
    if "onnx" in run.measures:
        check_runtime("onnx")
    if runtime := latency_runtime(run):
        check_runtime(runtime)


def latency_runtime(run: Run) -> str | None:
    """The runtime that `run` is timed in; `eager` where a floor alone asks for it, None where nothing does."""
    asked = [name.partition(":")[2] or "eager" for name in run.measures if name.startswith("latency")]
    floors = any(floor.figure == "latency_ratio" for floor in run.floors)
    return asked[0] if asked else "eager" if floors else None


def deployed(run: Run, dense: nn.Module, kept: nn.Module, data: Dataset, *, task: Task) -> Deployed:
    """Measure what `run` asks for of the model `kept`, on the CPU and in the memory layout that it was built in.

    Raises:
        MissingExtraError: an extra is not installed.
        ShrinkError, ExportError, LatencyError, ModelError: it cannot be done with this model.
    """
    runtime = latency_runtime(run)
    if not run.measures and runtime is None:
        return Deployed()
    dense, kept = (copied(model).cpu().to(memory_format=torch.contiguous_format).eval() for model in (dense, kept))
    example, small = data.test.fed(data.test.inputs[:EXAMPLES]), None
    if "shrunk" in run.measures:
        removed = shrunk(kept, example).model
        found = compare_answers(kept, removed, data.test, task=task)
        small = ShrunkModel(
            elements=sum(each.numel() for each in removed.parameters()),
            macs=sum(count_macs(removed, example[:1]).values()),
            file_bytes=file_size_bytes(removed.state_dict()),
            answers=Accuracy.of(found.second),
            difference=min(found.difference, 1e9),  # JSON has no infinity
        )
        kept = removed
    exported = _exported(kept, data, task) if "onnx" in run.measures else None
    latency = None
    if runtime is not None:
        threads = torch.get_num_threads()
        found_ = compare_latency(dense, kept, example[:1], runtimes=[runtime], threads=threads)
        ratio = found_.timings[0].ratio
        latency = LatencyRatio(
            runtime=runtime,
            threads=threads,
            ratio=ratio.estimate,
            lower=ratio.lower,
            upper=ratio.upper,
            launches=ratio.launches,
        )
    return Deployed(shrunk=small, exported=exported, latency=latency)


def _exported(model: nn.Module, data: Dataset, task: Task) -> ExportedModel:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        ONNX.write(model, data.test.fed(data.test.inputs[:2]), path, {})
        opened = ONNX.open(path, model)
        found = compare_answers(model, opened.outputs, data.test, task=task)
        return ExportedModel(
            format=ONNX.name,
            runtime=opened.runtime,
            file_bytes=path.stat().st_size,
            answers=Accuracy.of(found.second),
            difference=min(found.difference, 1e9),
        )
