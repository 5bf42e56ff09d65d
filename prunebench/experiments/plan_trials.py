"""Measurements of `prunebench plan`: the base model and its data, the refinement, and the file that keeps trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from prunebench.data import Dataset, Examples, split_validation
from prunebench.errors import PlanError
from prunebench.experiments.flow import Progress
from prunebench.experiments.plan_request import Request, goal_of, limit_of
from prunebench.machine.devices import resolve_device
from prunebench.models import load_checkpoint_, prunable_parameters, state_digest
from prunebench.planning import (
    Curves,
    FineTune,
    Inventory,
    Plan,
    PlanRecord,
    Refinement,
    Trial,
    allocate_to_limit,
    erk,
    lamp,
    measure_on,
    predicted_accuracy,
    read_plan,
    refine,
    write_plan,
)
from prunebench.sensitivity import Scan
from prunebench.storage.files import cache_folder
from prunebench.tasks.evaluation import evaluate
from prunebench.training import train
from prunebench.workloads import UNDOCUMENTED_EPOCHS, Workload, dense_model, find_recipe, find_workload
from prunebench.workloads.dense import built


@dataclass(frozen=True, kw_only=True)
class Base:
    """The base model."""

    workload: Workload
    model: nn.Module
    digest: str


@dataclass(frozen=True, kw_only=True)
class Loaded(Base):
    """The base model and the data it is measured on.

    Attributes:
        training, choosing: what fine-tuning trains on, and what plans and epochs are chosen by.
        reporting: test images that neither plan nor epoch was chosen by.
    """

    data: Dataset
    training: Examples
    choosing: Examples
    reporting: Examples


def _workload(request: Request, scan: Scan | None) -> Workload:
    """The workload that the request names, checked to have the layers of `scan`."""

    workload = find_workload(request.workload)
    find_recipe(workload, request.recipe)
    if scan and {layer.name: layer.shape for layer in scan.layers} != _layers(workload):
        raise PlanError(
            f"the scan '{request.scan_file}' is of other layers, of a model called '{scan.model}', than "
            f"'{workload.name}' has in '{workload.model}': name the workload that was scanned with --workload"
        )
    return workload


def _check_is_scanned(request: Request, scan: Scan | None, digest: str, *, origin: str) -> None:

    if scan and scan.model_digest != digest:
        raise PlanError(
            f"the scan '{request.scan_file}' is of other weights ({scan.model_digest[:12]}) than {origin} "
            f"({digest[:12]}): give the scanned model with --checkpoint, or scan this one"
        )


def load_base(request: Request, scan: Scan | None, progress: Progress) -> Base:
    """The base model, which has to be the one of `scan`; `Loaded` but where only the weights of a file are needed."""
    workload = _workload(request, scan)
    if request.needs_images or request.data or not request.checkpoint:
        return _load_all(request, scan, workload, progress)

    model = built(workload)
    load_checkpoint_(model, request.checkpoint)
    base = Base(workload=workload, model=model, digest=state_digest(model.state_dict()))
    _check_is_scanned(request, scan, base.digest, origin=request.checkpoint.name)
    check_earlier(request, base.digest)
    return base


def _load_all(request: Request, scan: Scan | None, workload: Workload, progress: Progress) -> Loaded:
    """Load the base model with the images for training, choosing and reporting."""

    device = resolve_device(request.device)
    progress.stage("data")
    data = workload.data(request.data, progress.loading)
    progress.stage("base model")
    base = dense_model(workload, data, checkpoint=request.checkpoint, device=device, progress=progress)
    _check_is_scanned(request, scan, base.digest, origin=base.origin)
    check_earlier(request, base.digest)
    training, reporting, seed = data.train, data.test, request.seed
    if request.choose_on == "validation":
        training, choosing = split_validation(training, size=min(request.images, len(training) // 2), seed=seed)
    else:
        reporting, choosing = split_validation(reporting, size=min(request.images, len(reporting) // 2), seed=seed)
    return Loaded(
        workload=workload,
        model=base.model,
        digest=base.digest,
        data=data,
        training=training,
        choosing=choosing,
        reporting=reporting if request.rounds or request.finetune else data.test,
    )


def _layers(workload: Workload) -> dict[str, list[int]]:
    """Shapes of a workload's prunable parameters by name, for which no weights are made."""

    with torch.device("meta"):
        return {name: list(weight.shape) for name, weight in prunable_parameters(built(workload)).items()}


def _finetune(request: Request, loaded: Loaded, progress: Progress) -> FineTune | None:

    if not request.finetune:
        return None
    recipe = _recipe(request, loaded)

    def finetune(model: Any, masks: Any) -> None:
        progress.stage("fine-tuning")
        train(
            model,
            loaded.training,
            recipe,
            selection=loaded.choosing,
            task=loaded.workload.task,
            seed=request.seed,
            precision=request.precision,
            masks=masks,
            state_folder=cache_folder() / "training",
            progress=progress,
        ).discard()

    return finetune


def _recipe(request: Request, loaded: Loaded) -> Any:

    return find_recipe(loaded.workload, request.recipe)[1].for_epochs(UNDOCUMENTED_EPOCHS)


