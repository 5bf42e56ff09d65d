"""The documented flow: dense model, prune, evaluate, fine-tune, evaluate, measure, record."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from prunebench.data import Dataset, ImageSet, split_validation
from prunebench.devices import PRECISIONS, Precision, model_device, wait_for
from prunebench.environment import environment
from prunebench.errors import CheckpointError, DataError, MaskError, UnknownNameError
from prunebench.evaluation import Evaluation, check_answers, evaluate
from prunebench.files import cache_folder
from prunebench.layout import lay_out_
from prunebench.measure import count_macs, file_size_bytes, nominal_size_bits, nonzeros
from prunebench.models import check_model, copied, in_float32, prunable_parameters, save_state, state_digest
from prunebench.pruning import Masks, prune_
from prunebench.records import Accuracy, Checkpoints, Data, FineTuning, Layer, RunRecord, Signature, Timings
from prunebench.records.provenance import run_digest
from prunebench.revisions import provenance
from prunebench.runs import DocumentedRun
from prunebench.sensitivity import ScanProgress
from prunebench.signature import joined, movement
from prunebench.training import Protocol, Training, TrainingProgress, check_protocol, train
from prunebench.workloads import Budget, DenseModel, Workload

VALIDATION_IMAGES = 0.1
"""Share of the training images held out where the epoch is chosen on a validation split."""


PRUNING_SAMPLES = 3
"""Times pruning is timed, before everything else of a run and again after it.

The gate fails where every new sample is slower than every old one. Samples of some milliseconds, taken one after the
other, are all slow in one bad moment of a shared machine.
"""


NEW_ZEROS = 1e-4
"""Share of the kept elements that fine-tuning may leave at zero by chance."""

SAME_SCORES = 1e-5
"""Relative difference of scores up to which two evaluations of the same weights are the same: a GPU may add in another
order."""


class Progress(TrainingProgress, ScanProgress):
    """What a run tells whoever watches; every method may be left as it is."""

    def loading(self, images: int) -> None:
        """`images` are decoded so far."""

    def stage(self, name: str) -> None:
        """A stage begins: `dense training`, `evaluation of the dense model`, ..."""

    def evaluated(self, images: int, total: int) -> None:
        """`images` of `total` are evaluated."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What several runs share: the data, the dense model and its answers."""

    workload: Workload
    budget: Budget
    data: Dataset
    dense: DenseModel
    dense_evaluation: Evaluation
    device: torch.device
    precision: Precision
    seed: int
    select_on: Literal["test", "validation"]


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """A pruned copy of the dense model and the masks it obeys.

    Attributes:
        seconds: what pruning took, each time it was timed.
    """

    model: nn.Module
    masks: Masks
    seconds: list[float]


def prepare(
    workload: Workload,
    budget: Budget,
    *,
    data_path: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: torch.device,
    precision: Precision = "fp32",
    seed: int = 0,
    select_on: Literal["test", "validation"] = "test",
    progress: Progress | None = None,
) -> Setting:
    """Load the data, load or train the dense model, and evaluate it.

    Raises:
        DataError, CheckpointError: there is none, or it cannot be used.
    """
    _check_choices(precision, select_on)
    progress = progress or Progress()
    progress.stage("data")
    data = workload.load(Path(data_path) if data_path else None, progress.loading)
    progress.stage("dense model")
    path = Path(checkpoint) if checkpoint else None
    dense = workload.dense_model(data, checkpoint=path, device=device, progress=progress)
    progress.stage("evaluation of the dense model")
    return Setting(
        workload=workload,
        budget=budget,
        data=data,
        dense=dense,
        dense_evaluation=evaluate(dense.model, data.test, progress=progress.evaluated),
        device=device,
        precision=precision,
        seed=seed,
        select_on=select_on,
    )


