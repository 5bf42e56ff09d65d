"""The documented flow: dense model, prune, evaluate, fine-tune, evaluate, measure, record."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from prunebench.data import Dataset, Examples, split_validation
from prunebench.documented.floors import Figure, Floor
from prunebench.documented.method import ELEMENT, ONE_SHOT, Method
from prunebench.documented.runs import Cited, DocumentedRun, Run, run_digest
from prunebench.errors import (
    CheckpointError,
    DataError,
    MaskError,
    MissingExtraError,
    PlanError,
    UnknownNameError,
    WorkloadError,
)
from prunebench.experiments.deployment import Deployed, check_deployable, deployed
from prunebench.experiments.methods import MethodAtWork, at_work, folder_of
from prunebench.machine.devices import PRECISIONS, Precision, model_device, wait_for
from prunebench.machine.environment import environment
from prunebench.measure import count_macs, file_size_bytes, nominal_size_bits, nonzeros, weight_counts
from prunebench.models import (
    architecture_digest,
    as_array,
    channels_metadata,
    load_state,
    prunable_parameters,
    save_state,
    state_digest,
)
from prunebench.packing import packed_bytes
from prunebench.pruning import Evidence, Masks, SparsityPlan
from prunebench.pruning.schedules import PruningSchedule, find_pruning_schedule
from prunebench.records import (
    Accuracy,
    Checkpoints,
    Data,
    FineTuning,
    Histogram,
    Layer,
    MaskChange,
    Packed,
    RunRecord,
    Signature,
    Timings,
)
from prunebench.sensitivity import ScanProgress
from prunebench.storage.files import cache_folder
from prunebench.storage.revisions import provenance
from prunebench.tasks import CLASSIFICATION, Evaluation, Task, check_answers, check_right_or_wrong, evaluate
from prunebench.training import Pruner, Recipe, Training, TrainingProgress, check_recipe, recalibrate_, train
from prunebench.training.signature import joined, movement
from prunebench.workloads import (
    BUILT_IN,
    DOCUMENTED_RECIPE,
    UNDOCUMENTED_EPOCHS,
    DenseModel,
    Workload,
    dense_model,
    find_recipe,
)

VALIDATION_IMAGES = 0.1
"""Share of the training images held out where the epoch is chosen on a validation split."""


PRUNING_SAMPLES = 3
"""Times pruning is timed, before everything else of a run and, where `time_pruning` is called again, after it.

