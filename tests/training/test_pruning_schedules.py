"""Pruning in the training loop: masks obey the schedule at each step, and a stopped training ends in the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_networks import Plain, built, images
from torch import Tensor, nn

from prunebench.data import Augmentation
from prunebench.errors import CheckpointError, MaskError, PlanError, PrunebenchError, TrainingError, UnknownNameError
from prunebench.models import prunable_parameters, state_digest
from prunebench.pruning import Masks, SparsityPlan, prune_, pruned_count
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
from prunebench.training import ByMagnitude, Epoch, Pruner, Recipe, Training, TrainingProgress, train

pytestmark = pytest.mark.usefixtures("one_thread")

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
    "rigl": RigL(frequency=4),
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
    masks: Masks | None = None,
    seed: int = 7,
) -> Training:
    trains = trains if trains is not None else model()
    training = train(
        trains,
        DATA,
        recipe,
        selection=SELECTION,
        seed=seed,
        masks=masks,
        pruner=by,
        state_folder=folder,
        progress=progress,
    )
    training.discard()
    return training


@dataclass
class Watched:
    """Everything that can be seen from outside, step by step: copies of the prunable weights and their gradients."""

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

    return Watched(before, after, gradients, trained(by, recipe, Watch(), trains=trains))


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


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_one_shot_is_fine_tuning_under_the_masks_of_prune_to_the_byte(averaging: float) -> None:
    recipe, dense = replace(RECIPE, averaging=averaging), model()
    masks = prune_(dense, FINAL)
    expected = trained(None, recipe, trains=dense, masks=masks)
    got = trained(pruner("one-shot"), recipe)
    assert (1, 1) == (got.first_final, expected.first_final)
    assert_same(replace(expected, trace=got.trace), got)
    assert [0] == [change.step for change in got.trace]


@pytest.mark.parametrize("name", SCHEDULES)
def test_masks_obey_the_schedule_at_each_step_and_the_trace_says_so(name: str) -> None:
    schedule, seen = SCHEDULES[name], watched(pruner(name))
    steps = len(seen.after)
    planned = {step: plan for step in range(steps) if (plan := schedule.plan_at(step, steps, FINAL)) is not None}
    assert [*planned] == [change.step for change in seen.training.trace]
    assert [dict(plan) for plan in planned.values()] == [change.sparsity for change in seen.training.trace]
    assert seen.training.masks is not None
    assert seen.training.trace[-1].masks_digest == seen.training.masks.digest
    in_force = dict.fromkeys(FINAL, 0.0)
    for step in range(steps):
        in_force = planned.get(step, in_force)
        for layer, alive in seen.alive(step).items():
            assert kept(layer, in_force[layer]) == int(alive.sum()), (step, layer)
    for change in seen.training.trace:
        assert {layer: kept(layer, sparsity) for layer, sparsity in change.sparsity.items()} == change.kept
        masks = {layer: alive for layer, alive in seen.alive(change.step).items() if layer in FINAL}
        assert Masks(masks).digest == change.masks_digest


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name not in REGROWING])
def test_masks_nest(name: str) -> None:
    seen = watched(pruner(name))
    for step in range(1, len(seen.after)):
        for layer, alive in seen.alive(step).items():
            assert not (alive & ~seen.alive(step - 1)[layer]).any(), (step, layer)
    assert [0] * len(seen.training.trace) == [change.grown for change in seen.training.trace]


@pytest.mark.parametrize("averaging", [0.0, 0.9], ids=["plain", "averaged"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_training_stopped_at_every_epoch_and_gone_on_with_ends_in_the_same_bytes(
    tmp_path: Path, name: str, averaging: float
) -> None:
    recipe = replace(RECIPE, averaging=averaging, optimizer="sgd" if averaging else "adamw")
    uninterrupted = trained(pruner(name), recipe)
    epochs = len(uninterrupted.epochs)

    class Stop(TrainingProgress):
        def __init__(self, after: int) -> None:
            self.after = after

        def epoch_done(self, epoch: Epoch, epochs: int) -> None:
            if epoch.number == self.after:
                raise KeyboardInterrupt

    for epoch in range(1, epochs):  # each in its own folder, and all in one
        for folder in (tmp_path / str(epoch), tmp_path / "all"):
            with pytest.raises(KeyboardInterrupt):
                trained(pruner(name), recipe, Stop(epoch), folder=folder)
        resumed = trained(pruner(name), recipe, folder=tmp_path / str(epoch))
        assert epoch == resumed.resumed_after
        assert_same(uninterrupted, resumed)
    assert_same(uninterrupted, trained(pruner(name), recipe, folder=tmp_path / "all"))


OTHERS: dict[str, Callable[[], Pruner]] = {
    "schedule": lambda: pruner("one-shot"),
    "a setting": lambda: pruner(replace(SCHEDULES["gradual"], frequency=3)),  # type: ignore[type-var]
    "plan": lambda: replace(pruner("gradual"), final=SparsityPlan({**FINAL, "classifier.weight": 0.1})),
    "chooser": lambda: pruner("gradual", chooser=ByMagnitude(key="another")),
    "early weights": lambda: replace(pruner("gradual"), early=early()),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_state_is_bound_to_its_pruner(tmp_path: Path, other: str) -> None:
    class Stop(TrainingProgress):
        def epoch_done(self, epoch: Epoch, epochs: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(pruner("gradual"), progress=Stop(), folder=tmp_path)
    assert 0 == trained(OTHERS[other](), folder=tmp_path).resumed_after
    assert 1 == trained(pruner("gradual"), folder=tmp_path).resumed_after


@pytest.mark.parametrize("name", REGROWING)
def test_regrowing_keeps_the_count_and_grows_from_zero_without_momentum(name: str) -> None:
    recipe = replace(RECIPE, learning_rate_schedule="constant", weight_decay=0.0, momentum=0.9)
    seen = watched(pruner(name), recipe)
    for change in seen.training.trace[1:]:
        grown = 0
        for layer, sparsity in FINAL.items():
            assert kept(layer, sparsity) == change.kept[layer]
            new = seen.alive(change.step)[layer] & (seen.before[change.step][layer] == 0)
            step = -recipe.learning_rate * seen.gradients[change.step][layer]
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


def test_rigl_grows_the_elements_of_largest_gradient() -> None:
    schedule = RigL(frequency=4, fraction=0.5)
    seen = watched(pruner(schedule))
    for change in seen.training.trace[1:]:
        fraction = schedule.dropped(change.step, len(seen.after))
        for layer, sparsity in FINAL.items():
            keep = kept(layer, sparsity)
            dropped = keep - kept(layer, sparsity + (1 - sparsity) * fraction) if sparsity else 0
            weight, gradient = seen.before[change.step][layer], seen.gradients[change.step][layer]
            expected = rigl_reference(weight, gradient, keep=keep, dropped=dropped)
            assert torch.equal(expected, seen.alive(change.step)[layer]), (change.step, layer)


def test_weight_rewinding_masks_by_the_trained_weights_and_goes_back_to_the_early_ones() -> None:
    seen, start = watched(pruner("weight-rewinding")), early()
    first, second = (change.step for change in seen.training.trace)
    assert (0, 2 * STEPS) == (first, second)
    for step, trained_weights in ((first, prunable_parameters(model())), (second, seen.after[second - 1])):
        for layer, weight in trained_weights.items():
            alive = seen.before[step][layer] != 0
            assert torch.equal(start[layer] * alive, seen.before[step][layer])
            ranked = weight.detach().abs().flatten().argsort(descending=True)[: int(alive.sum())]
            assert set(ranked.tolist()) == set(alive.flatten().nonzero()[:, 0].tolist())
    assert {state_digest(start)} == {change.rewound_to for change in seen.training.trace}


@pytest.mark.parametrize("learning_rate_schedule", ["cosine", "one_cycle", "cosine_per_iteration"])
@pytest.mark.parametrize("name", ["learning-rate-rewinding", "weight-rewinding"])
def test_rewinding_trains_each_round_by_the_dense_recipes_later_learning_rates(
    name: str, learning_rate_schedule: Any
) -> None:
    recipe = replace(RECIPE, learning_rate_schedule=learning_rate_schedule)
    dense = [epoch.tally.learning_rate for epoch in trained(None, recipe).epochs]
    rewound = trained(pruner(name), recipe)
    assert 2 * dense[1:] == [epoch.tally.learning_rate for epoch in rewound.epochs]
    assert 2 * dense == [epoch.tally.learning_rate for epoch in trained(pruner("iterative"), recipe).epochs]
    assert [STEPS] * 4 == [epoch.tally.steps for epoch in rewound.epochs]


def test_learning_rate_rewinding_keeps_the_weights() -> None:
    seen = watched(pruner("learning-rate-rewinding"))
    at = seen.training.trace[1].step
    for layer, weight in seen.before[at].items():
        assert torch.equal(torch.where(weight != 0, seen.after[at - 1][layer], 0.0), weight)


@pytest.mark.parametrize(("name", "first"), [("gradual", 2), ("iterative", 4), ("one-shot", 1), ("rigl", 3)])
def test_only_epochs_that_end_with_the_final_masks_count_as_best(name: str, first: int) -> None:
    training = trained(pruner(name))
    assert first == training.first_final
    counts = [epoch.evaluation.correct_count for epoch in training.epochs]
    assert max(counts[first - 1 :]) == training.best.evaluation.correct_count
    assert training.best.number >= first
    assert training.masks is not None
    for layer, mask in training.masks.items():
        assert 0 == int(training.best_state[layer][~mask].count_nonzero())
        assert kept(layer, FINAL[layer]) == int(mask.sum())


def test_a_schedule_that_changes_in_the_last_epoch_has_that_epoch_for_its_best() -> None:
    training = trained(pruner(Gradual(end=1.0)))
    assert (3, 3) == (training.first_final, training.best.number)
    assert state_digest(training.last_state) == state_digest(training.best_state)


def test_the_same_seed_grows_the_same_elements_and_another_does_not() -> None:
    first, again, other = (trained(pruner("set"), seed=seed) for seed in (7, 7, 8))
    assert first.trace == again.trace
    assert first.trace[1].masks_digest != other.trace[1].masks_digest


class Never(PruningSchedule):
    name = "never"

    def plan_at(self, step: int, steps: int, final: SparsityPlan) -> SparsityPlan | None:
        return None


class Halfway(Never):
    name = "halfway"

    def plan_at(self, step: int, steps: int, final: SparsityPlan) -> SparsityPlan | None:
        return SparsityPlan({name: sparsity / 2 for name, sparsity in final.items()})


class Falling(Never):
    name = "falling"

    def plan_at(self, step: int, steps: int, final: SparsityPlan) -> SparsityPlan | None:
        return final if step != 1 else SparsityPlan(dict.fromkeys(final, 0.0))


@dataclass(frozen=True)
class Afresh(ByMagnitude):
    """Chooses by weights that it draws each time, whatever was pruned."""

    def choose(self, model: nn.Module, plan: SparsityPlan, alive: Masks | None) -> Masks:
        return super().choose(built(Plain, seed=round(100 * plan["backbone.4.weight"])), plan, None)


@dataclass(frozen=True)
class Forgetful(ByMagnitude):
    def choose(self, model: nn.Module, plan: SparsityPlan, alive: Masks | None) -> Masks:
        chosen = dict(super().choose(model, plan, alive))
        return Masks({name: chosen[name] for name in [*chosen][1:]})


@dataclass(frozen=True)
class Rounding(ByMagnitude):
    def choose(self, model: nn.Module, plan: SparsityPlan, alive: Masks | None) -> Masks:
        return super().choose(model, SparsityPlan({name: round(value, 1) for name, value in plan.items()}), alive)


REFUSED: dict[str, tuple[Callable[[], Pruner], type[PrunebenchError], str]] = {
    "never": (lambda: pruner(Never()), PlanError, r"'never' ends with sparsity 0 of .* after 18 steps: expected 0.5$"),
    "halfway": (lambda: pruner(Halfway()), PlanError, "ends with sparsity 0.25 of 'backbone.0.weight'"),
    "falling": (lambda: pruner(Falling()), PlanError, "lowers the sparsity of 'backbone.0.weight' to 0 at step 1"),
    "no early weights": (
        lambda: replace(pruner("weight-rewinding"), early=None),
        TrainingError,
        r"weights after epoch 1 of the dense training: expected a checkpoint of them \(early\), got none",
    ),
    "early weights of another model": (
        lambda: replace(pruner("weight-rewinding"), early={"a": torch.zeros(1)}),
        CheckpointError,
        "'early weights' is a checkpoint of another architecture",
    ),
    "nothing left to train": (
        lambda: pruner(LearningRateRewinding(rewind_to=3)),
        TrainingError,
        "rewind_to must be below the recipe's 3 epochs, got 3",
    ),
    "plan of another model": (
        lambda: replace(pruner("gradual"), final=SparsityPlan({"a": 0.5})),
        UnknownNameError,
        "unknown layer 'a'",
    ),
    "revives": (lambda: pruner("gradual", chooser=Afresh()), MaskError, "expected masks that nest"),
    "forgets": (lambda: pruner("gradual", chooser=Forgetful()), MaskError, "no mask of 'backbone.0.weight' was chosen"),
    "another count": (
        lambda: pruner("gradual", chooser=Rounding()),
        MaskError,
        "'gradual', elements kept of 'backbone.*' at step .: expected",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_one_clear_error(name: str) -> None:
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        trained(make())


def test_masks_beside_a_pruner_are_refused() -> None:
    masks: Mapping[str, Tensor] = {"classifier.weight": torch.ones(4, 8).bool()}
    with pytest.raises(TrainingError, match="masks and a pruner: expected one of them"):
        trained(pruner("one-shot"), masks=Masks(masks))
