"""Plans by a rule, or found by measuring; the base model they need, and the file that keeps what was measured."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunebench.data import Dataset, Examples, split_validation
from prunebench.documented.tables import find_run
from prunebench.errors import PlanError
from prunebench.experiments.executors import LocalExecutor, in_order
from prunebench.experiments.flow import Progress
from prunebench.experiments.plan_request import FROM_SCAN, Request
from prunebench.experiments.requests import kept_dense
from prunebench.machine.devices import Precision, resolve_device
from prunebench.models import load_checkpoint_, prunable_parameters, state_digest
from prunebench.planning import (
    Cost,
    Curves,
    FineTune,
    Inventory,
    Measure,
    MeasureAll,
    Measured,
    Plan,
    PlanRecord,
    Reported,
    Trial,
    allocate,
    allocate_to_limit,
    compounding,
    documented_reading,
    find_allocation,
    measure_on,
    optimal_plan,
    read_plan,
    search_plans,
    write_plan,
)
from prunebench.pruning import Masks
from prunebench.sensitivity import Scan
from prunebench.storage.files import cache_folder
from prunebench.tasks.evaluation import evaluate
from prunebench.training import Recipe, train
from prunebench.workloads import UNDOCUMENTED_EPOCHS, Workload, dense_model, find_recipe, find_workload
from prunebench.workloads.dense import built
from prunebench.workloads.registry import architecture_of


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images by what they are for.

    Attributes:
        training, choosing: what fine-tuning trains on, and what plans and epochs are chosen by.
        reporting: test images that neither plan nor epoch was chosen by.
    """

    training: Examples
    choosing: Examples
    reporting: Examples


@dataclass(frozen=True, kw_only=True)
class Base:
    """The base model; `images` is None where its weights alone are needed."""

    workload: Workload
    model: nn.Module
    digest: str
    images: Images | None = None

    @property
    def inventory(self) -> Inventory:
        """The layers of the model and what they cost."""
        if self.images is None and self.workload.input_shape:
            return Inventory.of_model(self.model, self.workload.input_shape)
        examples = self.images.reporting if self.images else self.workload.data().test
        return Inventory.of_model(self.model, examples.fed(examples.inputs[:1]))


def load_base(request: Request, scan: Scan | None, progress: Progress) -> Base:
    """The base model, which has to be the one of `scan`, and its images unless weights in a file are all it takes.

    Raises:
        PlanError: it is another model than the scanned one.
    """
    workload = find_workload(request.workload)
    find_recipe(workload, request.recipe)
    if scan and {layer.name: layer.shape for layer in scan.layers} != _layers(workload):
        raise PlanError(
            f"the scan '{request.scan_file}' is of other layers, of a model called '{scan.model}', than "
            f"'{workload.name}' has in '{workload.model}': name the workload that was scanned with --workload"
        )
    images = None
    if request.checkpoint and not request.needs_images and not request.data:
        model, origin = built(workload), request.checkpoint.name
        load_checkpoint_(model, request.checkpoint)
        digest = state_digest(model.state_dict())
    else:
        device = resolve_device(request.device)
        progress.stage("data")
        data = workload.data(request.data, progress.loading)
        progress.stage("base model")
        dense = dense_model(workload, data, checkpoint=request.checkpoint, device=device, progress=progress)
        model, origin, digest = dense.model, dense.origin, dense.digest
        images = _shared_out(request, data)
    if scan and scan.model_digest != digest:
        raise PlanError(
            f"the scan '{request.scan_file}' is of other weights ({scan.model_digest[:12]}) than {origin} "
            f"({digest[:12]}): give the scanned model with --checkpoint, or scan this one"
        )
    return Base(workload=workload, model=model, digest=digest, images=images)


def _layers(workload: Workload) -> dict[str, list[int]]:
    """Shapes of a workload's prunable parameters by name, for which no weights are made."""
    with torch.device("meta"):
        return {name: list(weight.shape) for name, weight in prunable_parameters(built(workload)).items()}