The gate fails where every new sample is slower than every old one. Samples of some milliseconds, taken one after the
other, are all slow in one bad moment of a shared machine.
"""


NEW_ZEROS = 1e-4
"""Share of the kept elements that fine-tuning may leave at zero by chance."""

SAME_SCORES = 1e-5
"""Relative difference of scores up to which two evaluations of the same weights are the same: a GPU may add in another
order."""


class Progress(TrainingProgress, ScanProgress):
    """Messages of a run to whoever watches; every method may be left as it is."""

    def loading(self, images: int) -> None:
        """`images` are decoded so far."""

    def stage(self, name: str) -> None:
        """A stage begins: `dense training`, `evaluation of the dense model`, ..."""

    def evaluated(self, images: int, total: int) -> None:
        """`images` of `total` are evaluated."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Things that several runs share: the data, the dense model and its answers, and how to fine-tune.

    Attributes:
        recipe_name, recipe: what fine-tunes; where it names no epochs, each run's own count.
    """

    workload: Workload
    recipe_name: str
    recipe: Recipe
    data: Dataset
    dense: DenseModel
    dense_evaluation: Evaluation
    device: torch.device
    precision: Precision
    seed: int
    select_on: Literal["test", "validation"]

    def recipe_for(self, run: Run) -> Recipe:
        """The recipe that fine-tunes `run`, epochs and all."""
        return self.recipe.for_epochs(run.epochs or UNDOCUMENTED_EPOCHS)

    def is_documented(self, run: Run) -> bool:
        """True where `run` is fine-tuned as documented, to the last setting; anything else is not to be called so."""
        documented = DOCUMENTED_RECIPE.for_epochs(run.epochs) if run.epochs is not None else None
        return documented == self.recipe_for(run) and self.select_on == "test" and run.method == Method()


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """A pruned copy of the dense model and the masks it obeys.

    Attributes:
        method: that chose them, by `evidence` of the dense model.
        seconds: samples of the time that pruning takes, in the order they were taken.
    """

    model: nn.Module
    masks: Masks
    method: MethodAtWork
    evidence: Evidence
    seconds: list[float]


def prepare(
    workload: Workload,
    recipe: str | None = None,
    *,
    data_path: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: torch.device | None = None,
    precision: Precision = "fp32",
    seed: int = 0,
    select_on: Literal["test", "validation"] = "test",
    test_images: int | None = None,
    progress: Progress | None = None,
) -> Setting:
    """Load the data, load or train the dense model, and evaluate it.

    Args:
        recipe: the name of the workload's recipe that will fine-tune; its first by default.
        data_path: in the place of the workload's own data, where it reads from a path.
        checkpoint: in the place of the workload's own dense weights.
        test_images: ask only so many (`Dataset.with_test_images`); the record is of other data then.

    Raises:
        UnknownNameError: no such recipe, precision or `select_on`.
        WorkloadError: the workload has the name of one of prunebench's own.
        DataError, CheckpointError, ModelError: the data or the dense model cannot be had or used.
        TrainingError: a value of the recipe that cannot be.
    """
    _check_choices(precision, select_on)
    if BUILT_IN.get(workload.name, workload) is not workload:  # whose floors and tolerances would be taken for its own
        raise WorkloadError(f"'{workload.name}' is a workload of prunebench's own: give yours another name")
    name, found = find_recipe(workload, recipe)
    check_recipe(found)
    check_right_or_wrong(workload.task)
    progress = progress or Progress()
    progress.stage("data")
    data = workload.data(Path(data_path) if data_path else None, progress.loading)
    if not isinstance(data, Dataset):
        raise DataError(f"workload '{workload.name}' gives a {type(data).__name__}: expected a prunebench.Dataset")
    if data.train.shape != data.test.shape:
        raise DataError(
            f"training inputs have shape {data.train.shape}, test inputs {data.test.shape}: expected one shape"
        )
    asked = data if test_images is None else data.with_test_images(test_images)  # refused before a dense training
    progress.stage("dense model")
    path = Path(checkpoint) if checkpoint else None
    dense = dense_model(workload, data, checkpoint=path, device=device, progress=progress)
    check_answers(dense.model, data.train, task=workload.task)
    count_macs(dense.model, _example(asked))  # what cannot be counted is said now, and not after fine-tuning
    progress.stage("evaluation of the dense model")
    return Setting(
        workload=workload,
        recipe_name=name,
        recipe=found,
        data=asked,
        dense=dense,
        dense_evaluation=evaluate(dense.model, asked.test, task=workload.task, progress=progress.evaluated),
        device=model_device(dense.model),
        precision=precision,
        seed=seed,
        select_on=select_on,
    )


def _example(data: Dataset) -> Tensor:
    return data.test.fed(data.test.inputs[:1])


def example_of(setting: Setting) -> Tensor:
    """One test input as the model gets it, (1, ...)."""
    return _example(setting.data)


def _check_choices(precision: str, select_on: str) -> None:
    for name, value, allowed in (
        ("precision", precision, PRECISIONS),
        ("select_on", select_on, ("test", "validation")),
    ):
        if value not in allowed:
            raise UnknownNameError(name, value, allowed)


def images_to_scan(data: Dataset, *, on: Literal["test", "validation"], limit: int | None, seed: int) -> Examples:
    """The test images, or the validation split that fine-tuning can choose its epoch on; `limit` of them, by `seed`.

    Raises:
        DataError: there are fewer than `limit`.
    """
    images = data.test
    if on == "validation":
        _, images = split_validation(data.train, size=round(VALIDATION_IMAGES * len(data.train)), seed=seed)
    if limit is None:
        return images
    if limit > len(images):
        raise DataError(f"images must be at most the {len(images):,} there are, got {limit:,}")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images.take(order[:limit].sort().values)


def execute(
    run: Run,
    setting: Setting,
    *,
    finetune: bool = True,
    save: Path | None = None,
    keep: Callable[[RunRecord], object] | None = None,
    progress: Progress | None = None,
) -> RunRecord:
    """Execute one run from the dense model to its record.

    Args:
        save: where the weights go, as safetensors: the best epoch's, or the pruned ones without fine-tuning.
        keep: called with the record while fine-tuning can still be taken up: where it raises, no epoch is lost.

    Raises:
        PlanError, UnknownNameError: the run's table does not fit the workload's model.
        TrainingError: fine-tuning diverged.
        CheckpointError, MaskError: what would be kept is not what was judged.
        RecordError: what was measured contradicts itself.
    """
    progress = progress or Progress()
    check_deployable(run)
    pruned = prune(run, setting)
    progress.stage("evaluation of the pruned model")
    before = evaluate(pruned.model, setting.data.test, task=setting.workload.task, progress=progress.evaluated)
    training = None
    if finetune:
        progress.stage("fine-tuning")
        training = fine_tune(run, setting, pruned, progress=progress)
    measured = record(run, setting, time_pruning(run, setting, pruned), before, training, deploy=True)
    if save:
        state = training.best_state if training else pruned.model.state_dict()
        save_state(state, save, metadata=channels_metadata(setting.dense.model))
        check_file(save, state)
    if keep:
        keep(measured)
    if training:
        training.discard()
    return measured


def prune(run: Run, setting: Setting) -> Pruned:
    """Prune a copy of the dense model by the run's table, and then some more for the time it takes."""
    model = copy.deepcopy(setting.dense.model)
    method = method_of(run, setting)
    evidence = method.dense_evidence(setting.dense.model)
    plan = SparsityPlan(run.sparsity)
    chosen = method.prune_(model, plan, evidence)  # the first time touches new memory: not timed
    # All zeros, not only those chosen: of a model that was pruned before, those that the table would give back would
    # come to life in fine-tuning, and the sizes of the record are those of the pruned model.
    masks = Masks.of_zeros(model, chosen)
    if run.method.recalibrated:
        recalibrate_(model, setting.data.train, seed=setting.seed)
    pruned = Pruned(model=model, masks=masks, method=method, evidence=evidence, seconds=[])
    return time_pruning(run, setting, pruned)