def refined(
    request: Request, curves: Curves, loaded: Loaded, progress: Progress, on_trial: Callable[[Trial], None]
) -> Refinement:
    """Run the rounds of --refine and the search after them, from the trials on that the file of --json holds."""

    finished = _finished(request, loaded)
    new: list[Trial] = []

    def keep(trial: Trial) -> None:
        new.append(trial)
        on_trial(trial)
        if request.json_file:
            keep_trials(request, loaded, [*finished, *new])

    progress.stage("measuring plans")
    return refine(
        curves,
        goal_of(request, curves.inventory),
        measure_on(
            loaded.model,
            loaded.choosing,
            task=loaded.workload.task,
            finetune=_finetune(request, loaded, progress),
            precision=request.precision,
            progress=progress.evaluated,
        ),
        rounds=request.rounds,
        probes=request.probes and not request.finetune,
        starts=_starts(request, curves.inventory, loaded),
        search=request.search,
        seed=request.seed,
        step=request.step,
        finished=finished,
        on_trial=keep,
    )


def _starts(request: Request, inventory: Inventory, loaded: Loaded) -> list[dict[str, float]]:
    """The plans of ERK and LAMP at the limit of the cost, to start a search from; none without a limit."""

    limit = limit_of(request, inventory)
    if limit is None:
        return []
    allocators = (erk, lamp(prunable_parameters(loaded.model)))
    return [
        inventory.sparsity(allocate_to_limit(allocator, inventory, cost=limit[0], limit=limit[1]))
        for allocator in allocators
    ]


def _settings(request: Request, loaded: Loaded) -> str:
    tuned = f"{_recipe(request, loaded)}, seed {request.seed}" if request.finetune else "not fine-tuned"
    return tuned if request.precision == "fp32" else f"{tuned}, {request.precision}"


def _finished(request: Request, loaded: Loaded) -> list[Trial]:
    """Trials that an earlier command measured of the same model on the same images in the same way."""
    record = earlier_record(request)
    if record is None:
        return []
    ours = (loaded.digest, loaded.choosing.digest, _settings(request, loaded))
    if not record.trials or (record.base_digest, record.choosing_digest, record.settings) == ours:
        return list(record.trials)
    raise _of_another_model(request)


def keep_trials(request: Request, loaded: Loaded, trials: list[Trial], **results: Any) -> None:
    """Write what was measured, and what came of it, to the file of --json."""

    assert request.json_file is not None
    record = PlanRecord(
        base_digest=loaded.digest,
        choosing_digest=loaded.choosing.digest if trials else None,
        settings=_settings(request, loaded) if trials else "",
        trials=trials,
        **results,
    )
    write_plan(record, request.json_file)


def keep_plan(request: Request, loaded: Loaded | None, *, made_for: str | None, **results: Any) -> None:
    """Write a plan without rounds; keep the trials, perhaps of hours, that its file holds of the model `made_for`."""

    assert request.json_file is not None
    earlier = earlier_record(request)
    if earlier is None or not earlier.trials:
        earlier = PlanRecord(base_digest=made_for, settings=_settings(request, loaded) if loaded else "")
    write_plan(earlier.model_copy(update={"measured": None, "finetuned": None, **results}), request.json_file)


def earlier_record(request: Request) -> PlanRecord | None:
    """The plan that the file of --json holds from before; None where there is no file.

    Raises:
        RecordError: something else than a plan, which is not to be overwritten.
    """

    path = request.json_file
    return read_plan(path) if path is not None and path.is_file() else None


def check_earlier(request: Request, base_digest: str | None) -> None:
    """Check the file of --json before anything is measured or written; a model not known yet has None for a digest.

    Raises:
        RecordError: the file of --json holds something else than a plan.
        PlanError: the file of --json keeps what was measured of a model other than `base_digest`.
    """
    earlier = earlier_record(request)
    if earlier and earlier.trials and base_digest not in {None, earlier.base_digest}:
        raise _of_another_model(request)


def _of_another_model(request: Request) -> Exception:

    return PlanError(
        f"'{request.json_file}' keeps what was measured of another model, on other images, in another precision or "
        "with other fine-tuning: choose another file for --json, or delete it"
    )


def with_earlier(request: Request, loaded: Loaded, refinement: Refinement) -> list[Trial]:
    """The refinement's measurements, then those that its file kept for other goals: they may be wanted again."""
    ours = [trial.sparsity for trial in refinement.trials]
    return [*refinement.trials, *(trial for trial in _finished(request, loaded) if trial.sparsity not in ours)]


def measured_on_test(
    request: Request, made: Plan, curves: Curves | None, loaded: Loaded | None, progress: Progress
) -> dict[str, Any]:
    """Base model and plan on the images that are reported, beside what the curves predict for these images."""

    assert loaded is not None
    progress.stage("evaluation of the base model")
    task = loaded.workload.task
    base = evaluate(loaded.model, loaded.reporting, task=task, progress=progress.evaluated).accuracy
    progress.stage("evaluation of the plan")
    finetune = _finetune(request, loaded, progress)
    measure = measure_on(loaded.model, loaded.reporting, task=task, finetune=finetune, progress=progress.evaluated)
    measured = measure(made.sparsity)
    predicted = None
    if curves and made.interaction:
        predicted = predicted_accuracy(curves, made.sparsity, made.interaction, base=base)
    return {
        "base": base,
        "predicted": predicted,
        "measured": measured.accuracy,
        "finetuned": measured.finetuned,
        "tuned": request.finetune and request.rounds > 0,
    }
