"""The one training loop: dense training, fine-tuning under masks, and pruning. Resumable after every epoch.

A stopped training goes on from its last whole epoch and, on the CPU, ends in the same bytes as one that was never
stopped: order and augmentation are drawn anew for each epoch from (seed, epoch), and everything else is in the state.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR

from prunebench.data import Examples, training_batches
from prunebench.errors import CheckpointError, TrainingError
from prunebench.machine.devices import Precision, arithmetic, evaluation_mode, model_device, seeded
from prunebench.machine.environment import ARITHMETIC, exact_fingerprint
from prunebench.models import prunable_parameters, state_digest
from prunebench.pruning import Masks
from prunebench.storage.files import check_writable, replacing, sweep
from prunebench.tasks import CLASSIFICATION, Evaluation, Task, ask, evaluate, forward_digest, task_key
from prunebench.training.pruner import MaskChange, Pruner, Pruning, revivals
from prunebench.training.recipe import Recipe, check_recipe
from prunebench.training.signature import Tally, Tallying


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One finished epoch.

    Attributes:
        number: from 1.
        loss: mean training loss.
        evaluation: on the images that choose the best epoch, by the weights at the end of this one.
        seconds: training alone, without the evaluation.
        tally: what was done in it.
    """

    number: int
    loss: float
    evaluation: Evaluation
    seconds: float
    tally: Tally


@dataclass(frozen=True, kw_only=True)
class Training:
    """The result of a training: epochs, and the weights after the best and the last.

    Attributes:
        epochs: every epoch in order.
        best_state, last_state: parameters and buffers after the best and the last epoch, on the CPU.
        resumed_after: the epoch an earlier, stopped process had reached; 0 where none had.
        state_file: what the training could be taken up from, as long as its results are kept nowhere else.
        masks: at the end, on the CPU; None where there are none.
        trace: every change of the masks, where a pruner changed them.
        first_final: the first epoch that ended with the masks of the end.
    """

    epochs: tuple[Epoch, ...]
    best_state: Mapping[str, Tensor]
    last_state: Mapping[str, Tensor]
    resumed_after: int
    state_file: Path | None = None
    masks: Masks | None = None
    trace: tuple[MaskChange, ...] = ()
    first_final: int = 1

    def discard(self) -> None:
        """Remove the state file: the results are kept."""
        if self.state_file is not None:
            self.state_file.unlink(missing_ok=True)

    @property
    def best(self) -> Epoch:
        """The epoch with the most images right, the earliest of equals.

        Only epochs count that ended with the masks of the end: before, a denser model was judged.
        """
        return max(self.epochs[self.first_final - 1 :], key=lambda epoch: epoch.evaluation.correct_count)

    @property
    def last(self) -> Epoch:
        """The last epoch."""
        return self.epochs[-1]


class TrainingProgress:
    """Callbacks of a training, for whoever watches; every method may be left as it is."""

    def resumed(self, epoch: int, epochs: int) -> None:
        """`epoch` of `epochs` were done by an earlier process."""

    def step(self, epoch: int, epochs: int, images: int, total: int) -> None:
        """`images` of `total` of this epoch are done."""

    def epoch_done(self, epoch: Epoch, epochs: int) -> None:
        """An epoch is trained, evaluated and, where there is a state file, on disk."""