def method_of(run: Run, setting: Setting) -> MethodAtWork:
    """The run's method at work on the setting."""
    return at_work(run.method, setting.workload, setting.data.train, example_of(setting), seed=setting.seed)


def time_pruning(run: Run, setting: Setting, pruned: Pruned) -> Pruned:
    """Prune copies of the dense model for the time it takes, and add the samples to those of `pruned`."""
    seconds = [*pruned.seconds]
    for _ in range(PRUNING_SAMPLES):
        model = copy.deepcopy(setting.dense.model)
        wait_for(setting.device)
        start = time.perf_counter()
        pruned.method.prune_(model, SparsityPlan(run.sparsity), pruned.evidence)
        wait_for(setting.device)
        seconds.append(time.perf_counter() - start)
    return replace(pruned, seconds=seconds)


def fine_tune(run: Run, setting: Setting, pruned: Pruned, *, progress: TrainingProgress | None = None) -> Training:
    """Fine-tune a copy of the pruned model by the setting's recipe; a stopped one goes on where it was.

    By another pruning schedule than one-shot the dense model is trained, and pruned meanwhile. Call `Training.discard`
    once the results are kept.
    """
    examples, selection = _training_examples(setting)
    pruner, recipe = pruner_of(run, setting, pruned), setting.recipe_for(run)
    return train(
        copy.deepcopy(begun_with(run, setting, pruned)),
        examples,
        recipe,
        selection=selection,
        task=setting.workload.task,
        seed=setting.seed,
        precision=setting.precision,
        masks=None if pruner else pruned.masks,
        pruner=pruner,
        teacher=setting.dense.model if recipe.distillation else None,
        state_folder=cache_folder() / "training",
        progress=progress,
    )


