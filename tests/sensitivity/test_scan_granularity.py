"""A scan by any granularity answers as the model that `prune_` makes; layers that share channels have one point."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from prunebench.data import Examples
from prunebench.errors import PlanError
from prunebench.models import build_model, prunable_parameters
from prunebench.pruning import gather_evidence, prune_
from prunebench.sensitivity import Mode, sensitivity_scan
from prunebench.sensitivity.answers import unpacked
from prunebench.tasks import evaluate

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = Examples(torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 10)


def residual() -> nn.Module:
    torch.manual_seed(0)
    model = build_model("resnet20").eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics that pruning does not leave as they are
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.bias, -1, 1)
    return model


@pytest.mark.parametrize("granularity", ["element", "channel", "coupled-channel", "2:4", "block2x1"])
@pytest.mark.parametrize("criterion", ["magnitude", "taylor"])
@pytest.mark.parametrize("mode", ["exact", "adaptive"])
def test_points_are_answers_of_pruned_models(granularity: str, criterion: str, mode: Mode) -> None:
    model, evidence = residual(), None
    if criterion == "taylor":
        evidence = gather_evidence(model, DATA, needs={"batch_squares"}, examples=10)
    scan = sensitivity_scan(
        model, DATA, sparsities=(0.5,), granularity=granularity, criterion=criterion, evidence=evidence, mode=mode,
        layers=["conv1.weight", "layer2.0.conv1.weight"] if granularity not in ("2:4", "coupled-channel") else None,
        batch_size=24,
    )  # fmt: skip
    assert granularity == scan.granularity
    shared = {"conv1.weight", *(f"layer1.{block}.conv2.weight" for block in range(3))}
    for point in scan.points[:3]:
        pruned = copy.deepcopy(model)
        others = shared if granularity == "coupled-channel" and point.layer in shared else {point.layer}
        plan = dict.fromkeys(prunable_parameters(model), 0.0) | dict.fromkeys(others, 0.5)
        prune_(pruned, plan, granularity=granularity, criterion=criterion, evidence=evidence, example=DATA.inputs[:1])
        expected = evaluate(pruned, DATA, batch_size=24).correct
        assert int(expected.sum()) == point.correct
        if point.correct_bits is not None:
            assert expected.tolist() == unpacked(point.correct_bits, len(DATA)).tolist()


def test_layers_that_share_channels_have_one_point() -> None:
    scan = sensitivity_scan(residual(), DATA, sparsities=(0.5,), granularity="coupled-channel", batch_size=24)
    points = [point.layer for point in scan.points]
    assert "conv1.weight" in points
    assert {"layer1.0.conv2.weight", "layer1.1.conv2.weight", "linear.weight"}.isdisjoint(points)
    assert {"layer1.0.conv1.weight", "layer2.0.conv1.weight"} <= {*points}


def test_a_layer_that_a_granularity_does_not_prune_is_left_out_unless_it_is_asked_for() -> None:
    model = residual()
    scan = sensitivity_scan(model, DATA, sparsities=(0.5,), granularity="2:4", batch_size=24)
    assert "conv1.weight" not in {point.layer for point in scan.points}  # three inputs
    with pytest.raises(PlanError, match=r"'conv1\.weight'"):
        sensitivity_scan(model, DATA, sparsities=(0.5,), granularity="2:4", layers=["conv1.weight"])
