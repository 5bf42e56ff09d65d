"""Faults of fine-tuning, as changes of the pipeline that any model can be put through."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module

import pytest
import torch
from torch import nn

from prunebench.experiments import flow
from prunebench.gate import Status
from prunebench.models import save_state
from prunebench.pruning import keep_mask
from prunebench.tasks import CLASSIFICATION
from prunebench.training import train

training = import_module("prunebench.training.train")  # as an attribute of its package it is the function

AS_DONE = "training as it was done"
ITSELF = "RecordError"
LOSS = "training loss by epoch"
DISTANCE = "how far the weights moved"
LENGTH = "length of the weights"
STATISTICS = "how far batch norm's statistics moved"


@dataclass(frozen=True, kw_only=True)
class TrainingFault:
    """How to plant it, and what has to catch it: a check that fails, or the name of an error that stops the run."""

    name: str
    caught_by: str
    plant: Callable[[pytest.MonkeyPatch], None]

    @property
    def status(self) -> Status | None:
        return None if self.caught_by.endswith("Error") else Status.FAIL


TRAINING_FAULTS: list[TrainingFault] = []


def fault(name: str, *, caught_by: str):
    def register(plant):
        TRAINING_FAULTS.append(TrainingFault(name=name, caught_by=caught_by, plant=plant))
        return plant

    return register


def patch_optimizer(patch, change):
    """`change` gets the optimizer and the schedule, and may do anything to them."""
    make = training._optimizer

    def changed(*arguments):
        optimizer, scheduler = make(*arguments)
        change(optimizer, scheduler)
        return optimizer, scheduler

    patch.setattr(training, "_optimizer", changed)


def patch_recipe(patch, **changes):
    """The optimizer and its schedule are of another recipe than the one that is recorded."""
    make = training._optimizer
    patch.setattr(training, "_optimizer", lambda model, recipe, *rest: make(model, changed(recipe), *rest))

    def changed(recipe):
        return replace(recipe, **{name: change(getattr(recipe, name)) for name, change in changes.items()})


def patch_batches(patch, change, **options):
    """`change` gets each batch's images, labels and number."""
    batches = training.training_batches

    def changed(data, **given) -> Iterator:
        for number, (images, labels) in enumerate(batches(data, **given | options)):
            yield change(images, labels, number)

    patch.setattr(training, "training_batches", changed)


def patch_trained(patch, change):
    patch.setattr(flow, "train", lambda *arguments, **options: change(train(*arguments, **options)))


@fault("the optimizer never steps", caught_by=DISTANCE)
def never_steps(patch):
    """Without gradients it leaves the weights as they are."""
    patch_optimizer(patch, lambda optimizer, _: optimizer.register_step_pre_hook(lambda *_: optimizer.zero_grad()))


@fault("every epoch evaluated with the dense weights", caught_by="CheckpointError")
def evaluated_dense(patch):
    """What the pruned model was before: the first model that the pipeline asks."""
    asked, evaluate = [], flow.evaluate

    def remembering(model, data, **options):
        asked.append(model)
        return evaluate(model, data, **options)

    patch.setattr(flow, "evaluate", remembering)
    patch.setattr(training, "evaluate", lambda model, data, **options: evaluate(asked[0], data, **options))


@fault("learning rate ten times too low", caught_by=AS_DONE)
def low_rate(patch):
    patch_recipe(patch, learning_rate=lambda rate: rate / 10)


@fault("gradients ten times too small", caught_by=DISTANCE)
def small_gradients(patch):
    def scaled(optimizer, _):
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.register_hook(lambda gradient: gradient / 10)

    patch_optimizer(patch, scaled)


@fault("gradients clipped to a norm of 0.001", caught_by=DISTANCE)
def clipped(patch):
    def clip(optimizer, _):
        parameters = optimizer.param_groups[0]["params"]
        optimizer.register_step_pre_hook(lambda *_: nn.utils.clip_grad_norm_(parameters, 0.001) and None)

    patch_optimizer(patch, clip)


@fault("gradients of all batches added up", caught_by=DISTANCE)
def accumulated(patch):
    patch_optimizer(patch, lambda optimizer, _: setattr(optimizer, "zero_grad", lambda: None))


@fault("weight decay 100 times too high", caught_by=ITSELF)
def high_decay(patch):
    patch_recipe(patch, weight_decay=lambda decay: 100 * decay)


@fault("weights shrunk by a thousandth each step", caught_by=LENGTH)
def shrunk(patch):
    def shrink(optimizer, _):
        def by_a_thousandth(*_):
            with torch.no_grad():
                for parameter in optimizer.param_groups[0]["params"]:
                    parameter.mul_(0.999)

        optimizer.register_step_post_hook(by_a_thousandth)

    patch_optimizer(patch, shrink)


@fault("no momentum", caught_by=ITSELF)
def no_momentum(patch):
    patch_recipe(patch, momentum=lambda _: 0.0)


@fault("momentum lost at each step", caught_by=DISTANCE)
def momentum_lost(patch):
    patch_optimizer(patch, lambda optimizer, _: optimizer.register_step_pre_hook(lambda *_: optimizer.state.clear()))


@fault("schedule never stepped", caught_by=AS_DONE)
def no_schedule(patch):
    patch_optimizer(patch, lambda _, scheduler: patch.setattr(type(scheduler), "step", lambda self: None))