def pruner_of(run: Run, setting: Setting, pruned: Pruned) -> Pruner | None:
    """The pruner that works while the model is trained; None where all is pruned before.

    Raises:
        UnknownNameError, ImportedNameError, PlanError: the pruning schedule cannot be found, has other settings, or
            grows elements where others are pruned.
        CheckpointError: the early weights cannot be read.
    """
    if run.method.pruning_schedule == ONE_SHOT:
        return None
    schedule = find_pruning_schedule(
        run.method.pruning_schedule, run.method.schedule_settings, folder=folder_of(setting.workload)
    )
    regrows = type(schedule).dropped is not PruningSchedule.dropped
    if regrows and run.method.granularity != ELEMENT:
        raise PlanError(
            f"pruning schedule '{schedule.name}' grows single elements: expected granularity '{ELEMENT}', got "
            f"'{run.method.granularity}'"
        )
    early = load_state(run.early) if run.early else None
    return Pruner(schedule=schedule, final=SparsityPlan(run.sparsity), chooser=pruned.method, early=early)


def begun_with(run: Run, setting: Setting, pruned: Pruned) -> nn.Module:
    """The model that fine-tuning begins with."""
    return pruned.model if run.method.pruning_schedule == ONE_SHOT else setting.dense.model


def _training_examples(setting: Setting) -> tuple[Examples, Examples]:
    """Those that are trained on, and those that the epoch is chosen on."""
    examples = setting.data.train
    if setting.select_on == "validation":
        return split_validation(examples, size=round(VALIDATION_IMAGES * len(examples)), seed=setting.seed)
    return examples, setting.data.test


def record(
    run: Run,
    setting: Setting,
    pruned: Pruned,
    before: Evaluation,
    training: Training | None = None,
    *,
    deploy: bool = False,
) -> RunRecord:
    """Everything that was measured, in the form that is kept.

    Args:
        deploy: measure what the run asks for of the model that is kept (`Run.measures`).

    Raises:
        RecordError: it contradicts itself, so that something was measured wrongly.
    """
    dense, data = setting.dense, setting.data
    counts = nonzeros(pruned.model)
    macs = count_macs(pruned.model, _example(data))
    finetuning = _fine_tuning(run, setting, pruned, training) if training else None
    before_pruning = prunable_parameters(dense.model)
    kept = _with_state(pruned.model, training.best_state) if training else pruned.model
    use = deployed(run, dense.model, kept, data, task=setting.workload.task) if deploy else Deployed()
    made = RunRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        run=run.name,
        run_digest=run_digest(run),
        model=model_name(setting),
        architecture=architecture_digest(dense.model),
        workload=setting.workload.name,
        task=setting.workload.task.name,
        recipe=setting.recipe_name,
        as_documented=setting.is_documented(run),
        method=run.method,
        evidence=pruned.evidence.digest or None,
        seed=setting.seed,
        precision=setting.precision,
        data=Data(name=data.name, digest=data.digest, train_images=len(data.train), test_images=len(data.test)),
        checkpoints=Checkpoints(
            origin=dense.origin,
            is_course_checkpoint=dense.is_course_checkpoint,
            is_own=dense.is_own,
            source=dense.source,
            licence=dense.licence,
            dense=dense.digest,
            pruned=state_digest(pruned.model.state_dict()),
            best=state_digest(training.best_state) if training else None,
            last=state_digest(training.last_state) if training else None,
        ),
        layers=[
            Layer(
                name=name,
                shape=list(weight.shape),
                sparsity=float(run.sparsity[name]),
                nonzeros=counts[name],
                macs=macs[name],
                histogram=_histogram(
                    dense=before_pruning[name], pruned=weight, finetuned=training.best_state[name] if training else None
                ),
            )
            for name, weight in prunable_parameters(pruned.model).items()
        ],
        floors=[],
        masks_digest=pruned.masks.digest,
        elements=sum(parameter.numel() for parameter in pruned.model.parameters()),
        dense_nonzeros=nonzeros(dense.model),
        nonzeros=counts,
        dense_size_bits=nominal_size_bits(dense.model),
        pruned_size_bits=nominal_size_bits(pruned.model),
        dense_file_bytes=file_size_bytes(dense.model.state_dict()),
        pruned_file_bytes=file_size_bytes(pruned.model.state_dict()),
        dense_accuracy=Accuracy.of(setting.dense_evaluation),
        pruned_accuracy=Accuracy.of(before),
        finetuning=finetuning,
        packed=_packed(pruned, training),
        shrunk=use.shrunk,
        exported=use.exported,
        latency=use.latency,
        timings=Timings(
            prune=pruned.seconds,
            evaluate=[setting.dense_evaluation.seconds, before.seconds, *_later_evaluations(setting, training)],
            epochs=[epoch.seconds for epoch in training.epochs] if training else [],
        ),
        environment=environment(setting.device),
        **provenance(),
    )
    floors = [*_documented_sizes(run), *run.floors, *setting.workload.floors(made)]
    return RunRecord(**dict(made) | {"floors": floors})


