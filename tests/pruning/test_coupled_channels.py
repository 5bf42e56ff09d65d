"""Pruning by coupled channels: layers that share channels lose the same ones, by the norm over all of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from prunebench.errors import PlanError
from prunebench.models import build_model, prunable_parameters
from prunebench.pruning import Evidence, find_criterion, plan_masks, prune_

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def prune(model: nn.Module, sparsity: float = 0.5, granularity: str = "coupled-channel", **others: float) -> nn.Module:
    """The model, every weight but the last layer's pruned; `others` by name, with __ for a dot."""
    plan = dict.fromkeys(prunable_parameters(model), sparsity)
    plan |= {[*plan][-1]: 0.0} | {name.replace("__", "."): value for name, value in others.items()}
    prune_(model, plan, granularity=granularity, example=IMAGES)
    return model


def kept(model: nn.Module, name: str) -> list[int]:
    return model.get_parameter(f"{name}.weight").flatten(1).any(dim=1).nonzero().flatten().tolist()


def resnet(shortcut: str = "projection") -> nn.Module:
    torch.manual_seed(0)
    return build_model("resnet20", {"shortcut": shortcut})


SUM = ["conv1", *(f"layer1.{block}.conv2" for block in range(3))]


def test_layers_of_a_residual_sum_lose_the_channels_of_least_norm_over_all_of_them() -> None:
    dense = resnet()
    norms = torch.cat([dense.get_parameter(f"{name}.weight").detach().flatten(1) for name in SUM], dim=1).norm(dim=1)
    model = prune(resnet(), 0.25)
    assert [sorted(norms.argsort()[4:].tolist())] * 4 == [kept(model, name) for name in SUM]


def test_padding_leaves_a_narrow_sum_and_the_wide_one_the_same_channels_and_every_count_exact() -> None:
    model = prune(resnet("padding"), 0.3)
    narrow, middle, wide = (kept(model, f"layer{stage}.1.conv2") for stage in (1, 2, 3))
    assert narrow == [channel - 8 for channel in middle if 8 <= channel < 24]
    assert middle == [channel - 16 for channel in wide if 16 <= channel < 48]
    assert [16 - 5, 32 - 10, 64 - 19] == [len(narrow), len(middle), len(wide)]


def test_layers_that_share_with_no_other_are_pruned_as_by_channel() -> None:
    torch.manual_seed(0)
    alone = prune(build_model("vgg"))
    torch.manual_seed(0)
    channel = prune(build_model("vgg"), granularity="channel")
    assert all(torch.equal(one, other) for one, other in zip(alone.parameters(), channel.parameters(), strict=True))


class Branches(nn.Module):
    """A sum of a layer's output and of two others side by side; a depthwise convolution of it."""

    def __init__(self) -> None:
        super().__init__()
        self.whole, self.first, self.second = nn.Conv2d(3, 24, 1), nn.Conv2d(3, 8, 1), nn.Conv2d(3, 16, 1)
        self.depthwise, self.linear = nn.Conv2d(24, 24, 3, groups=24), nn.Linear(24, 2)

    def forward(self, images: Tensor) -> Tensor:
        added = self.whole(images) + torch.cat([self.first(images), self.second(images)], dim=1)
        return self.linear(self.depthwise(added).mean(dim=(2, 3)))


def test_layers_side_by_side_share_with_the_sum_and_with_a_depthwise_convolution() -> None:
    model = prune(Branches())
    beside = [*kept(model, "first"), *(8 + channel for channel in kept(model, "second"))]
    assert (12, beside, beside) == (len(beside), kept(model, "whole"), kept(model, "depthwise"))


def test_layers_that_share_channels_need_one_sparsity() -> None:
    error = r"'conv1.weight' and 'layer1.1.conv2.weight' share channels: their sparsities must be equal, got 0.5 and 0$"
    with pytest.raises(PlanError, match=error):
        prune(resnet(), layer1__1__conv2__weight=0.0)


def test_a_sparsity_that_rounds_otherwise_in_layers_that_share_channels_is_refused() -> None:
    before = Branches()
    weights = before.whole.weight.clone()
    with pytest.raises(PlanError, match=r"share 16 channels, of which sparsity 0\.1 rounds to 1 in the one and 2 "):
        prune(before, 0.1)
    assert torch.equal(weights, before.whole.weight)


def test_without_an_example_nothing_is_known_to_be_shared() -> None:
    with pytest.raises(PlanError, match="'coupled-channel' needs an example"):
        prune_(nn.Linear(3, 4), {"weight": 0.5}, granularity="coupled-channel")


def test_nan_is_an_error_of_its_own_weight() -> None:
    model = resnet()
    model.get_parameter("layer1.2.conv2.weight").data[3, 0, 0, 0] = torch.nan
    with pytest.raises(PlanError, match=r"'layer1.2.conv2.weight' has 1 NaN"):
        prune(model)


def test_channels_that_are_pruned_already_go_first_in_every_layer() -> None:
    plan = dict.fromkeys(prunable_parameters(resnet()), 0.5) | {"linear.weight": 0.0}
    alive = plan_masks(resnet(), plan, granularity="coupled-channel", example=IMAGES)
    fewer = {name: sparsity / 2 for name, sparsity in plan.items()}
    found = plan_masks(
        resnet(), fewer, criterion="random", evidence=Evidence(seed=1), granularity="coupled-channel", example=IMAGES,
        alive=alive,
    )  # fmt: skip
    for name in SUM:
        was, is_ = (masks[f"{name}.weight"].flatten(1)[:, 0] for masks in (alive, found))
        assert (4, 8) == (int((~is_).sum()), int((~was).sum()))
        assert not (is_.logical_not() & was).any()


def test_a_criterion_whose_scores_add_up_is_added_over_the_layers() -> None:
    dense = resnet()
    scores = find_criterion("random").scores(dense, [f"{name}.weight" for name in SUM], Evidence(seed=3))
    total = torch.stack([each.double().flatten(1).sum(dim=1) for each in scores.values()]).sum(dim=0)
    plan = dict.fromkeys(prunable_parameters(dense), 0.25) | {"linear.weight": 0.0}
    prune_(dense, plan, criterion="random", evidence=Evidence(seed=3), granularity="coupled-channel", example=IMAGES)
    assert [sorted(total.argsort()[4:].tolist())] * 4 == [kept(dense, name) for name in SUM]