def _shared_out(request: Request, data: Dataset) -> Images:
    training, reporting = data.train, data.test
    if request.choose_on == "validation":
        training, choosing = _split(training, request)
    else:
        reporting, choosing = _split(reporting, request)
    chosen = request.search or request.finetune
    return Images(training=training, choosing=choosing, reporting=reporting if chosen else data.test)


def _split(examples: Examples, request: Request) -> tuple[Examples, Examples]:
    return split_validation(examples, size=min(request.images, len(examples) // 2), seed=request.seed)


def by_rule(request: Request, inventory: Inventory, curves: Curves | None, base: Base | None) -> dict[str, float]:
    """Sparsity by layer, by the request's rule."""
    limit = request.limit(inventory)
    if request.rule not in FROM_SCAN:
        assert limit is not None, "the options were checked"
        open_, weights = _prunable(inventory, base)
        unpruned = {layer.name: layer.sparsity for layer in inventory.layers}
        return unpruned | open_.sparsity(_allocated(request.rule, open_, weights, limit))
    assert curves is not None, "the options were checked"
    if request.rule == "optimal":
        return optimal_plan(curves, request.goal(inventory), step=request.step)
    assert request.max_drop is not None, "the options were checked"
    if request.rule == "documented":
        cost, most = limit or ("size", None)
        return documented_reading(curves, max_drop=request.max_drop, cost=cost, limit=most)
    architecture = architecture_of(find_workload(request.workload))
    previous = dict(find_run(request.previous, architecture).sparsity) if request.previous else None
    return compounding(curves, max_drop=request.max_drop, previous=previous)


def _prunable(inventory: Inventory, base: Base | None) -> tuple[Inventory, dict[str, Tensor]]:
    """The inventory without the layers that the workload keeps dense, and the magnitudes of the others."""
    if base is None:
        return inventory, {}
    weights = prunable_parameters(base.model)
    open_ = inventory.without(kept_dense(base.workload, weights))
    return open_, {layer.name: weights[layer.name].detach().abs() for layer in open_.layers}


def _allocated(
    rule: str, inventory: Inventory, weights: Mapping[str, Tensor], limit: tuple[Cost, float]
) -> dict[str, int]:
    allocation = find_allocation(rule)

    def allocator(of: Inventory, nonzeros: int) -> dict[str, int]:
        return allocate(allocation, of, nonzeros, weights)

    return allocate_to_limit(allocator, inventory, cost=limit[0], limit=limit[1])


def searched(
    request: Request, inventory: Inventory, curves: Curves | None, base: Base, kept: Kept, progress: Progress
) -> tuple[Trial, list[Trial]]:
    """The best plan of --search, and its trials; those that the file of --json holds are not measured again."""
    assert base.images is not None, "a search needs images"
    limit = request.limit(inventory)
    assert limit is not None, "the options were checked"
    open_, weights = _prunable(inventory, base)
    starts = [_allocated(rule, open_, weights, limit) for rule in ("erk", "lamp")]
    if curves:
        starts.insert(0, open_.kept(optimal_plan(curves, request.goal(inventory), step=request.step)))
    progress.stage("measuring plans")
    with _measuring(request, base, progress) as measure:
        return search_plans(
            starts,
            measure,
            inventory=open_,
            cost=limit[0],
            limit=limit[1],
            evaluations=request.search,
            seed=request.seed,
            finished=kept.record.trials,
            on_trial=kept.add,
        )


@contextlib.contextmanager
def _measuring(request: Request, base: Base, progress: Progress) -> Iterator[MeasureAll]:
    """Measure plans in this process, or several at once in processes that share its threads."""
    assert base.images is not None, "measuring needs images"
    if request.workers == 1:
        yield partial(map, _measure(request, base, base.images.choosing, request.precision, progress))
        return
    threads = max(1, torch.get_num_threads() // request.workers)
    with LocalExecutor(workers=request.workers, threads=threads) as executor:
        yield lambda plans: in_order(executor, [partial(_measured, request, dict(plan)) for plan in plans])


def _measured(request: Request, sparsity: Mapping[str, float]) -> Measured:
    """Measure a plan in a process of its own, which loads the base model once."""
    base = _loaded(request)
    assert base.images is not None, "measuring needs images"
    return _measure(request, base, base.images.choosing, request.precision, Progress())(sparsity)


@lru_cache(maxsize=1)
def _loaded(request: Request) -> Base:
    return load_base(request, None, Progress())


def reported(request: Request, made: Plan, curves: Curves | None, base: Base, progress: Progress) -> Reported:
    """Measure the base model and the plan on the images that are reported."""
    assert base.images is not None, "measuring needs images"
    images = base.images.reporting
    progress.stage("evaluation of the base model")
    dense = evaluate(base.model, images, task=base.workload.task, progress=progress.evaluated).accuracy
    progress.stage("evaluation of the plan")
    measured = _measure(request, base, images, "fp32", progress)(made.sparsity)
    return Reported(
        images=len(images),
        base=dense,
        predicted=curves.predicted_accuracy(made.sparsity, base=dense) if curves else None,
        measured=measured.accuracy,
        finetuned=measured.finetuned,
    )


def _measure(request: Request, base: Base, images: Examples, precision: Precision, progress: Progress) -> Measure:
    finetune = _finetune(request, base, progress) if request.finetune else None
    task = base.workload.task
    return measure_on(
        base.model, images, task=task, finetune=finetune, precision=precision, progress=progress.evaluated
    )


def _finetune(request: Request, base: Base, progress: Progress) -> FineTune:
    assert base.images is not None, "fine-tuning needs images"
    images, recipe = base.images, _recipe(request, base)

    def finetune(model: nn.Module, masks: Masks) -> None:
        progress.stage("fine-tuning")
        train(
            model,
            images.training,
            recipe,
            selection=images.choosing,
            task=base.workload.task,
            seed=request.seed,
            precision=request.precision,
            masks=masks,
            state_folder=cache_folder() / "training",
            progress=progress,
        ).discard()

    return finetune


def _recipe(request: Request, base: Base) -> Recipe:
    return find_recipe(base.workload, request.recipe)[1].for_epochs(UNDOCUMENTED_EPOCHS)


class Kept:
    """The file of --json: what it holds from before, and what is added to it.

    Raises:
        RecordError: it holds something else than a plan, which is not to be overwritten.
    """

    def __init__(self, path: Path | None, on_trial: Callable[[Trial], None]) -> None:
        self.path, self.on_trial = path, on_trial
        self.record = read_plan(path) if path and path.is_file() else PlanRecord()

    def begin(self, request: Request, base: Base | None, scan: Scan | None) -> None:
        """Note what is measured, and how; trials of before, perhaps of hours, have to be of the same.

        Raises:
            PlanError: they are not.
        """
        digest = base.digest if base else scan.model_digest if scan else None
        same: dict[str, Any] = {"base_digest": digest}
        if base and request.needs_images:
            same["settings"] = _settings(request, base)
        if base and base.images and request.search:
            same["choosing_digest"] = base.images.choosing.digest
        if not self.record.trials:
            self.record = PlanRecord(**same)
        elif any(getattr(self.record, name) != value for name, value in same.items()):
            raise PlanError(
                f"'{self.path}' keeps what was measured of another model, on other images, in another precision or "
                "with other fine-tuning: choose another file for --json, or delete it"
            )

    def add(self, trial: Trial) -> None:
        """Keep a new trial, so that the same command goes on after it."""
        self.on_trial(trial)
        self.write(trials=[*self.record.trials, trial])

    def write(self, **changes: Any) -> None:
        """Write the file, where there is one, with these fields changed."""
        self.record = self.record.model_copy(update=changes)
        if self.path:
            write_plan(self.record, self.path)


def _settings(request: Request, base: Base) -> str:
    tuned = f"{_recipe(request, base)}, seed {request.seed}" if request.finetune else "not fine-tuned"
    return tuned if request.precision == "fp32" else f"{tuned}, {request.precision}"
