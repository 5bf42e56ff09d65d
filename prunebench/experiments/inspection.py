"""Inspection of a workload before anything is trained or pruned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from prunebench.data import Dataset
from prunebench.errors import PrunebenchError, first_line
from prunebench.experiments.flow import Progress
from prunebench.experiments.requests import kept_dense, resolve
from prunebench.measure import count_macs
from prunebench.models import check_model, cut_to_, in_float32, prunable_parameters
from prunebench.pruning import find_granularity
from prunebench.tasks import check_answers, check_right_or_wrong, evaluate
from prunebench.workloads import DENSE, RequestedRun, Workload, dense_model, find_checkpoint, recipe_names
from prunebench.workloads.dense import built

T = TypeVar("T")

BATCH = 256


@dataclass(frozen=True, kw_only=True)
class FoundLayer:
    """One prunable parameter; `macs` are of one input."""

    name: str
    shape: tuple[int, ...]
    macs: int
    kept_dense: bool


@dataclass(kw_only=True)
class Inspection:
    """Facts, layers and problems of a workload, in words.

    Attributes:
        facts: what and how it is.
        layers: every prunable parameter, in the model's order.
        problems: what will not work, and why.
    """

    facts: list[tuple[str, str]] = field(default_factory=list)
    layers: list[FoundLayer] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def tried(self, work: Callable[[], T]) -> T | None:
        """The result of `work`; None where it fails, which is noted as a problem."""
        try:
            return work()
        except PrunebenchError as error:
            self.problems.append(str(error))
        except Exception as error:  # somebody else's code may raise anything
            self.problems.append(first_line(error))
        return None


def inspect(
    workload: Workload,
    *,
    runs: Sequence[RequestedRun] = (),
    data_path: Path | None = None,
    checkpoint: Path | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Everything that can be said of a workload, and of `runs` on it, without training."""
    progress, device = progress or Progress(), device or torch.device("cpu")
    found = Inspection()
    found.facts.append(("workload", f"{workload.name}, task {workload.task.name}"))
    found.tried(lambda: check_right_or_wrong(workload.task))
    model = found.tried(lambda: in_float32(check_model(_built(workload, checkpoint)))[0])
    progress.stage("data")
    data = found.tried(lambda: workload.data(data_path, progress.loading))
    if model is not None:
        elements = sum(parameter.numel() for parameter in model.parameters())
        found.facts.append(("model", f"{workload.model or type(model).__name__}, {elements:,} parameters"))
    if data is not None:
        found.facts += _of_data(data, workload)
    if model is not None and data is not None:
        if data.train.shape != data.test.shape:
            found.problems.append(
                f"training inputs have shape {data.train.shape}, test inputs {data.test.shape}: expected one shape"
            )
        answered = [found.tried(lambda each=each: check_answers(model, each, task=workload.task))  # type: ignore[misc]
                    for each in (data.test, data.train)]  # fmt: skip
        example = data.test.fed(data.test.inputs[:1])
        _add_layers(found, workload, model, example)
        if None not in answered:
            _add_score(found, workload, data, checkpoint, device, progress, runs)
    recipes = recipe_names(workload)
    found.facts.append(("recipes", ", ".join(recipes) or "none"))
    if not recipes:
        found.problems.append(f"workload '{workload.name}' has no recipe to fine-tune with beside '{DENSE}'")
    return found


def _built(workload: Workload, checkpoint: Path | None) -> nn.Module:
    """The workload's model with fresh weights, with the channels that its checkpoint has."""
    model, path = built(workload), checkpoint or workload.checkpoint()
    if path is not None and path.is_file():
        cut_to_(model, path)
    return model


def _of_data(data: Dataset, workload: Workload) -> list[tuple[str, str]]:
    shape = "x".join(map(str, data.test.shape))
    kind = str(data.test.inputs.dtype).removeprefix("torch.")
    normalized = ", normalised" if data.test.normalization else ""
    counts = f"{len(data.train):,} training and {len(data.test):,} test examples of {shape} {kind}{normalized}"
    guessing = 100 * workload.task.guessing(data.test)
    return [("data", f"{data.name}: {counts}"), ("guessing", f"{guessing:.2f} % {workload.task.metric}")]


def _add_layers(found: Inspection, workload: Workload, model: nn.Module, example: Tensor) -> None:
    weights = prunable_parameters(model)
    dense = found.tried(lambda: kept_dense(workload, weights))
    macs = found.tried(lambda: count_macs(model, example))
    if not weights:
        found.problems.append("the model has no weight of two or more dimensions: there is nothing to prune")
    if dense is None or macs is None or not weights:
        return
    found.layers = [
        FoundLayer(name=name, shape=tuple(weight.shape), macs=macs[name], kept_dense=name in dense)
        for name, weight in weights.items()
    ]
    elements, total = sum(weight.numel() for weight in weights.values()), sum(macs.values())
    everything = sum(parameter.numel() for parameter in model.parameters())
    share = 100 * elements / everything
    found.facts.append(("prunable", f"{len(weights)} layers, {elements:,} elements ({share:.1f} %), {total:,} MACs"))
    found.facts.append(("kept dense", ", ".join(sorted(dense)) or "none (keep_dense)"))


def _add_score(
    found: Inspection,
    workload: Workload,
    data: Dataset,
    checkpoint: Path | None,
    device: torch.device,
    progress: Progress,
    runs: Sequence[RequestedRun],
) -> None:
    path = checkpoint or found.tried(lambda: find_checkpoint(workload, data, device))
    if path is None and not workload.pretrained:
        if workload.trains_itself:
            found.facts.append(("dense model", f"none yet: the first run trains it by recipe '{DENSE}'"))
            model = found.tried(lambda: check_model(built(workload)))
            _add_runs(found, workload, runs, model, data)
        else:
            found.tried(lambda: dense_model(workload, data, device=device))  # which says what it would take
        return
    progress.stage("dense model")
    dense = found.tried(lambda: dense_model(workload, data, checkpoint=path, device=device))
    if dense is None:
        return
    first = data.test.take(torch.arange(min(BATCH, len(data.test))))
    few = evaluate(dense.model, first, task=workload.task)
    progress.stage("evaluation of the dense model")
    all_ = evaluate(dense.model, data.test, task=workload.task, progress=progress.evaluated)
    found.facts.append(("dense model", dense.origin or "as built"))
    found.facts.append(
        ("dense score", f"{few.accuracy:.2f} % of the first {few.count:,}; {all_.accuracy:.2f} % of all, "
         f"{all_.correct_count:,} of {all_.count:,}")
    )  # fmt: skip
    if all_.accuracy <= 100 * workload.task.guessing(data.test):
        found.problems.append(
            f"the dense model is no better than guessing ({all_.accuracy:.2f} %): look at its weights, at normalize, "
            "and at the order of the classes"
        )
    _add_runs(found, workload, runs, dense.model, data)


def _add_runs(
    found: Inspection, workload: Workload, runs: Sequence[RequestedRun], model: nn.Module | None, data: Dataset
) -> None:
    for requested in runs if model is not None else ():
        assert model is not None
        run = found.tried(lambda requested=requested: resolve(requested, workload, model, data, seed=0))  # type: ignore[misc]
        if run is not None:
            shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
            units = find_granularity(run.method.granularity)
            pruned = sum(
                units.pruned_elements(shapes[name], sparsity, name=name) for name, sparsity in run.sparsity.items()
            )
            size = 100 * (1 - pruned / sum(shape.numel() for shape in shapes.values()))
            found.facts.append((f"run {run.name}", f"leaves {size:.2f} % of the dense size"))
