"""Pruning in the training loop: masks obey the schedule at each step, and a stopped training ends in the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from schedule_checks import (
    CHECKS,
    DATA,
    FINAL,
    RECIPE,
    SCHEDULES,
    STEPS,
    Check,
    assert_same,
    early,
    model,
    pruner,
    recipe_for,
    stop,
    trained,
    watched,
)
from tiny_networks import Plain, built
from torch import Tensor, nn

from prunebench.errors import CheckpointError, MaskError, PlanError, PrunebenchError, TrainingError, UnknownNameError
from prunebench.experiments.methods import MethodAtWork
from prunebench.models import state_digest
from prunebench.pruning import (
    Evidence,
    Masks,
    SparsityPlan,
    find_criterion,
    find_granularity,
    plan_masks,
    prune_,
)
from prunebench.pruning.criteria.movement import Movement
from prunebench.pruning.schedules import Gradual, LearningRateRewinding, PruningSchedule
from prunebench.tasks import CLASSIFICATION
from prunebench.training import ByMagnitude, Pruner

pytestmark = pytest.mark.usefixtures("one_thread")

Moved = Mapping[str, Tensor] | None


@dataclass(frozen=True)
class ByMovement(ByMagnitude):
    """Keeps what a criterion of movement keeps, and all that it was given to choose by."""

    key: str = "movement"
    reads_movement: bool = True
    given: list[Moved] = field(default_factory=list)

    def choose(self, model: nn.Module, plan: SparsityPlan, alive: Masks | None, movement: Moved) -> Masks:
        self.given.append(movement and {name: sums.clone() for name, sums in movement.items()})
        evidence = Evidence(movement=movement or {name: torch.zeros_like(model.get_parameter(name)) for name in plan})
        return plan_masks(model, plan, criterion=find_criterion("movement"), evidence=evidence, alive=alive)


@pytest.mark.parametrize(
    ("name", "check"),
    [(name, check) for name, checks in CHECKS.items() for check in checks],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_in_every_step_of_a_schedule(name: str, check: Check) -> None:
    check(watched(pruner(name), recipe_for(name)))


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_one_shot_is_fine_tuning_under_the_masks_of_prune_to_the_byte(averaging: float) -> None:
    recipe, dense = replace(RECIPE, averaging=averaging), model()
    masks = prune_(dense, FINAL)
    expected = trained(None, recipe, trains=dense, masks=masks)
    got = trained(pruner("one-shot"), recipe)
    assert (1, 1) == (got.first_final, expected.first_final)
    assert_same(replace(expected, trace=got.trace), got)
    assert [0] == [change.step for change in got.trace]


@pytest.mark.parametrize("averaging", [0.0, 0.9], ids=["plain", "averaged"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_training_stopped_at_every_epoch_and_gone_on_with_ends_in_the_same_bytes(
    tmp_path: Path, name: str, averaging: float
) -> None:
    recipe = replace(RECIPE, averaging=averaging, optimizer="sgd" if averaging else "adamw")
    uninterrupted = trained(pruner(name), recipe)
    for epoch in range(1, len(uninterrupted.epochs)):  # each in its own folder, and all in one
        for folder in (tmp_path / str(epoch), tmp_path / "all"):
            stop(pruner(name), folder, after=epoch, recipe=recipe)
        resumed = trained(pruner(name), recipe, folder=tmp_path / str(epoch))
        assert epoch == resumed.resumed_after
        assert_same(uninterrupted, resumed)
    assert_same(uninterrupted, trained(pruner(name), recipe, folder=tmp_path / "all"))


@pytest.mark.parametrize("name", ["gradual", "iterative", "rigl"])
def test_movement_is_added_up_over_all_steps_and_survives_a_stop(tmp_path: Path, name: str) -> None:
    net, sums, expected, chooser = model(), dict[str, Tensor](), list[Moved](), ByMovement()

    def add(layer: str, weight: Tensor) -> None:
        sums[layer] = sums[layer] - weight.grad * weight.detach()

    for layer, weight in net.named_parameters():
        sums[layer] = torch.zeros_like(weight)
        weight.register_post_accumulate_grad_hook(partial(add, layer))

    class Noting(ByMovement):
        def choose(self, *arguments: Any) -> Masks:
            expected.append({layer: moved.detach().clone() for layer, moved in sums.items()})
            return super().choose(*arguments)

    training = trained(pruner(name, chooser=Noting(given=chooser.given)), recipe_for(name), trains=net)
    for number, (wanted, got) in enumerate(zip(expected, chooser.given, strict=True)):
        assert (training.trace[number].step == 0) == (got is None)
        for layer, moved in (got or {}).items():
            assert torch.equal(wanted[layer], moved)
    for epoch in range(1, len(training.epochs)):
        stop(pruner(name, chooser=ByMovement()), tmp_path, after=epoch, recipe=recipe_for(name))
    assert_same(training, trained(pruner(name, chooser=ByMovement()), recipe_for(name), folder=tmp_path))


class MovementAndInputs(Movement):
    name = "movement and inputs"
    needs = frozenset({"movement", "input_norms"})

    def score(self, name: str, weight: Tensor, evidence: Evidence) -> Tensor:
        evidence.of("input_norms", name)
        return super().score(name, weight, evidence)


def test_a_criterion_that_reads_movement_and_more_has_the_training_s_and_the_rest_gathered() -> None:
    net, data = model(), DATA
    asked = MethodAtWork(
        criterion=MovementAndInputs(), units=find_granularity("element"), training=data, task=CLASSIFICATION,
        example=data.inputs[:1], seed=0, examples=10,
    )  # fmt: skip
    moved = {name: torch.randn(weight.shape) for name, weight in net.named_parameters()}
    expected = plan_masks(net, FINAL, criterion=find_criterion("movement"), evidence=Evidence(movement=moved))
    assert expected.digest == asked.choose(net, FINAL, None, moved).digest
    assert expected.digest != asked.choose(net, FINAL, None, None).digest


OTHERS: dict[str, Callable[[], Pruner]] = {
    "schedule": lambda: pruner("one-shot"),
    "a setting": lambda: pruner(replace(SCHEDULES["gradual"], frequency=3)),  # type: ignore[type-var]
    "plan": lambda: replace(pruner("gradual"), final=SparsityPlan({**FINAL, "classifier.weight": 0.1})),
    "chooser": lambda: pruner("gradual", chooser=ByMagnitude(key="another")),
    "early weights": lambda: replace(pruner("gradual"), early=early()),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_state_is_bound_to_its_pruner(tmp_path: Path, other: str) -> None:
    stop(pruner("gradual"), tmp_path, after=1)
    assert 0 == trained(OTHERS[other](), folder=tmp_path).resumed_after
    assert 1 == trained(pruner("gradual"), folder=tmp_path).resumed_after


@pytest.mark.parametrize("learning_rate_schedule", ["cosine", "one_cycle", "cosine_per_iteration", "constant"])
def test_rounds_have_the_learning_rates_of_the_recipe_from_where_they_begin(learning_rate_schedule: Any) -> None:
    recipe = replace(RECIPE, learning_rate_schedule=learning_rate_schedule)
    dense = [epoch.tally.learning_rate for epoch in trained(None, recipe).epochs]
    for name, rates in (("learning-rate-rewinding", dense[1:]), ("iterative", dense)):
        epochs = trained(pruner(name), recipe).epochs
        assert 2 * rates == [epoch.tally.learning_rate for epoch in epochs]
        assert {STEPS} == {epoch.tally.steps for epoch in epochs}


def test_learning_rate_rewinding_keeps_the_weights() -> None:
    seen = watched(pruner("learning-rate-rewinding"))
    at = seen.training.trace[1].step
    for layer, weight in seen.before[at].items():
        assert torch.equal(torch.where(weight != 0, seen.after[at - 1][layer], 0.0), weight)


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


class Failing(Never):
    name = "failing"

    def plan_at(self, step: int, steps: int, final: SparsityPlan) -> SparsityPlan | None:
        return SparsityPlan({"a": 1 / step})


@dataclass(frozen=True)
class Afresh(ByMagnitude):
    """Chooses by weights that it draws each time, whatever was pruned."""

    def choose(self, model: nn.Module, plan: SparsityPlan, alive: Masks | None, movement: Moved) -> Masks:
        return super().choose(built(Plain, seed=round(100 * plan["backbone.4.weight"])), plan, None, movement)


@dataclass(frozen=True)
class Forgetful(ByMagnitude):
    def choose(self, model: nn.Module, plan: SparsityPlan, alive: Masks | None, movement: Moved) -> Masks:
        chosen = dict(super().choose(model, plan, alive, movement))
        return Masks({name: chosen[name] for name in [*chosen][1:]})


@dataclass(frozen=True)
class Rounding(ByMagnitude):
    def choose(self, model: nn.Module, plan: SparsityPlan, alive: Masks | None, movement: Moved) -> Masks:
        rounded = SparsityPlan({name: round(value, 1) for name, value in plan.items()})
        return super().choose(model, rounded, alive, movement)


REFUSED: dict[str, tuple[Callable[[], Pruner], type[PrunebenchError], str]] = {
    "never": (lambda: pruner(Never()), PlanError, r"'never' ends with sparsity 0 of .* after 18 steps: expected 0.5$"),
    "halfway": (lambda: pruner(Halfway()), PlanError, "ends with sparsity 0.25 of 'backbone.0.weight'"),
    "failing": (lambda: pruner(Failing()), PlanError, "'failing' fails at step 0: ZeroDivisionError: division by zero"),
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