def _packed(pruned: Pruned, training: Training | None) -> Packed | None:
    """The bytes of the sparse files; None where the extra `pack` is not installed."""
    try:
        return Packed(
            pruned=packed_bytes(pruned.model.state_dict()),
            best=packed_bytes(training.best_state) if training else None,
            versions={name: metadata.version(name) for name in ("constriction", "zstandard")},
        )
    except MissingExtraError:
        return None


def _histogram(*, dense: Tensor, pruned: Tensor, finetuned: Tensor | None) -> Histogram | None:
    """The histogram of a layer; None where a weight is infinite, which has no place in a bin."""
    stages = {"dense": dense, "pruned": pruned, "finetuned": finetuned}
    weights = {stage: as_array(weight) for stage, weight in stages.items() if weight is not None}
    largest = max(float(max(-array.min(initial=0), array.max(initial=0))) for array in weights.values())
    if not math.isfinite(largest):
        return None
    counts = {stage: " ".join(map(str, weight_counts(array, largest))) for stage, array in weights.items()}
    return Histogram(largest=largest, **counts)


def model_name(setting: Setting) -> str:
    """The name of the model in records."""
    return setting.workload.model or type(setting.dense.model).__name__


def _documented_sizes(run: Run) -> Iterator[Floor]:
    """Documented sizes hold within half of their last printed digit."""
    if not isinstance(run, DocumentedRun) or run.method.granularity != ELEMENT:
        return
    documented: tuple[tuple[Figure, Cited | None], ...] = (
        ("size_mib", run.size_mib),
        ("size_percent", run.size_percent),
    )
    for figure, cited in documented:
        if cited is not None:
            least, most = (float(cited.value + side * cited.tolerance) for side in (-1, 1))
            rule = f"documented {cited.value}, within {cited.tolerance} (half of the last printed digit)"
            yield Floor(figure=figure, least=least, most=most, rule=rule)


