"""Pruning by whole output channels: how many, which, and what goes with them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from prunebench.errors import PlanError, UnknownNameError
from prunebench.pruning import Masks, find_granularity, prune_
from prunebench.pruning.granularities import GRANULARITIES


class Adding(nn.Module):
    """A batch norm of a sum, one of a convolution's output as it is, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.own, self.of_sum, self.linear = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(images)
        added = self.second(self.own(first).relu())
        added += first  # in place: the same tensor, with another value
        return self.linear(self.of_sum(added).mean(dim=(2, 3)))


PLAN = {"first.weight": 0.5, "second.weight": 0.25, "linear.weight": 0.0}
IMAGES = torch.randn(2, 3, 6, 6)


def pruned(plan: dict[str, float] = PLAN, example: Tensor | None = IMAGES) -> tuple[Adding, Masks]:
    torch.manual_seed(0)
    model = Adding()
    return model, prune_(model, plan, granularity="channel", example=example)


def test_the_channels_of_least_l2_norm_go_whole() -> None:
    torch.manual_seed(0)
    norms = Adding().first.weight.detach().flatten(1).norm(dim=1)
    model, masks = pruned()
    kept = masks["first.weight"].flatten(1)
    assert set(norms.argsort()[2:].tolist()) == set(kept.all(dim=1).nonzero().flatten().tolist())
    assert torch.equal(kept.all(dim=1), kept.any(dim=1))
    masks.check(model)


def test_the_norm_of_a_channel_is_no_sum() -> None:
    """By the sum of |w| the first channel would go."""
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(torch.tensor([[3.0, 0.0], [2.0, -2.0]]))
    assert [True, False] == prune_(layer, {"weight": 0.5}, granularity="channel")["weight"][:, 0].tolist()


def test_bias_and_the_batch_norm_of_the_output_itself_lose_the_channel() -> None:
    _, masks = pruned()
    kept = masks["first.weight"].flatten(1)[:, 0]
    assert {
        "first.weight",
        "second.weight",
        "linear.weight",
        "first.bias",
        "second.bias",
        "own.weight",
        "own.bias",
    } == set(masks)
    assert all(torch.equal(kept, masks[name]) for name in ("first.bias", "own.weight", "own.bias"))


def test_pruned_channels_are_zeros_after_their_batch_norm() -> None:
    model, masks = pruned()
    zero = ~masks["first.weight"].flatten(1)[:, 0]
    model.own.running_mean.normal_()
    after = model.eval().own(model.first(IMAGES))
    assert 0 == after[:, zero].abs().max()
    assert 0 < after[:, ~zero].abs().max()


def test_without_an_example_batch_norms_stay() -> None:
    _, masks = pruned(example=None)
    assert not {"own.weight", "own.bias"} & set(masks)


def test_equal_channels_go_by_index_and_twice_is_once() -> None:
    layer = nn.Linear(3, 5)
    nn.init.constant_(layer.weight, 0.5)
    masks = prune_(layer, {"weight": 0.4}, granularity="channel")
    assert [False, False, True, True, True] == masks["weight"][:, 0].tolist()
    assert masks.digest == prune_(layer, {"weight": 0.4}, granularity="channel").digest


@pytest.mark.parametrize(("sparsity", "channels"), [(0, 0), (0.124, 0), (0.126, 1), (0.5, 2), (0.625, 2), (1, 4)])
def test_one_rule_rounds_channels_as_it_does_elements(sparsity: float, channels: int) -> None:
    channel = find_granularity("channel")
    assert channels == channel.pruned_units((4, 3, 3, 3), sparsity)
    assert channels == find_granularity("element").pruned_units((4,), sparsity)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 3, 3)])
@pytest.mark.parametrize("name", GRANULARITIES)
def test_a_mask_prunes_units_of_the_size_that_is_said(name: str, shape: tuple[int, ...]) -> None:
    granularity = GRANULARITIES[name]
    scores = granularity.unit_scores(torch.rand(shape))
    kept = torch.ones_like(scores, dtype=torch.bool)
    kept.view(-1)[0] = False
    mask = granularity.expand(kept, shape)
    assert (shape, granularity.unit_size(shape)) == (tuple(mask.shape), int((~mask).sum()))


@pytest.mark.parametrize(
    ("model", "plan", "said"),
    [
        (Adding(), PLAN | {"linear.weight": 0.5}, "'linear.weight' gives the model's answers"),
        (
            nn.Sequential(nn.ConvTranspose2d(3, 4, 2)),
            {"0.weight": 0.5},
            "'0.weight' has its channels in another dimension",
        ),
    ],
)
def test_what_has_no_channels_to_prune_is_refused_and_stays(
    model: nn.Module, plan: dict[str, float], said: str
) -> None:
    before = [each.clone() for each in model.parameters()]
    with pytest.raises(PlanError, match=said):
        prune_(model, plan, granularity="channel", example=IMAGES)
    assert all(torch.equal(one, two) for one, two in zip(before, model.parameters(), strict=True))


def test_an_unknown_granularity_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown granularity 'channels'.*did you mean 'channel'"):
        prune_(Adding(), PLAN, granularity="channels")
