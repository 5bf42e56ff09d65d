"""Methods on models: totals are hit, thresholds are global, limits hold, masks are the plan's."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planning.scan_factory import make_inventory
from torch import Tensor, nn

from prunebench.errors import PlanError, UnknownNameError
from prunebench.models import prunable_parameters
from prunebench.planning import Inventory, allocate, find_allocation, method_masks, method_plan
from prunebench.planning.allocations import OWN
from prunebench.pruning import CRITERIA, Evidence, find_granularity, prune_

fewer = settings(max_examples=30)
EXAMPLE = torch.zeros(2, 8, 6, 6)
BY_ELEMENT = [name for name, criterion in CRITERIA.items() if not criterion.by_channel]


class Small(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.norm1 = nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.second, self.norm2 = nn.Conv2d(12, 16, 3), nn.BatchNorm2d(16)
        self.last = nn.Linear(16, 4)
        for norm in (self.norm1, self.norm2):
            nn.init.uniform_(norm.weight, -1, 1)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.norm1(self.first(images)).relu()
        return self.last(self.norm2(self.second(hidden)).relu().mean(dim=(2, 3)))


def evidence_of(model: nn.Module) -> Evidence:
    torch.manual_seed(1)
    made = {name: torch.randn(weight.shape) for name, weight in prunable_parameters(model).items()}
    squares = {name: each.square() for name, each in made.items()}
    norms = {name: squares[name][:1].double() for name in made}
    return Evidence(
        gradients=made,
        batch_squares=squares,
        example_squares=squares,
        input_norms=norms,
        movement=made,
        example=EXAMPLE,
    )


def pruned_of(masks: dict[str, Tensor], names: list[str]) -> int:
    return sum(int((~masks[name]).sum()) for name in names)


@fewer
@given(
    total=st.floats(0, 1),
    criterion=st.sampled_from(BY_ELEMENT),
    allocation=st.sampled_from(sorted(OWN)),
    seed=st.integers(0, 5),
)
def test_a_total_of_elements_is_hit_exactly(total: float, criterion: str, allocation: str, seed: int) -> None:
    if (criterion, allocation) == ("movement", "lamp"):
        return
    model = Small(seed)
    names, evidence = [*prunable_parameters(model)], evidence_of(model)
    found = method_masks(model, EXAMPLE, criterion=criterion, allocation=allocation, total=total, evidence=evidence)
    elements = sum(model.get_parameter(name).numel() for name in names)
    assert round(total * elements) == pruned_of(found.masks, names)
    assert pytest.approx(round(total * elements) / elements) == found.reached
    assert prune_(model, found.plan, criterion=criterion, evidence=evidence).digest == found.masks.digest


@fewer
@given(st.floats(0, 1), st.sampled_from(BY_ELEMENT), st.booleans())
def test_global_is_one_threshold_on_the_scores_of_all_layers(total: float, criterion: str, normalized: bool) -> None:
    model = Small()
    names, evidence = [*prunable_parameters(model)], evidence_of(model)
    scores = {name: score.double() for name, score in CRITERIA[criterion].scores(model, names, evidence).items()}
    if normalized:
        scores = {name: score / score.norm() for name, score in scores.items()}
    ranked = sorted(
        (value, i, j) for i, name in enumerate(names) for j, value in enumerate(scores[name].flatten().tolist())
    )
    pruned = {(i, j) for _, i, j in ranked[: round(total * len(ranked))]}
    allocation = "global_normalized" if normalized else "global"
    found = method_masks(model, EXAMPLE, criterion=criterion, allocation=allocation, total=total, evidence=evidence)
    for i, name in enumerate(names):
        kept = found.masks[name].flatten().tolist()
        assert [(i, j) not in pruned for j in range(len(kept))] == kept


@pytest.mark.parametrize("total", [0.0, 0.1, 0.37, 0.5, 0.9])
@pytest.mark.parametrize(
    ("criterion", "allocation"), [("magnitude", "global"), ("bn_scale", "global"), ("fisher", "erk")]
)
def test_channels_cost_their_elements_and_come_as_near_as_they_can(
    total: float, criterion: str, allocation: str
) -> None:
    model = Small()
    found = method_masks(
        model, EXAMPLE, criterion=criterion, granularity="channel", allocation=allocation, total=total,
        keep_dense=["last.weight"], evidence=evidence_of(model),
    )  # fmt: skip
    sizes = {"first.weight": 72, "second.weight": 108, "last.weight": 16}
    channels = {name: int((~found.masks[name].flatten(1)[:, 0]).sum()) for name in sizes}
    elements, pruned = 864 + 1728 + 64, sum(channels[name] * size for name, size in sizes.items())
    assert pruned == pruned_of(found.masks, [*sizes])
    assert pytest.approx(pruned / elements) == found.reached
    assert abs(pruned - total * elements) <= 108 / 2 + 1
    assert 0 == channels["last.weight"]


def test_scales_of_batch_norms_are_compared_over_all_layers() -> None:
    model = Small()
    settings = {"criterion": "bn_scale", "granularity": "channel", "keep_dense": ["last.weight"]}
    found = method_masks(model, EXAMPLE, allocation="global", total=0.4, evidence=Evidence(example=EXAMPLE), **settings)
    kept, gone = [], []
    for layer, norm in (("first.weight", model.norm1), ("second.weight", model.norm2)):
        mask = found.masks[layer].flatten(1)[:, 0]
        kept += norm.weight.abs()[mask].tolist()
        gone += norm.weight.abs()[~mask].tolist()
    assert max(gone) < min(kept)


@pytest.mark.parametrize(("total", "reached"), [(0.0, 0.0), (0.5, 0.5), (0.9, 0.5)])
def test_nm_prunes_whole_layers_until_the_total_is_near(total: float, reached: float) -> None:
    found = method_masks(Small(), EXAMPLE, granularity="2:4", allocation="global", total=total)
    assert reached == found.reached
    assert set(found.plan.values()) <= {0.0, 0.5}


def test_nm_takes_the_layers_that_the_allocation_prunes_most() -> None:
    found = method_masks(Small(), EXAMPLE, granularity="2:4", allocation="erk", total=0.33)
    assert {"first.weight": 0.0, "second.weight": 0.5, "last.weight": 0.0} == dict(found.plan)
    assert 864 / (864 + 1728 + 64) == found.reached


@pytest.mark.parametrize("allocation", sorted(OWN))
def test_limits_hold_and_the_others_lose_more(allocation: str) -> None:
    model, limits = Small(), {"second.weight": 0.25, "last.weight": 0.0}
    found = method_masks(model, EXAMPLE, allocation=allocation, total=0.4, limits=limits)
    assert all(found.plan[name] <= limit for name, limit in limits.items())
    assert round(0.4 * 2656) == pruned_of(found.masks, [*found.plan])
    with pytest.raises(PlanError, match="nonzeros cannot be had: the largest sparsities allowed leave"):
        method_masks(model, EXAMPLE, allocation=allocation, total=0.6, limits=limits)


@fewer
@given(
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=4),
    caps=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    part=st.floats(0, 1),
    channel=st.booleans(),
)
def test_limits_of_any_layers_hold_in_any_units(
    shapes: list[tuple[int, int]], caps: list[float], part: float, channel: bool
) -> None:
    inventory = make_inventory(*shapes)
    units = find_granularity("channel" if channel else "element")
    limits = {layer.name: cap for layer, cap in zip(inventory.layers, caps, strict=False)}
    sizes = {layer.name: units.unit_size(layer.shape) for layer in inventory.layers}
    most = {
        layer.name: int(round(limits[layer.name] * layer.numel) // sizes[layer.name]) * sizes[layer.name]
        for layer in inventory.layers
    }
    pruned = round(part * sum(most.values()))
    torch.manual_seed(0)
    scores = {layer.name: torch.rand(layer.shape[0] if channel else layer.numel) for layer in inventory.layers}
    for name in OWN:
        kept = allocate(
            find_allocation(name), inventory, inventory.nonzeros - pruned, scores, units=units, limits=limits
        )
        lost = {layer.name: layer.numel - kept[layer.name] for layer in inventory.layers}
        assert all(0 <= lost[name] <= most[name] and lost[name] % sizes[name] == 0 for name in lost)
        if not channel:
            assert pruned == sum(lost.values())


@pytest.mark.parametrize("of", ["size", "file", "macs"])
@pytest.mark.parametrize(
    ("granularity", "allocation"), [("element", "erk"), ("element", "global"), ("channel", "uniform")]
)
def test_a_total_of_a_cost_is_reached_and_no_more_than_a_unit_beyond(
    of: str, granularity: str, allocation: str
) -> None:
    model, total = Small(), 0.6
    plan, reached = method_plan(
        model, EXAMPLE, granularity=granularity, allocation=allocation, total=total, of=of, keep_dense=["last.weight"]
    )
    inventory = Inventory.of_model(model, EXAMPLE).without(["last.weight"])
    cost = inventory.total(of, inventory.kept(plan)) / inventory.dense_total(of)
    assert pytest.approx(1 - cost) == reached
    unit = 1 if granularity == "element" else 108
    assert total <= reached <= total + 36 * unit * {"size": 32, "file": 4, "macs": 36}[of] / inventory.dense_total(of)


def test_zeros_there_are_count_by_element_and_magnitude() -> None:
    model = Small()
    before = prune_(model, {"first.weight": 0.5, "second.weight": 0.5, "last.weight": 0})
    found = method_masks(model, EXAMPLE, allocation="global", total=0.6)
    for name, mask in before.items():
        assert not (found.masks[name] & ~mask).any()
    by_channel = method_masks(
        model, EXAMPLE, granularity="channel", allocation="uniform", total=0.25, keep_dense=["last.weight"]
    )
    assert abs(by_channel.reached - 0.25) < 54 / 2656


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"allocation": "uniform", "total": 1.5}, PlanError, r"sparsity of 'total' must be in \[0, 1\], got 1.5"),
        ({"allocation": "unifrom", "total": 0.5}, UnknownNameError, "did you mean 'uniform'"),
        ({"allocation": "erk", "total": 0.5, "keep_dense": ["lst.weight"]}, UnknownNameError, "'last.weight'"),
        ({"allocation": "erk", "total": 0.5, "limits": {"x": 1}}, UnknownNameError, "unknown layer 'x'"),
        (
            {"allocation": "erk", "total": 0.5, "granularity": "channel"},
            PlanError,
            "'last.weight' gives the model's answ",
        ),
        (
            {"allocation": "erk", "total": 0.5, "granularity": "1:5"},
            PlanError,
            "'first.weight' has 8 inputs, which runs",
        ),
        ({"allocation": "erk", "total": 0.5, "granularity": "block5x1"}, PlanError, "'first.weight' has 12 outputs"),
        ({"allocation": "erk", "total": 0.99, "keep_dense": ["first.weight"]}, PlanError, "so 0.6747 is the most"),
        (
            {"allocation": "lamp", "total": 0.5, "criterion": "movement"},
            PlanError,
            "are of either sign, and lamp squares",
        ),
        ({"allocation": "global", "total": 0.5, "criterion": "bn_scale"}, PlanError, "expected granularity 'channel'"),
    ],
)
def test_what_cannot_be_done_is_named(settings: dict[str, object], error: type[Exception], said: str) -> None:
    model = Small()
    with pytest.raises(error, match=said):
        method_masks(model, EXAMPLE, **{"evidence": evidence_of(model), **settings})


def test_criteria_go_with_granularities_and_allocations() -> None:
    model = Small()
    for criterion, granularity in itertools.product(CRITERIA, ("element", "channel", "2:4", "block4x2")):
        if CRITERIA[criterion].by_channel and granularity != "channel":
            continue
        found = method_masks(
            model, EXAMPLE, criterion=criterion, granularity=granularity, allocation="global_normalized", total=0.45,
            keep_dense=["last.weight"], evidence=evidence_of(model),
        )  # fmt: skip
        assert abs(found.reached - 0.45) < 0.15
