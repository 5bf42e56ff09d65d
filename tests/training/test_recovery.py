"""Recovery without labels: distillation from the dense model, and batch norm's statistics estimated anew."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from schedule_checks import DATA, RECIPE, SELECTION, Stop, early, model, pruner, trained
from tiny_networks import Plain, built
from torch import nn

from prunebench.data import Examples
from prunebench.errors import DataError, ModelError, TrainingError
from prunebench.models import state_digest
from prunebench.tasks import evaluate
from prunebench.training import Distillation, recalibrate_, train

pytestmark = pytest.mark.usefixtures("one_thread")

DISTILS = replace(RECIPE, distillation=Distillation(temperature=2.0, weight=1.0))


def teacher() -> nn.Module:
    return built(Plain, seed=9)


def test_the_loss_of_distillation_is_the_papers_and_its_example_holds() -> None:
    outputs, taught = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3), 0.0]])
    assert pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5)) == 0.13081203594113694
    assert pytest.approx(0.1308, abs=1e-4) == float(Distillation(temperature=1).loss(outputs, taught))
    # Its gradient is T (softmax(model / T) - softmax(teacher / T)) / n, equation 2 of the paper times T^2.
    scores, answers = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4)
    Distillation(temperature=3).loss(scores, answers).backward()
    expected = 3 * ((scores / 3).softmax(dim=1) - (answers / 3).softmax(dim=1)) / 5
    assert torch.allclose(expected, scores.grad, atol=1e-6)


def test_a_model_that_answers_as_its_teacher_has_nothing_to_learn() -> None:
    scores = torch.randn(5, 4)
    assert 0 == pytest.approx(float(Distillation().loss(scores, scores)), abs=1e-6)


def test_distillation_alone_looks_at_no_label() -> None:
    relabelled = Examples(DATA.inputs, DATA.targets.roll(1))
    settings: dict[str, Any] = {"selection": SELECTION, "seed": 7, "teacher": teacher()}
    first, second = (train(model(), data, DISTILS, **settings) for data in (DATA, relabelled))
    assert state_digest(first.last_state) == state_digest(second.last_state)
    mixed = replace(RECIPE, distillation=Distillation(weight=0.5))
    first, second = (train(model(), data, mixed, **settings) for data in (DATA, relabelled))
    assert state_digest(first.last_state) != state_digest(second.last_state)


def test_distillation_of_weight_0_is_training_by_the_labels() -> None:
    none = replace(RECIPE, distillation=Distillation(weight=0.0))
    assert state_digest(trained(None).last_state) == state_digest(trained(None, none, teacher=teacher()).last_state)


def test_a_distilled_model_comes_closer_to_its_teacher_which_stays_as_it_is() -> None:
    learns, teaches = model(), teacher().train()
    before, apart = state_digest(teaches.state_dict()), distance(learns, teaches)
    recipe = replace(DISTILS, epochs=10, weight_decay=0.0, augmentation=None)
    taught = train(learns, DATA, recipe, selection=DATA, seed=7, teacher=teaches)
    assert distance(model_of(dict(taught.last_state)), teaches) < apart / 2
    assert before == state_digest(teaches.state_dict())
    assert all(module.training for module in teaches.modules())
    assert all(parameter.grad is None for parameter in teaches.parameters())


def distance(one: nn.Module, other: nn.Module) -> float:
    first, second = (evaluate(each, DATA).first_outputs for each in (one, other))
    assert first is not None
    assert second is not None
    return float((first.softmax(dim=1) - second.softmax(dim=1)).abs().mean())


def test_a_distilled_training_is_gone_on_with_only_with_the_same_teacher(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(pruner("gradual"), DISTILS, Stop(1), folder=tmp_path, teacher=teacher())
    assert 0 == trained(pruner("gradual"), DISTILS, folder=tmp_path, teacher=model_of(early())).resumed_after
    resumed = trained(pruner("gradual"), DISTILS, folder=tmp_path, teacher=teacher())
    assert 1 == resumed.resumed_after
    whole = trained(pruner("gradual"), DISTILS, teacher=teacher())
    assert state_digest(whole.last_state) == state_digest(resumed.last_state)


def model_of(state: dict[str, torch.Tensor]) -> nn.Module:
    made = model()
    made.load_state_dict(state)
    return made


REFUSED: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "no teacher": (lambda: trained(None, DISTILS), TrainingError, "expected a teacher other than the model"),
    "itself": (
        lambda: train(same := model(), DATA, DISTILS, selection=SELECTION, seed=0, teacher=same),
        TrainingError,
        "expected a teacher other than the model",
    ),
    "temperature": (
        lambda: trained(None, replace(RECIPE, distillation=Distillation(temperature=0)), teacher=teacher()),
        TrainingError,
        "distillation.temperature must be finite and above 0, got 0",
    ),
    "weight": (
        lambda: trained(None, replace(RECIPE, distillation=Distillation(weight=2)), teacher=teacher()),
        TrainingError,
        "distillation.weight must be in [0, 1], got 2",
    ),
    "other classes": (
        lambda: trained(None, DISTILS, teacher=nn.Sequential(nn.Flatten(), nn.Linear(192, 3))),
        ModelError,
        "the model answers (16, 4), its teacher (16, 3)",
    ),
    "no batch norm": (
        lambda: recalibrate_(nn.Linear(2, 2), DATA, seed=0),
        ModelError,
        "the model has no batch norm with running statistics",
    ),
    "too few": (
        lambda: recalibrate_(model(), DATA, images=10, batch_size=20, seed=0),
        DataError,
        "batch_size must be between 2 and the 10 images, got 20",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_one_clear_error(name: str) -> None:
    attempt, error, message = REFUSED[name]
    with pytest.raises(error, match=re.escape(message)):
        attempt()


def test_recalibration_gives_the_mean_statistics_of_the_drawn_batches_and_changes_nothing_else() -> None:
    asked = model().train()
    asked.classifier.eval()  # type: ignore[union-attr]
    before = {name: value.clone() for name, value in asked.state_dict().items()}
    recalibrate_(asked, DATA, images=50, batch_size=20, seed=3)
    order = torch.randperm(len(DATA), generator=torch.Generator().manual_seed(3))
    convolution = asked.backbone[0]  # type: ignore[index]
    batches = [convolution(DATA.fed(DATA.inputs[order[start : start + 20]])) for start in (0, 20)]
    mean = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches]).mean(dim=0)
    variance = torch.stack([batch.transpose(0, 1).flatten(1).var(dim=1) for batch in batches]).mean(dim=0)
    after = asked.state_dict()
    assert torch.allclose(mean, after["backbone.1.running_mean"], atol=1e-6)
    assert torch.allclose(variance, after["backbone.1.running_var"], rtol=1e-5)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"backbone.1.running_mean", "backbone.1.running_var", "backbone.1.num_batches_tracked"} == changed
    assert asked.training
    assert not asked.classifier.training  # type: ignore[union-attr]
    assert pytest.approx(0.1) == asked.backbone[1].momentum  # type: ignore[index]


def test_recalibration_by_one_seed_is_the_same_and_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    drawn = torch.get_rng_state()
    digests = []
    for seed in (1, 1, 2):
        asked = model_of(early())
        torch.set_rng_state(drawn)
        recalibrate_(asked, DATA, images=40, batch_size=20, seed=seed)
        assert torch.equal(drawn, torch.get_rng_state())
        digests.append(state_digest(asked.state_dict()))
    assert digests[0] == digests[1] != digests[2]
