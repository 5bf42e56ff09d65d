"""The recipe: learning rates as the lab's code has them, and weights that a plain PyTorch loop makes to the bit."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import register_optimizer_step_pre_hook

from prunebench.data import Augmentation, Examples, training_batches
from prunebench.errors import TrainingError
from prunebench.pruning import Masks
from prunebench.training import Recipe, TrainingProgress, train

pytestmark = pytest.mark.usefixtures("one_thread")

LOOP = importlib.import_module("prunebench.training.train")  # its name in the package is the function's


DOCUMENTED = Recipe(
    epochs=3,
    batch_size=16,
    learning_rate=0.01,
    learning_rate_schedule="cosine_per_iteration",
    augmentation=Augmentation(),
)
"""The documented fine-tuning on a smaller batch: momentum 0.9, weight decay 1e-4, crop and flip are the defaults."""


def random_images(n: int, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return Examples(images, torch.randint(0, 4, (n,), generator=generator))


def conv_model() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    ]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def half_masks(model: nn.Module) -> Masks:
    """The smaller half of every weight pruned."""
    weights = {name: p.detach().abs() for name, p in model.named_parameters() if p.dim() >= 2}
    return Masks({name: weight > weight.median() for name, weight in weights.items()})


@pytest.fixture
def used_rates() -> Iterator[list[float]]:
    """The learning rate of each optimizer step, in order."""
    rates: list[float] = []

    def note(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        rates.append(optimizer.param_groups[0]["lr"])

    hook = register_optimizer_step_pre_hook(note)
    yield rates
    hook.remove()


def train_on(n: int, recipe: Recipe) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    train(model, random_images(n), recipe, selection=random_images(4, seed=1), seed=0)


@pytest.mark.parametrize(("epochs", "images"), [(1, 80), (2, 70), (5, 64), (9, 32)])
def test_cosine_per_iteration_swings_with_a_period_of_twice_the_epochs_in_iterations(
    used_rates: list[float], epochs: int, images: int
) -> None:
    train_on(images, replace(DOCUMENTED, epochs=epochs))
    steps = epochs * math.ceil(images / 16)
    expected = [0.01 * (1 + math.cos(math.pi * step / epochs)) / 2 for step in range(steps)]
    assert expected == pytest.approx(used_rates, abs=1e-12)
    assert pytest.approx(used_rates[: -2 * epochs], abs=1e-12) == used_rates[2 * epochs :]


def test_cosine_per_iteration_is_the_labs_scheduler_stepped_in_the_labs_place(used_rates: list[float]) -> None:
    train_on(64, replace(DOCUMENTED, epochs=5))
    trained = list(used_rates)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.01, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5)
    lab = []
    for _ in range(5):
        for _ in range(4):
            lab.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
    assert lab == trained


def test_cosine_falls_once_from_the_learning_rate_to_zero(used_rates: list[float]) -> None:
    train_on(70, replace(DOCUMENTED, learning_rate_schedule="cosine"))
    expected = [0.01 * (1 + math.cos(math.pi * step / 15)) / 2 for step in range(15)]
    assert expected == pytest.approx(used_rates, abs=1e-12)
    assert sorted(used_rates, reverse=True) == used_rates
    assert 0.01 == used_rates[0]
    assert used_rates[-1] < 0.01 * 0.02


def test_one_cycle_rises_to_the_learning_rate_in_the_warmup_and_falls_to_near_zero(used_rates: list[float]) -> None:
    train_on(19 * 16, replace(DOCUMENTED, epochs=1, learning_rate_schedule="one_cycle", warmup=0.2))
    start, end = 0.01 / 25, 0.01 / 25 / 1e4
    rise = [start + (0.01 - start) * step / 3 for step in range(3)]
    fall = [0.01 + (end - 0.01) * step / 16 for step in range(16)]
    assert rise + fall == pytest.approx(used_rates, abs=1e-12)
    assert 3 == used_rates.index(max(used_rates))


@pytest.mark.parametrize(("warmup", "steps"), [(0.2, 4), (0.1, 9), (0.5, 1), (0.25, 3), (0.0, 4), (1.0, 4)])
def test_one_cycle_takes_any_warmup_also_one_that_leaves_no_step_to_rise_in(
    used_rates: list[float], warmup: float, steps: int
) -> None:
    train_on(16 * steps, replace(DOCUMENTED, epochs=1, learning_rate_schedule="one_cycle", warmup=warmup))
    assert steps == len(used_rates)
    assert all(0 < rate <= 0.01 for rate in used_rates)


def test_the_schedule_counts_the_images_that_are_used(used_rates: list[float]) -> None:
    train_on(70, replace(DOCUMENTED, learning_rate_schedule="cosine").shortened(epochs=2, images_per_epoch=33))
    assert 2 * 3 == len(used_rates)
    assert 0.01 * (1 + math.cos(math.pi * 5 / 6)) / 2 == pytest.approx(used_rates[-1])


def recorded_batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """The list that every batch trained on from now on is added to."""
    batches: list[tuple[Tensor, Tensor]] = []

    def recorded(*args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in training_batches(*args, **kwargs):
            batches.append((images.clone(memory_format=torch.preserve_format), labels.clone()))
            yield images, labels

    monkeypatch.setattr(LOOP, "training_batches", recorded)
    return batches


def test_each_epoch_and_each_seed_has_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = recorded_batches(monkeypatch)
    data = Examples(random_images(40).inputs, torch.arange(40))
    for seed in (0, 1):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 40))
        train(model, data, replace(DOCUMENTED, batch_size=40), selection=data, seed=seed)
    orders = [tuple(labels.tolist()) for _, labels in batches]
    assert 6 == len(set(orders))
    assert {tuple(range(40))} == {tuple(sorted(order)) for order in orders}


@pytest.mark.parametrize("augmentation", [None, Augmentation()], ids=["plain", "augmented"])
def test_the_documented_fine_tuning_is_a_plain_pytorch_loop_to_the_bit(
    monkeypatch: pytest.MonkeyPatch, augmentation: Augmentation | None
) -> None:
    batches = recorded_batches(monkeypatch)
    model, recipe = conv_model(), replace(DOCUMENTED, augmentation=augmentation)
    masks = half_masks(model)
    masks.apply_(model)
    training = train(model, random_images(40), recipe, selection=random_images(20, seed=1), seed=3, masks=masks)
    assert [16, 16, 8] * 3 == [len(labels) for _, labels in batches]

    plain = conv_model()
    weights = {name: parameter for name, parameter in plain.named_parameters() if name in masks}
    with torch.no_grad():
        for name, weight in weights.items():
            weight[~masks[name]] = 0
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)
    plain.train()
    losses = []
    for images, labels in batches:
        optimizer.zero_grad()
        loss = cross_entropy(plain(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        with torch.no_grad():
            for name, weight in weights.items():
                weight[~masks[name]] = 0
        losses.append(loss.item())

    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, training.last_state[name]), name
    epochs = [losses[start : start + 3] for start in (0, 3, 6)]
    means = [(16 * first + 16 * second + 8 * third) / 40 for first, second, third in epochs]
    assert means == pytest.approx([epoch.loss for epoch in training.epochs], rel=1e-5)


def test_nesterov_smoothing_and_decay_of_weights_alone_are_those_of_a_plain_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = random_images(32)

    def in_order(*_: Any, **__: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for start in (0, 16):
            yield data.inputs[start : start + 16].float() / 255, data.targets[start : start + 16]

    monkeypatch.setattr(LOOP, "training_batches", in_order)
    recipe = Recipe(
        epochs=2,
        batch_size=16,
        learning_rate=0.1,
        nesterov=True,
        label_smoothing=0.2,
        weight_decay=0.1,
        decay_weights_only=True,
    )
    model = conv_model()
    training = train(model, data, recipe, selection=random_images(20, seed=1), seed=3)

    plain = conv_model()
    decayed = [parameter for parameter in plain.parameters() if parameter.dim() >= 2]
    others = [parameter for parameter in plain.parameters() if parameter.dim() < 2]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": 0.1}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    for _ in range(2):
        for images, labels in in_order():
            optimizer.zero_grad()
            loss = cross_entropy(plain(images), labels, label_smoothing=0.2)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            scheduler.step()
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, training.last_state[name]), name


def test_averaging_evaluates_and_keeps_the_moving_average_of_the_weights() -> None:
    steps: list[dict[str, Tensor]] = []
    model = conv_model()

    class Watch(TrainingProgress):
        def step(self, epoch: int, epochs: int, images: int, total: int) -> None:
            steps.append({name: parameter.detach().clone() for name, parameter in model.named_parameters()})

    recipe = replace(DOCUMENTED, epochs=1, averaging=0.75)
    training = train(model, random_images(48), recipe, selection=random_images(20, seed=1), seed=0, progress=Watch())
    assert 3 == len(steps)
    for name, first in steps[0].items():
        average = first
        for later in steps[1:]:
            average = 0.75 * average + 0.25 * later[name]
        assert torch.allclose(average, training.last_state[name], rtol=1e-5, atol=1e-7), name
        assert torch.equal(training.best_state[name], dict(model.named_parameters())[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"epochs": -2}, "epochs must be a whole number of at least 1, got -2"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"images_per_epoch": 0}, "images_per_epoch must be a whole number of at least 1, got 0"),
        ({"images_per_epoch": -5}, "images_per_epoch must be a whole number of at least 1, got -5"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_refused_by_name_and_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=f"^{message}$"):
        train_on(16, replace(DOCUMENTED, **change))


def test_shortening_changes_epochs_and_images_alone() -> None:
    assert replace(DOCUMENTED, epochs=1, images_per_epoch=9) == DOCUMENTED.shortened(epochs=1, images_per_epoch=9)