def own_setting(
    model: nn.Module,
    data: Dataset,
    protocol: Protocol,
    *,
    budget: str = "own",
    model_name: str = "",
    origin: str = "",
    precision: Precision = "fp32",
    seed: int = 0,
    select_on: Literal["test", "validation"] = "test",
    progress: Progress | None = None,
) -> Setting:
    """The setting of runs that start from a trained `model` of your own, on the device it is on; it is left as it is.

    Args:
        model: takes images in [0, 1], (n, channels, height, width), and gives a score a class: normalise inside it.
            Inside a wrapper (`torch.compile`, DataParallel, AveragedModel) the module itself is taken, and weights that
            are not float32 are made so, which the origin says.
        protocol: what fine-tunes the pruned model.
        budget: what case ids call `protocol`: `DATA/RUN-BUDGET`.
        model_name: what records call the model; its class by default.
        origin: where the weights are from, for people.

    Raises:
        DataError, ModelError: the model cannot be pruned (`prunebench.models.check_model`), copied, or asked about
            these images, training or test.
        TrainingError, UnknownNameError: a value of the protocol, precision or `select_on` that cannot be.
    """
    _check_choices(precision, select_on)
    check_protocol(protocol)
    own, note = in_float32(copied(check_model(model)))
    for images in (data.test, data.train):
        check_answers(own, images)
    if data.train.images.shape[1:] != data.test.images.shape[1:]:
        shapes = (tuple(images.images.shape[1:]) for images in (data.train, data.test))
        raise DataError("training images have shape {}, test images {}: expected one shape".format(*shapes))
    count_macs(own, tuple(data.test.images.shape[1:]))  # type: ignore[arg-type]  # now, not after fine-tuning
    workload = Workload(
        name=data.name,
        model=model_name or type(own).__name__,
        load=lambda _path, _progress: data,
        dense_protocol=protocol,
        trains_itself=False,
        builtin=False,
        budgets={budget: Budget(name=budget, protocol=protocol, documented_epochs=False)},
        image_shape=tuple(data.test.images.shape[1:]),  # type: ignore[arg-type]
    )
    device, digest = model_device(own), state_digest(own.state_dict())
    origin = "; ".join(filter(None, (origin, note)))
    dense = DenseModel(model=lay_out_(own, data.test), origin=origin, digest=digest)
    return Setting(
        workload=workload,
        budget=workload.budget(budget),
        data=data,
        dense=dense,
        dense_evaluation=evaluate(dense.model, data.test, progress=progress.evaluated if progress else None),
        device=device,
        precision=precision,
        seed=seed,
        select_on=select_on,
    )


def _check_choices(precision: str, select_on: str) -> None:
    for name, value, allowed in (
        ("precision", precision, PRECISIONS),
        ("select_on", select_on, ("test", "validation")),
    ):
        if value not in allowed:
            raise UnknownNameError(name, value, allowed)


def images_to_scan(data: Dataset, *, on: Literal["test", "validation"], limit: int | None, seed: int) -> ImageSet:
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
    run: DocumentedRun,
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
    """
    progress = progress or Progress()
    pruned = prune(run, setting)
    progress.stage("evaluation of the pruned model")
    before = evaluate(pruned.model, setting.data.test, progress=progress.evaluated)
    training = None
    if finetune:
        progress.stage("fine-tuning")
        training = fine_tune(run, setting, pruned, progress=progress)
    measured = record(run, setting, pruned, before, training)
    if save:
        state = training.best_state if training else pruned.model.state_dict()
        save_state(state, save)
        check_file(save, state)
    if keep:
        keep(measured)
    if training:
        training.discard()
    return measured


def prune(run: DocumentedRun, setting: Setting) -> Pruned:
    """Prune a copy of the dense model by the run's table, and then some more for the time it takes."""
    model = copy.deepcopy(setting.dense.model)
    chosen = prune_(model, run.sparsity)  # the first time touches new memory: not timed
    # All zeros, not only those chosen: of a model that was pruned before, those that the table would give back would
    # come to life in fine-tuning, and the sizes of the record are those of the pruned model.
    masks = Masks.of_zeros(model, chosen)
    return Pruned(model=model, masks=masks, seconds=_time_pruning(run, setting))


def _time_pruning(run: DocumentedRun, setting: Setting) -> list[float]:
    seconds = []
    for _ in range(PRUNING_SAMPLES):
        model = copy.deepcopy(setting.dense.model)
        wait_for(setting.device)
        start = time.perf_counter()
        prune_(model, run.sparsity)
        wait_for(setting.device)
        seconds.append(time.perf_counter() - start)
    return seconds


def fine_tune(
    run: DocumentedRun, setting: Setting, pruned: Pruned, *, progress: TrainingProgress | None = None
) -> Training:
    """Fine-tune a copy of the pruned model by the budget's protocol; a stopped one goes on where it was.

    Call `Training.discard` once the results are kept.
    """
    images, selection = _training_images(setting)
    return train(
        copy.deepcopy(pruned.model),
        images,
        setting.budget.protocol_for(run),
        selection=selection,
        seed=setting.seed,
        precision=setting.precision,
        masks=pruned.masks,
        state_folder=cache_folder() / "training",
        progress=progress,
    )


def _training_images(setting: Setting) -> tuple[ImageSet, ImageSet]:
    """Those that are trained on, and those that the epoch is chosen on."""
    images = setting.data.train
    if setting.select_on == "validation":
        return split_validation(images, size=round(VALIDATION_IMAGES * len(images)), seed=setting.seed)
    return images, setting.data.test


