"""A training's figures, kept: a change of prunebench that changes what is computed needs another `ARITHMETIC`."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from prunebench.data import Augmentation, Examples
from prunebench.machine.environment import ARITHMETIC
from prunebench.pruning import prune_
from prunebench.training import Recipe, Training, train

CHANGED = (
    f"prunebench computes otherwise than version {ARITHMETIC} of its arithmetic did. If that is meant, raise "
    "ARITHMETIC in prunebench/machine/environment.py, so that nothing computed before is gone on with, and put the new "
    "figures here."
)
RECIPE = Recipe(
    epochs=2,
    batch_size=8,
    learning_rate=0.1,
    weight_decay=1e-3,
    learning_rate_schedule="cosine_per_iteration",
    augmentation=Augmentation(crop_padding=1, flip=True),
)


def made_images() -> Examples:
    """Twenty images by a formula and not by a generator, whose numbers other versions of torch may draw otherwise."""
    numbers = torch.arange(20 * 3 * 8 * 8)
    return Examples((numbers * numbers % 251).to(torch.uint8).view(20, 3, 8, 8), torch.arange(20) % 4)


def small_model() -> nn.Sequential:
    """Weights by a formula; half of each kernel is pruned."""
    layers = OrderedDict(
        conv=nn.Conv2d(3, 6, 3, padding=1, bias=False),
        norm=nn.BatchNorm2d(6),
        relu=nn.ReLU(),
        pool=nn.AdaptiveAvgPool2d(2),
        flat=nn.Flatten(),
        linear=nn.Linear(24, 4),
    )
    model = nn.Sequential(layers)
    with torch.no_grad():
        for weight in (model.conv.weight, model.linear.weight, model.linear.bias):
            numbers = torch.arange(1, weight.numel() + 1)
            weight.copy_(((numbers * numbers * 37 % 101) / 101 - 0.5).view(weight.shape))
    return model


@pytest.fixture(scope="module")
def trained() -> tuple[Training, str]:
    """The training, and its masks' digest."""
    model, data = small_model(), made_images()
    masks = prune_(model, {"conv.weight": 0.5, "linear.weight": 0.5})
    return train(model, data, RECIPE, selection=data, seed=5, masks=masks), masks.digest


def test_orders_and_augmentations_are_those_that_are_kept(trained: tuple[Training, str]) -> None:
    expected = [
        (
            "a30fe5302dc2709c7068220dc5ff29a5f87ca57c8e201a6788f38bfe360dd090",
            "ca59052a515318ed4c4fcb860679b9f7de6c754d3aa8dca03b83a07110ef4dcf",
        ),
        (
            "8f21ed1660ba1da5ad7bd48d964b306b87c8725960ab32d1ae4072af7d5ec566",
            "663cc418384c3e903bec87db34d8d2b6b25f3e06ee6f13873a0dbf193dcb56f2",
        ),
    ]
    tallies = [epoch.tally for epoch in trained[0].epochs]
    assert expected == [(tally.images_digest, tally.labels_digest) for tally in tallies], CHANGED


def test_masks_are_those_that_are_kept(trained: tuple[Training, str]) -> None:
    assert "dd698c0078f6f352759f30b645c2840668cdcc8f81fff3037eb29ebb3eae9a6b" == trained[1], CHANGED


def test_learning_rates_are_those_that_are_kept(trained: tuple[Training, str]) -> None:
    rates = [epoch.tally.learning_rate for epoch in trained[0].epochs]  # of 0.1, 0.05, 0 and of 0.05, 0.1, 0.05
    assert [0.05, 0.2 / 3] == pytest.approx(rates, rel=1e-12), CHANGED


def test_losses_and_weights_are_those_that_are_kept_but_for_rounding(trained: tuple[Training, str]) -> None:
    training, _ = trained
    losses = [epoch.loss for epoch in training.epochs]
    norms = {
        name: float(tensor.double().norm())
        for name, tensor in training.last_state.items()
        if tensor.is_floating_point()
    }
    expected = {
        "conv.weight": 3.4491023,
        "norm.weight": 2.3622685,
        "norm.bias": 0.16523124,
        "norm.running_mean": 0.36142678,
        "norm.running_var": 1.5181237,
        "linear.weight": 2.6012170,
        "linear.bias": 0.30521276,
    }
    assert [1.5661076, 1.5400418] == pytest.approx(losses, rel=1e-4), CHANGED
    assert expected == pytest.approx(norms, rel=1e-4), CHANGED