@fault("an epoch too few", caught_by=ITSELF)
def epoch_too_few(patch):
    def shorter(model, data, recipe, **options):
        return train(model, data, replace(recipe, epochs=recipe.epochs - 1), **options)

    patch.setattr(flow, "train", shorter)


@fault("the last, smaller batch dropped", caught_by=ITSELF)
def last_batch_dropped(patch):
    batches = training.training_batches
    patch.setattr(training, "training_batches", lambda *data, **options: list(batches(*data, **options))[:-1])


@fault("images in the same order each epoch", caught_by=AS_DONE)
def same_order(patch):
    patch.setattr(training, "_epoch_seed", lambda seed, epoch: seed + 1)


@fault("no augmentation", caught_by=AS_DONE)
def no_augmentation(patch):
    patch_batches(patch, lambda images, labels, _: (images, labels), augmentation=None)


@fault("images not scaled to [0, 1]", caught_by=AS_DONE)
def not_scaled(patch):
    patch_batches(patch, lambda images, labels, _: (255 * images, labels))


@fault("trained on the test images", caught_by=AS_DONE)
def trained_on_test(patch):
    def leaking(model, data, recipe, *, selection, **options):
        test_images = selection.take(torch.arange(len(data)) % len(selection))
        return train(model, test_images, recipe, selection=selection, **options)

    patch.setattr(flow, "train", leaking)


@fault("a tenth of the training labels wrong", caught_by=AS_DONE)
def wrong_labels(patch):
    def mislabelled(images, labels, _):
        wrong = torch.arange(len(labels)) % 10 == 0
        return images, torch.where(wrong, (labels + 1) % 10, labels)

    patch_batches(patch, mislabelled)


@fault("labels smoothed that should not be", caught_by=LOSS)
def smoothed(patch):
    loss = CLASSIFICATION.loss
    patch.setattr(CLASSIFICATION, "loss", lambda outputs, targets, **_: loss(outputs, targets, label_smoothing=0.3))


@fault("one layer frozen", caught_by=DISTANCE)
def frozen_layer(patch):
    def freeze(optimizer, _):
        optimizer.param_groups[0]["params"][0].requires_grad_(False)

    patch_optimizer(patch, freeze)


@fault("batch norm's statistics frozen", caught_by=STATISTICS)
def frozen_statistics(patch):
    patch.setattr(nn.BatchNorm2d, "train", lambda self, mode=True: nn.Module.train(self, False))


@fault("masks recomputed each epoch, by disturbed magnitudes", caught_by="MaskError")
def masks_recomputed(patch):
    """By undisturbed ones the VGG has the same masks again: in six steps no pruned weight outgrows a kept one."""
    train_epoch = training._train_epoch

    def epoch(state, settings, number):
        masks, state.masks = state.masks, None
        done, state.masks = train_epoch(state, settings, number), masks
        weights = dict(state.model.named_parameters())
        for name, mask in masks.items():
            scores = weights[name].detach().abs() * torch.rand(
                mask.shape, generator=torch.Generator().manual_seed(number)
            )
            masks._masks[name] = keep_mask(scores, int((~mask).sum()), name=name)
        masks.apply_(state.model)
        return done

    patch.setattr(training, "_train_epoch", epoch)


@fault("masks dropped from the weights that are kept", caught_by="MaskError")
def masks_dropped(patch):
    def revived(done):
        return replace(done, best_state={name: torch.where(value == 0, 0.01, value) if value.dim() > 1 else value
                                         for name, value in done.best_state.items()})  # fmt: skip

    patch_trained(patch, revived)


@fault("weights of another epoch kept", caught_by="CheckpointError")
def other_epoch(patch):
    states, finish = [], training._State.finish

    def remembering(self, epoch):
        states.append(training._copy(self.evaluated))
        finish(self, epoch)

    patch.setattr(training._State, "finish", remembering)
    patch_trained(patch, lambda done: replace(done, best_state=states[done.best.number - 2]))


@fault("weights scrambled after they were judged", caught_by="CheckpointError")
def scrambled(patch):
    def turned(done):
        first = next(name for name, value in done.best_state.items() if value.dim() == 1)
        return replace(done, best_state={**done.best_state, first: done.best_state[first].flip(0)})

    patch_trained(patch, turned)


@fault("batch-norm statistics not restored after the best epoch", caught_by="CheckpointError")
def statistics_not_restored(patch):
    def of_another(done):
        buffers = {name: value + 0.01 for name, value in done.last_state.items() if "running_mean" in name}
        return replace(done, best_state={**done.best_state, **buffers})

    patch_trained(patch, of_another)


@fault("half precision in the file that is kept", caught_by="CheckpointError")
def file_in_half_precision(patch):
    def rounded(state, path, **options):
        save_state({name: value.half().to(value.dtype) for name, value in state.items()}, path, **options)

    patch.setattr(flow, "save_state", rounded)


@fault("another epoch in the file that is kept", caught_by="CheckpointError")
def file_of_another_epoch(patch):
    written = itertools.count()

    def other(state, path, **options):
        save_state({name: value + (next(written) == 0) * 0.001 for name, value in state.items()}, path, **options)

    patch.setattr(flow, "save_state", other)