def record(
    run: DocumentedRun, setting: Setting, pruned: Pruned, before: Evaluation, training: Training | None = None
) -> RunRecord:
    """Everything that was measured, in the form that is kept; pruning is timed once more."""
    dense, data = setting.dense, setting.data
    counts = nonzeros(pruned.model)
    macs = count_macs(pruned.model, tuple(data.test.images.shape[1:]))  # type: ignore[arg-type]
    finetuning = _fine_tuning(run, setting, pruned, training) if training else None
    return RunRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        run=run.name,
        run_digest=run_digest(run),
        model=setting.workload.model,
        workload=setting.workload.name,
        builtin=setting.workload.builtin,
        budget=setting.budget.name,
        full_protocol=setting.budget.is_documented(run) and setting.select_on == "test",
        seed=setting.seed,
        precision=setting.precision,
        data=Data(name=data.name, digest=data.digest, train_images=len(data.train), test_images=len(data.test)),
        checkpoints=Checkpoints(
            origin=dense.origin,
            is_course_checkpoint=dense.is_course_checkpoint,
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
            )
            for name, weight in prunable_parameters(pruned.model).items()
        ],
        masks_digest=pruned.masks.digest,
        elements=sum(parameter.numel() for parameter in pruned.model.parameters()),
        dense_nonzeros=nonzeros(dense.model),
        nonzeros=counts,
        dense_size_bits=nominal_size_bits(dense.model),
        pruned_size_bits=nominal_size_bits(pruned.model),
        dense_file_bytes=file_size_bytes(dense.model.state_dict()),
        pruned_file_bytes=file_size_bytes(pruned.model.state_dict()),
        dense_accuracy=_accuracy(setting.dense_evaluation),
        pruned_accuracy=_accuracy(before),
        finetuning=finetuning,
        timings=Timings(
            prune=[*pruned.seconds, *_time_pruning(run, setting)],
            evaluate=[setting.dense_evaluation.seconds, before.seconds, *_later_evaluations(setting, training)],
            epochs=[epoch.seconds for epoch in training.epochs] if training else [],
        ),
        environment=environment(setting.device),
        **provenance(),
    )


def _fine_tuning(run: DocumentedRun, setting: Setting, pruned: Pruned, training: Training) -> FineTuning:
    _, selection = _training_images(setting)
    check_kept(training.best_state, training.best.evaluation, pruned=pruned, selection=selection)
    check_kept(training.last_state, training.last.evaluation, pruned=pruned, selection=selection)
    best, last = training.best.evaluation, training.last.evaluation
    if setting.select_on == "validation":  # the epochs were evaluated on the validation split alone
        best, last = (
            evaluate(_with_state(pruned.model, state), setting.data.test)
            for state in (training.best_state, training.last_state)
        )
    return FineTuning(
        protocol=asdict(setting.budget.protocol_for(run)),
        selected_on=setting.select_on,
        losses=[epoch.loss for epoch in training.epochs],
        selection_accuracies=[epoch.evaluation.accuracy for epoch in training.epochs],
        best_epoch=training.best.number,
        best=_accuracy(best),
        last=_accuracy(last),
        resumed_after=training.resumed_after,
        signature=_signature(pruned, training),
    )


def _signature(pruned: Pruned, training: Training) -> Signature:
    tallies = [epoch.tally for epoch in training.epochs]
    parameters = [name for name, _ in pruned.model.named_parameters()]
    moved = movement(pruned.model.state_dict(), training.last_state, parameters=parameters)
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


def check_kept(state: Mapping[str, Tensor], judged: Evaluation, *, pruned: Pruned, selection: ImageSet) -> None:
    """Load the weights that are kept, and ask them again: zeros and scores are those that were judged.

    Raises:
        MaskError: a pruned element is not zero, or kept ones are.
        CheckpointError: other scores.
    """
    model = _with_state(pruned.model, state)
    pruned.masks.check(model)
    weights = dict(model.named_parameters())
    for name, mask in pruned.masks.items():
        zeros, kept = int((mask & (weights[name] == 0)).sum()), int(mask.sum())
        if zeros > 1 + kept * NEW_ZEROS:  # an update may hit zero: a weight in millions does
            raise MaskError(f"fine-tuning made {zeros:,} of {kept:,} kept elements of '{name}' zero: expected none")
    assert judged.first_scores is not None, "epochs are evaluated by `evaluate`"
    first = selection.take(torch.arange(len(judged.first_scores)))
    again = evaluate(model, first).first_scores
    assert again is not None, "as above"
    difference = float((again - judged.first_scores).abs().max())
    if not difference <= SAME_SCORES * float(judged.first_scores.abs().max()):
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


def _accuracy(evaluation: Evaluation) -> Accuracy:
    return Accuracy(
        correct=evaluation.correct_count,
        images=evaluation.count,
        correct_bits=evaluation.correct_bits,
        predictions_digest=evaluation.digest,
    )
