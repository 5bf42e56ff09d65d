"""Checks of a training that prunes by a schedule, from what is seen outside: tests and planted faults share them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_networks import Plain, built, images
from torch import Tensor, nn

from prunebench.data import Augmentation
from prunebench.models import prunable_parameters, state_digest
from prunebench.pruning import Masks, SparsityPlan, pruned_count
from prunebench.pruning.schedules import (
    Gradual,
    Iterative,
    LearningRateRewinding,
    OneShot,
    PruningSchedule,
    RigL,
    SparseEvolution,
    WeightRewinding,
)
from prunebench.training import Epoch, Pruner, Recipe, Training, TrainingProgress, train

DATA, SELECTION = images(90, seed=1), images(60, seed=2)
RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.05, weight_decay=1e-2, augmentation=Augmentation())
STEPS = 6
"""Batches in an epoch of `DATA`, the last one smaller."""

FINAL = SparsityPlan({"backbone.0.weight": 0.5, "backbone.4.weight": 0.81, "classifier.weight": 0.0})
SCHEDULES: dict[str, PruningSchedule] = {
    "one-shot": OneShot(),
    "iterative": Iterative(rounds=2),
    "gradual": Gradual(start=0.1, end=0.6, frequency=2),
    "learning-rate-rewinding": LearningRateRewinding(rounds=2, rewind_to=1),
    "weight-rewinding": WeightRewinding(rounds=2, rewind_to=1),
    "set": SparseEvolution(frequency=4),
    "rigl": RigL(frequency=4, fraction=0.5),
}
REGROWING = ("set", "rigl")


def model() -> nn.Module:
    return built(Plain, seed=3)


def early() -> dict[str, Tensor]:
    """The weights of an earlier time."""
    return built(Plain, seed=4).state_dict()


def pruner(schedule: PruningSchedule | str, **options: Any) -> Pruner:
    schedule = SCHEDULES[schedule] if isinstance(schedule, str) else schedule
    return Pruner(schedule=schedule, final=FINAL, early=early() if schedule.rewinds_weights else None, **options)


def trained(
    by: Pruner | None,
    recipe: Recipe = RECIPE,
    progress: TrainingProgress | None = None,
    *,
    trains: nn.Module | None = None,
    folder: Path | None = None,
    seed: int = 7,
    **options: Any,
) -> Training:
    trains, settings = trains if trains is not None else model(), {"seed": seed, "state_folder": folder, **options}
    training = train(trains, DATA, recipe, selection=SELECTION, pruner=by, progress=progress, **settings)
    training.discard()
    return training


class Stop(TrainingProgress):
    """Stops as Ctrl-C does, after an epoch."""

    def __init__(self, after: int) -> None:
        self.after = after

    def epoch_done(self, epoch: Epoch, epochs: int) -> None:
        if epoch.number == self.after:
            raise KeyboardInterrupt


def stop(by: Pruner, folder: Path, *, after: int, recipe: Recipe = RECIPE) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(by, recipe, Stop(after), folder=folder)


@dataclass
class Watched:
    """A training, and at each step copies of the prunable weights before and after it, and of their gradients."""

    schedule: PruningSchedule
    recipe: Recipe
    before: list[dict[str, Tensor]]
    after: list[dict[str, Tensor]]
    gradients: list[dict[str, Tensor]]
    training: Training

    def alive(self, step: int) -> dict[str, Tensor]:
        return {name: weight != 0 for name, weight in self.after[step].items()}


def watched(by: Pruner, recipe: Recipe = RECIPE) -> Watched:
    """Weights as each forward pass in training gets them, and as each step leaves them."""
    trains = model()
    weights = prunable_parameters(trains)
    before, after, gradients = list[dict[str, Tensor]](), list[dict[str, Tensor]](), list[dict[str, Tensor]]()

    def copies() -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in weights.items()}

    def forward(module: nn.Module, _: Any) -> None:
        if module.training:
            before.append(copies())
            gradients.append({})

    for name, weight in weights.items():
        weight.register_post_accumulate_grad_hook(
            lambda weight, name=name: gradients[-1].update({name: weight.grad.clone()})
        )
    trains.register_forward_pre_hook(forward)

    class Watch(TrainingProgress):
        def step(self, epoch: int, epochs: int, images: int, total: int) -> None:
            after.append(copies())

    training = trained(by, recipe, Watch(), trains=trains)
    return Watched(by.schedule, recipe, before, after, gradients, training)


def kept(name: str, sparsity: float) -> int:
    numel = prunable_parameters(model())[name].numel()
    return numel - pruned_count(numel, sparsity)


def assert_same(expected: Training, actual: Training) -> None:
    for name in ("best_state", "last_state"):
        assert state_digest(getattr(expected, name)) == state_digest(getattr(actual, name))
    assert [(epoch.loss, epoch.tally, epoch.evaluation.digest) for epoch in expected.epochs] == [
        (epoch.loss, epoch.tally, epoch.evaluation.digest) for epoch in actual.epochs
    ]
    assert expected.trace == actual.trace
    assert expected.masks is not None
    assert actual.masks is not None
    assert expected.masks.digest == actual.masks.digest
    assert expected.best.number == actual.best.number


def the_masks_obey_the_schedule(seen: Watched) -> None:
    """At each step as many elements live as planned, and the trace says which."""
    steps, trace = len(seen.after), seen.training.trace
    planned = {step: plan for step in range(steps) if (plan := seen.schedule.plan_at(step, steps, FINAL)) is not None}
    assert [*planned] == [change.step for change in trace]
    assert [dict(plan) for plan in planned.values()] == [change.sparsity for change in trace]
    assert seen.training.masks is not None
    assert trace[-1].masks_digest == seen.training.masks.digest
    in_force = SparsityPlan(dict.fromkeys(FINAL, 0.0))
    for step in range(steps):
        in_force = planned.get(step, in_force)
        for layer, alive in seen.alive(step).items():
            assert kept(layer, in_force[layer]) == int(alive.sum()), (step, layer)
    for change in trace:
        assert {layer: kept(layer, sparsity) for layer, sparsity in change.sparsity.items()} == change.kept
        assert Masks(seen.alive(change.step)).digest == change.masks_digest


def the_masks_nest(seen: Watched) -> None:
    for step in range(1, len(seen.after)):
        for layer, alive in seen.alive(step).items():
            assert not (alive & ~seen.alive(step - 1)[layer]).any(), (step, layer)
    assert [0] * len(seen.training.trace) == [change.grown for change in seen.training.trace]


def the_curve_is_cubic(seen: Watched) -> None:
    """Equation 1 of Zhu, Gupta 2017, with the steps of `SCHEDULES`, of the elements that live."""
    t0, t1 = round(0.1 * len(seen.after)), round(0.6 * len(seen.after))
    for change in seen.training.trace:
        for layer, final in FINAL.items():
            sparsity = final + (0 - final) * (1 - min(1, (change.step - t0) / (t1 - t0))) ** 3
            assert sparsity == pytest.approx(change.sparsity[layer], abs=1e-12)
            assert kept(layer, sparsity) == int(seen.alive(change.step)[layer].sum())


def what_grows_begins_at_zero_without_momentum(seen: Watched) -> None:
    """The first step of a grown element is that of plain SGD. Without weight decay, at a constant rate."""
    for change in seen.training.trace[1:]:
        grown = 0
        for layer in FINAL:
            new = seen.alive(change.step)[layer] & (seen.before[change.step][layer] == 0)
            step = -seen.recipe.learning_rate * seen.gradients[change.step][layer]
            assert torch.equal(step[new], seen.after[change.step][layer][new])
            grown += int(new.sum())
        assert grown == change.grown > 0


def rigl_reference(weight: Tensor, gradient: Tensor, *, keep: int, dropped: int) -> Tensor:
    """Algorithm 1 of Evci 2020, for one layer: survivors are the largest weights, grown the largest gradients."""
    magnitude = torch.where(weight != 0, weight.abs(), -1.0).flatten()
    survivors = magnitude.argsort(descending=True)[: keep - dropped]
    size = gradient.abs().flatten().index_fill(0, survivors, -1.0)
    grown = size.argsort(descending=True)[:dropped]
    return torch.zeros_like(magnitude).index_fill(0, torch.cat([survivors, grown]), 1.0).view(weight.shape) > 0


def the_largest_gradients_grow(seen: Watched) -> None:
    for change in seen.training.trace[1:]:
        fraction = 0.25 * (1 + math.cos(math.pi * change.step / (0.75 * len(seen.after))))
        for layer, sparsity in FINAL.items():
            keep = kept(layer, sparsity)
            dropped = keep - kept(layer, sparsity + (1 - sparsity) * fraction) if sparsity else 0
            weight, gradient = seen.before[change.step][layer], seen.gradients[change.step][layer]
            expected = rigl_reference(weight, gradient, keep=keep, dropped=dropped)
            assert torch.equal(expected, seen.alive(change.step)[layer]), (change.step, layer)


def rounds_begin_with_the_early_weights_masked_by_the_trained_ones(seen: Watched) -> None:
    start, (first, second) = early(), (change.step for change in seen.training.trace)
    assert (0, 2 * STEPS) == (first, second)
    for step, weights in ((first, prunable_parameters(model())), (second, seen.after[second - 1])):
        for layer, weight in weights.items():
            alive = seen.before[step][layer] != 0
            assert torch.equal(start[layer] * alive, seen.before[step][layer])
            ranked = weight.detach().abs().flatten().argsort(descending=True)[: int(alive.sum())]
            assert set(ranked.tolist()) == set(alive.flatten().nonzero()[:, 0].tolist())
    assert {state_digest(start)} == {change.rewound_to for change in seen.training.trace}


def rounds_have_the_later_learning_rates_of_the_dense_recipe(seen: Watched) -> None:
    """Those of a cosine over three epochs, from its second on."""
    steps = [seen.recipe.learning_rate * (1 + math.cos(math.pi * t / (3 * STEPS))) / 2 for t in range(3 * STEPS)]
    rates = [sum(steps[start : start + STEPS]) / STEPS for start in range(0, 3 * STEPS, STEPS)]
    assert pytest.approx(2 * rates[1:]) == [epoch.tally.learning_rate for epoch in seen.training.epochs]


def the_best_epoch_is_one_with_the_final_masks(seen: Watched) -> None:
    training = seen.training
    first = max(change.step for change in training.trace) // STEPS + 1
    counts = [epoch.evaluation.correct_count for epoch in training.epochs]
    assert first == training.first_final
    assert max(counts[first - 1 :]) == training.best.evaluation.correct_count
    assert training.best.number >= first
    for layer, sparsity in FINAL.items():
        assert kept(layer, sparsity) == int(training.best_state[layer].count_nonzero())


def a_stopped_training_ends_in_the_same_bytes(seen: Watched, folder: Path) -> None:
    by = pruner(seen.schedule)
    stop(by, folder, after=1, recipe=seen.recipe)
    resumed = trained(by, seen.recipe, folder=folder)
    assert 1 == resumed.resumed_after
    assert_same(seen.training, resumed)


Check = Callable[[Watched], None]
PLAIN = replace(RECIPE, learning_rate_schedule="constant", weight_decay=0.0)
CHECKS: dict[str, list[Check]] = {
    name: [
        the_masks_obey_the_schedule,
        the_best_epoch_is_one_with_the_final_masks,
        *([] if name in REGROWING else [the_masks_nest]),
    ]
    for name in SCHEDULES
}
CHECKS["gradual"] += [the_curve_is_cubic]
CHECKS["learning-rate-rewinding"] += [rounds_have_the_later_learning_rates_of_the_dense_recipe]
CHECKS["weight-rewinding"] += [
    rounds_have_the_later_learning_rates_of_the_dense_recipe,
    rounds_begin_with_the_early_weights_masked_by_the_trained_ones,
]
CHECKS["set"] += [what_grows_begins_at_zero_without_momentum]
CHECKS["rigl"] += [what_grows_begins_at_zero_without_momentum, the_largest_gradients_grow]


def recipe_for(name: str) -> Recipe:
    """What grows is easiest to follow at a constant rate."""
    return PLAIN if name in REGROWING else RECIPE