def train(
    model: nn.Module,
    data: Examples,
    recipe: Recipe,
    *,
    selection: Examples,
    task: Task = CLASSIFICATION,
    seed: int,
    precision: Precision = "fp32",
    masks: Masks | None = None,
    pruner: Pruner | None = None,
    teacher: nn.Module | None = None,
    state_folder: Path | None = None,
    progress: TrainingProgress | None = None,
) -> Training:
    """Train `model` in place on the device it is on; leaves it with the weights of the best epoch.

    With a pruner, the best of those epochs that ended with the final masks (`Training.best`).

    Args:
        selection: examples the best epoch is chosen on.
        task: gives the loss, and each example's score.
        masks: fine-tune under these: re-applied after every optimizer step, checked after every epoch.
        pruner: prune while training, by a pruning schedule, in the place of `masks`. A schedule of several rounds goes
            through the recipe as many times.
        teacher: the model, on the same device, that a recipe with `distillation` learns from.
        state_folder: keep the state after each epoch in a file there, named by everything that determines the result;
            an earlier, stopped training of the same thing is taken up from it. It stays until `Training.discard`, so
            that results which could not be written are not lost.

    Raises:
        ModelError: the model fails on its images, or answers without scores.
        TrainingError: fewer than one epoch or image, nothing that can be trained, a recipe with distillation and no
            teacher, or a loss that is not finite.
        UnknownNameError: a schedule that does not exist.
        CheckpointError: the state file is damaged.
        MaskError: masks that do not fit, or not obey the schedule, or a pruned weight that is not zero after an epoch.
        PlanError: a schedule that does not end in the pruner's plan.
        StorageError: the state cannot be written.
    """
    epochs = _check(recipe, data, selection)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError("no parameter of the model requires a gradient: expected one at least, see requires_grad_")
    if masks is not None and pruner is not None:
        raise TrainingError("masks and a pruner: expected one of them")
    if recipe.distillation is None:
        teacher = None
    elif teacher is None or teacher is model:
        raise TrainingError("the recipe distils: expected a teacher other than the model, such as the dense one")
    device, steps = model_device(model), _steps(recipe, len(data))
    pruning = Pruning(pruner, model, epochs=epochs, steps=steps, seed=seed) if pruner is not None else None
    settings = _Settings(
        data=data.to(device),
        task=task,
        recipe=recipe,
        epochs=pruning.epochs if pruning else epochs,
        skipped=pruning.rewind_to if pruning else 0,
        seed=seed,
        precision=precision,
        teacher=teacher,
        progress=progress or TrainingProgress(),
    )
    masks = masks.to(device) if masks is not None else None
    state = _State(model, *_begun(model, settings), averaging=recipe.averaging, masks=masks, pruning=pruning)
    path = None
    if state_folder is not None:
        check_writable(state_folder)
        sweep(state_folder)
        path = state_folder / f"{_key(model, data, selection, settings, masks, pruner)}.pt"
        state.load_(path)
    resumed_after = len(state.epochs)
    if resumed_after:
        settings.progress.resumed(resumed_after, settings.epochs)
    for number in range(resumed_after + 1, settings.epochs + 1):
        if pruning is not None and pruning.begins_round(number):
            state.begin_round_(*_begun(model, settings))
        start = time.perf_counter()
        loss, tally = _train_epoch(state, settings, number)
        seconds = time.perf_counter() - start
        state.check_masks(number)
        evaluation = evaluate(state.evaluated, selection, task=task)
        epoch = Epoch(number=number, loss=loss, evaluation=evaluation, seconds=seconds, tally=tally)
        state.finish(epoch)
        if path is not None:
            state.save(path)
        settings.progress.epoch_done(epoch, settings.epochs)
    last_state = _copy(state.evaluated)
    model.load_state_dict(state.best_state)
    return Training(
        epochs=tuple(state.epochs),
        best_state=state.best_state,
        last_state=last_state,
        resumed_after=resumed_after,
        state_file=path,
        masks=state.masks.to(torch.device("cpu")) if state.masks is not None else None,
        trace=tuple(pruning.trace) if pruning else (),
        first_final=state.first_final,
    )


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """The settings of a training that no epoch changes.

    Attributes:
        data: on the model's device.
        epochs: of all rounds.
        skipped: epochs of the recipe that each round begins after.
    """

    data: Examples
    task: Task
    recipe: Recipe
    epochs: int
    skipped: int
    seed: int
    precision: Precision
    teacher: nn.Module | None
    progress: TrainingProgress

    def loss(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        distillation = self.recipe.distillation
        if distillation is None or self.teacher is None:
            return self.task.loss(outputs, targets, label_smoothing=self.recipe.label_smoothing)
        with torch.no_grad():
            answers = ask(self.teacher, inputs)
        taught = distillation.weight * distillation.loss(outputs, answers)
        if distillation.weight == 1:
            return taught
        own = self.task.loss(outputs, targets, label_smoothing=self.recipe.label_smoothing)
        return taught + (1 - distillation.weight) * own


def _train_epoch(state: _State, settings: _Settings, number: int) -> tuple[float, Tally]:
    """One epoch; returns the mean loss an example, and what was done."""
    model, recipe, data = state.model, settings.recipe, settings.data
    device, seed = data.inputs.device, _epoch_seed(settings.seed, number)
    total = min(len(data), recipe.images_per_epoch or len(data))
    batches = training_batches(
        data,
        batch_size=recipe.batch_size,
        augmentation=recipe.augmentation,
        generator=torch.Generator().manual_seed(seed),
        limit=recipe.images_per_epoch,
    )
    summed, done, tallying = torch.zeros((), device=device), 0, Tallying()
    model.train()
    # The seed is for models that draw numbers themselves, as dropout does.
    teaching = evaluation_mode(settings.teacher) if settings.teacher is not None else nullcontext()
    with seeded(device, seed), arithmetic(device, settings.precision), teaching:
        for step, (inputs, targets) in enumerate(batches, start=(number - 1) * _steps(recipe, len(data))):
            state.change_masks_(step, has_gradients=False)
            outputs = ask(model, inputs)
            loss = settings.loss(inputs, outputs, targets)
            loss.backward()  # type: ignore[no-untyped-call]
            if state.pruning is not None:
                state.pruning.watch(step, model)
            state.change_masks_(step, has_gradients=True)
            tallying.step(inputs, targets, outputs, state.optimizer)
            state.optimizer.step()
            state.optimizer.zero_grad()
            state.scheduler.step()
            if state.masks is not None:
                state.masks.apply_(model)  # momentum and weight decay move pruned weights away from zero
            state.average()
            summed += loss.detach() * len(targets)
            done += len(targets)
            settings.progress.step(number, settings.epochs, done, total)
    mean = float(summed) / done
    if not torch.isfinite(torch.tensor(mean)):
        raise TrainingError(
            f"training diverged: the loss of epoch {number} is {mean}; "
            f"expected a finite loss, try a learning rate below {recipe.learning_rate}"
        )
    return mean, tallying.done()


def _check(recipe: Recipe, data: Examples, selection: Examples) -> int:
    check_recipe(recipe)
    if recipe.epochs is None:
        raise TrainingError("the recipe names no epochs: expected a whole number of at least 1, by for_epochs say")
    for kind, images in (("training", data), ("selection", selection)):
        if len(images) == 0:
            raise TrainingError(f"no {kind} images: expected at least one")
    return recipe.epochs


def _steps(recipe: Recipe, examples: int) -> int:
    """Steps of the optimizer in an epoch."""
    return -(-min(examples, recipe.images_per_epoch or examples) // recipe.batch_size)


def _begun(model: nn.Module, settings: _Settings) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """A new optimizer, its learning rates gone through as far as the settings skip epochs."""
    optimizer, scheduler = _optimizer(model, settings.recipe, len(settings.data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of a scheduler that is stepped before its optimizer
        for _ in range(settings.skipped * _steps(settings.recipe, len(settings.data))):
            scheduler.step()
    return optimizer, scheduler


def _optimizer(model: nn.Module, recipe: Recipe, examples: int) -> tuple[torch.optim.Optimizer, LRScheduler]:
    decayed = prunable_parameters(model) if recipe.decay_weights_only else dict(model.named_parameters())
    others = [parameter for name, parameter in model.named_parameters() if name not in decayed]
    groups: Iterable[dict[str, Any]] = [
        {"params": list(decayed.values()), "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    fused = model_device(model).type == "cuda" or None  # on the CPU it gains 1 % of a step and gives other bits
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "adamw":
        optimizer = torch.optim.AdamW(
            groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon, fused=fused
        )
    else:
        optimizer = torch.optim.SGD(
            groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused
        )
    assert recipe.epochs is not None, "a training knows its epochs"
    steps = recipe.epochs * _steps(recipe, examples)
    if recipe.learning_rate_schedule == "constant":
        return optimizer, ConstantLR(optimizer, factor=1.0)
    if recipe.learning_rate_schedule == "one_cycle":
        total = steps + 1  # the scheduler is stepped once after the last iteration too
        warmup = recipe.warmup
        if warmup * total == 1:  # OneCycleLR divides by the length of this rise, which is exactly zero
            warmup *= 1 + 1e-9
        return optimizer, OneCycleLR(
            optimizer,
            max_lr=recipe.learning_rate,
            total_steps=total,
            pct_start=warmup,
            anneal_strategy="linear",
            cycle_momentum=False,
        )
    period = recipe.epochs if recipe.learning_rate_schedule == "cosine_per_iteration" else steps
    return optimizer, CosineAnnealingLR(optimizer, T_max=period)


class _State:
    """A training between two epochs: all that the next one depends on."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: LRScheduler,
        *,
        averaging: float,
        masks: Masks | None,
        pruning: Pruning | None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.masks = masks
        self.pruning = pruning
        self.epochs: list[Epoch] = []
        self.best_state: dict[str, Tensor] = {}
        self._averaged = None
        if averaging:
            decay = torch.optim.swa_utils.get_ema_multi_avg_fn(averaging)  # type: ignore[no-untyped-call]
            self._averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=decay, use_buffers=True)

    @property
    def evaluated(self) -> nn.Module:
        """The model whose accuracy counts: the average where there is one."""
        return self._averaged.module if self._averaged is not None else self.model

    def average(self) -> None:
        if self._averaged is not None:
            self._averaged.update_parameters(self.model)

    def begin_round_(self, optimizer: torch.optim.Optimizer, scheduler: LRScheduler) -> None:
        """Go on with a new optimizer, and an average that begins anew."""
        self.optimizer, self.scheduler = optimizer, scheduler
        if self._averaged is not None:
            self._averaged.n_averaged.zero_()

    def change_masks_(self, step: int, *, has_gradients: bool) -> None:
        """Change the masks where the schedule says so; what grows has no momentum."""
        if self.pruning is None or not self.pruning.is_due(step, has_gradients=has_gradients):
            return
        before, self.masks = self.masks, self.pruning.change_(step, self.model, self.masks)
        self.masks.apply_(self.model)
        if self._averaged is not None:
            self.masks.apply_(self._averaged.module)
        parameters = dict(self.model.named_parameters())
        for name, grown in revivals(self.masks, before).items():
            for kept in self.optimizer.state[parameters[name]].values():
                if isinstance(kept, Tensor) and kept.shape == grown.shape:
                    kept.masked_fill_(grown, 0.0)

    def check_masks(self, epoch: int) -> None:
        """Check that pruned weights are zero, and that the masks are those of the schedule."""
        if self.masks is not None:
            self.masks.check(self.evaluated)
        if self.pruning is not None:
            self.pruning.check(epoch, self.masks)

    @property
    def first_final(self) -> int:
        """The first epoch that ends with the masks of the end."""
        return self.pruning.first_final if self.pruning is not None else 1

    def finish(self, epoch: Epoch) -> None:
        judged = self.epochs[self.first_final - 1 :]
        best = max((earlier.evaluation.correct_count for earlier in judged), default=-1)
        self.epochs.append(epoch)
        if epoch.number >= self.first_final and epoch.evaluation.correct_count > best:
            self.best_state = _copy(self.evaluated)

    def save(self, path: Path) -> None:
        content = {
            "model": _copy(self.model),
            "averaged": self._averaged.state_dict() if self._averaged is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "best": self.best_state,
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }
        if self.pruning is not None:
            content["masks"] = dict(self.masks) if self.masks is not None else None
            content["trace"] = self.pruning.saved()
            content["movement"] = self.pruning.movement
        buffer = io.BytesIO()  # torch.save reports a full disk as a RuntimeError, a plain write as what it is
        torch.save(content, buffer)
        with replacing(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def load_(self, path: Path) -> None:
        """Take up the state in `path`; a file that is absent leaves everything at the start."""
        if not path.exists():
            return
        try:
            with zipfile.ZipFile(path) as archive:  # torch itself reads changed bytes without a word
                if (damaged := archive.testzip()) is not None:
                    raise CheckpointError(f"'{damaged}' is damaged")
            self._take_up_(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # zipfile, torch.load and load_state_dict raise many kinds on damaged files
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(f"cannot read the unfinished training '{path}' ({reason}): delete it") from error

    def _take_up_(self, content: dict[str, Any]) -> None:
        self.model.load_state_dict(content["model"])
        if self._averaged is not None:
            self._averaged.load_state_dict(content["averaged"])
        self.optimizer.load_state_dict(content["optimizer"])
        self._match_memory_format()
        self.scheduler.load_state_dict(content["scheduler"])
        self.best_state = content["best"]
        self.epochs = [
            Epoch(**epoch | {"evaluation": Evaluation(**epoch["evaluation"]), "tally": Tally(**epoch["tally"])})
            for epoch in content["epochs"]
        ]
        if self.pruning is not None:
            masks = content["masks"]
            self.masks = Masks(masks).to(model_device(self.model)) if masks is not None else None
            self.pruning.take_up_(content["trace"])
            device = model_device(self.model)
            self.pruning.movement = {name: sums.to(device) for name, sums in content["movement"].items()}

    def _match_memory_format(self) -> None:
        """Lay what is kept of each weight out in memory like it, as in a training never stopped: bytes depend on it."""
        for parameter, buffers in self.optimizer.state.items():
            for name, kept in buffers.items():
                if isinstance(kept, Tensor) and kept.shape == parameter.shape and kept.dim() > 1:
                    buffers[name] = torch.empty_like(parameter).copy_(kept)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _epoch_seed(seed: int, epoch: int) -> int:
    """The seed of one epoch, far apart for neighbouring seeds and epochs."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{epoch}".encode()).digest()[:7], "big")


def _key(
    model: nn.Module,
    data: Examples,
    selection: Examples,
    settings: _Settings,
    masks: Masks | None,
    pruner: Pruner | None,
) -> str:
    """Digest of all that determines the result, bytes included; another machine, build or code starts afresh."""
    teacher = settings.teacher
    parts = {
        "forward": forward_digest(model, data, training=True),
        "arithmetic": ARITHMETIC,
        "task": task_key(settings.task),
        "weights": state_digest(model.state_dict()),
        "trained": [name for name, parameter in model.named_parameters() if parameter.requires_grad],
        "masks": masks.digest if masks is not None else None,
        "pruner": pruner.key if pruner is not None else None,
        "teacher": [forward_digest(teacher, data), state_digest(teacher.state_dict())] if teacher is not None else None,
        "data": data.digest,
        "selection": selection.digest,
        "recipe": asdict(settings.recipe),
        "seed": settings.seed,
        "precision": settings.precision,
        "environment": exact_fingerprint(model_device(model)),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