def _fine_tuning(run: Run, setting: Setting, pruned: Pruned, training: Training) -> FineTuning:
    task = setting.workload.task
    _, selection = _training_examples(setting)
    masks = pruned.masks if training.masks is None else training.masks.to(setting.device)
    for state, judged in (
        (training.best_state, training.best.evaluation),
        (training.last_state, training.last.evaluation),
    ):
        check_kept(
            state,
            judged,
            pruned=replace(pruned, masks=masks),
            selection=selection,
            task=task,
            regrown=any(change.grown for change in training.trace),
        )
    best, last = training.best.evaluation, training.last.evaluation
    if setting.select_on == "validation":  # the epochs were evaluated on the validation split alone
        best, last = (
            evaluate(_with_state(pruned.model, state), setting.data.test, task=task)
            for state in (training.best_state, training.last_state)
        )
    return FineTuning(
        settings=json.loads(json.dumps(asdict(setting.recipe_for(run)))),  # as it reads back: JSON has no tuples
        selected_on=setting.select_on,
        losses=[epoch.loss for epoch in training.epochs],
        selection_accuracies=[epoch.evaluation.accuracy for epoch in training.epochs],
        best_epoch=training.best.number,
        best=Accuracy.of(best),
        last=Accuracy.of(last),
        resumed_after=training.resumed_after,
        signature=_signature(begun_with(run, setting, pruned), training),
        first_final=training.first_final,
        trace=[MaskChange(**asdict(change)) for change in training.trace],
    )


def _signature(begun: nn.Module, training: Training) -> Signature:
    tallies = [epoch.tally for epoch in training.epochs]
    parameters = [name for name, _ in begun.named_parameters()]
    moved = movement(begun.state_dict(), training.last_state, parameters=parameters)
    return Signature(
        steps=sum(tally.steps for tally in tallies),
        images=sum(tally.images for tally in tallies),
        learning_rates=[tally.learning_rate for tally in tallies],
        optimizer=dict(tallies[-1].optimizer),
        scores_dtype=", ".join(sorted({tally.scores_dtype for tally in tallies})),
        images_digest=joined(tally.images_digest for tally in tallies),
        labels_digest=joined(tally.labels_digest for tally in tallies),
        distance=moved.distance,
        length=moved.length,
        statistics=moved.statistics,
    )


def check_file(path: Path, state: Mapping[str, Tensor]) -> None:
    """Read the weights that were written to `path` again.

    Raises:
        CheckpointError: they are not those of `state`.
    """
    if state_digest(load_file(path)) != state_digest(state):
        raise CheckpointError(f"'{path}' does not hold the weights that were written to it: write it again")


def check_kept(
    state: Mapping[str, Tensor],
    judged: Evaluation,
    *,
    pruned: Pruned,
    selection: Examples,
    task: Task = CLASSIFICATION,
    regrown: bool = False,
) -> None:
    """Load the weights that are kept, and ask them again: zeros and scores are those that were judged.

    Args:
        regrown: kept elements may be zero, as those are that grew where no gradient is.

    Raises:
        MaskError: a pruned element is not zero, or kept ones are.
        CheckpointError: other scores.
    """
    model = _with_state(pruned.model, state)
    pruned.masks.check(model)
    weights = dict(model.named_parameters())
    for name, mask in pruned.masks.items():
        zeros, kept = int((mask & (weights[name] == 0)).sum()), int(mask.sum())
        if zeros > 1 + kept * NEW_ZEROS and not regrown:  # an update may hit zero: a weight in millions does
            raise MaskError(f"fine-tuning made {zeros:,} of {kept:,} kept elements of '{name}' zero: expected none")
    assert judged.first_outputs is not None, "epochs are evaluated by `evaluate`"
    first = selection.take(torch.arange(len(judged.first_outputs)))
    again = evaluate(model, first, task=task).first_outputs
    assert again is not None, "as above"
    difference = float((again - judged.first_outputs).abs().max())
    if not difference <= SAME_SCORES * float(judged.first_outputs.abs().max()):
        raise CheckpointError(
            f"the kept weights are not those that were judged: asked again, scores of {len(first):,} images differ by "
            f"up to {difference:.3g}"
        )


def _with_state(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    loaded = copy.deepcopy(model)
    loaded.load_state_dict(dict(state))
    return loaded


def _later_evaluations(setting: Setting, training: Training | None) -> list[float]:
    """Seconds of those on all test images by this process: of every epoch, unless a split chose the epoch."""
    if training is None or setting.select_on == "validation":
        return []
    return [epoch.evaluation.seconds for epoch in training.epochs[training.resumed_after :]]
