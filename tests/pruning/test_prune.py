"""Pruning a model by a plan: exact counts, absolute sparsity, refusals that change nothing, zeros under training."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from prunebench.errors import MaskError, PlanError, PrunebenchError, UnknownNameError
from prunebench.models import prunable_parameters, state_digest
from prunebench.pruning import Criterion, Evidence, Masks, SparsityPlan, plan_masks, prune_, pruned_count

PLAN = {"0.weight": 0.3, "2.weight": 0.5, "5.weight": 0.75}
TIED_VALUES = (0.0, -0.0, 0.5, -0.5, 1.0, -1.0)


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)
    )


def linear_of(values: list[float]) -> nn.Linear:
    layer = nn.Linear(len(values), 1, bias=False)
    layer.weight = nn.Parameter(torch.tensor([values]))
    return layer


def zeros_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() == 0 for name, weight in prunable_parameters(model).items()}


@given(st.fixed_dictionaries({name: st.floats(0, 1) for name in PLAN}))
def test_each_weight_loses_its_rounded_count_and_nothing_else_changes(plan: dict[str, float]) -> None:
    model = small_model()
    others = {name: value.clone() for name, value in model.state_dict().items() if name not in plan}
    masks = prune_(model, plan)
    weights = prunable_parameters(model)
    for name, sparsity in plan.items():
        expected = pruned_count(weights[name].numel(), sparsity)
        assert expected == int((weights[name].detach() == 0).sum())
        assert expected == int((~masks[name]).sum())
    for name, value in others.items():
        assert torch.equal(value, model.state_dict()[name])


def test_kept_weights_keep_their_bits() -> None:
    model = small_model()
    before = {name: weight.detach().clone() for name, weight in prunable_parameters(model).items()}
    masks = prune_(model, PLAN)
    for name, weight in prunable_parameters(model).items():
        assert torch.equal(before[name][masks[name]], weight.detach()[masks[name]])


def test_sparsity_zero_is_the_identity_and_one_empties_every_weight() -> None:
    model = small_model()
    before = state_digest(model.state_dict())
    masks = prune_(model, dict.fromkeys(PLAN, 0))
    assert before == state_digest(model.state_dict())
    assert all(mask.all() for mask in masks.values())
    prune_(model, dict.fromkeys(PLAN, 1))
    assert all(zeros.all() for zeros in zeros_of(model).values())


def test_pruning_twice_changes_nothing() -> None:
    model = small_model()
    first = prune_(model, PLAN)
    before = state_digest(model.state_dict())
    second = prune_(model, PLAN)
    assert before == state_digest(model.state_dict())
    assert first.digest == second.digest


@given(values=st.lists(st.sampled_from(TIED_VALUES), min_size=1, max_size=30), sparsity=st.floats(0, 1))
def test_pruning_twice_changes_nothing_among_ties_and_zeros(values: list[float], sparsity: float) -> None:
    model = linear_of(values)
    prune_(model, {"weight": sparsity})
    once = model.weight.detach().clone()
    prune_(model, {"weight": sparsity})
    assert once.tolist() == model.weight.detach().tolist()


@given(
    values=st.lists(st.sampled_from(TIED_VALUES) | st.floats(-2, 2, width=32), min_size=1, max_size=30),
    steps=st.lists(st.floats(0, 1), min_size=2, max_size=4).map(sorted),
)
def test_a_higher_sparsity_keeps_every_old_zero_and_counts_from_the_whole(
    values: list[float], steps: list[float]
) -> None:
    model = linear_of(values)
    for sparsity in steps:
        zeros = model.weight.detach() == 0
        prune_(model, {"weight": sparsity})
        assert not (zeros & (model.weight.detach() != 0)).any()
        expected = max(int(zeros.sum()), pruned_count(len(values), sparsity))
        assert expected == int((model.weight.detach() == 0).sum())


def test_sparsity_is_of_all_elements_and_not_of_those_that_remain() -> None:
    model = linear_of([float(value) for value in range(1, 101)])
    prune_(model, {"weight": 0.5})
    prune_(model, {"weight": 0.6})
    assert 60 == int((model.weight.detach() == 0).sum())


def test_the_memory_format_of_the_model_does_not_change_what_is_pruned() -> None:
    usual, channels_last = small_model(), small_model().to(memory_format=torch.channels_last)
    expected, got = prune_(usual, PLAN), prune_(channels_last, PLAN)
    assert expected.digest == got.digest
    assert state_digest(usual.state_dict()) == state_digest(channels_last.state_dict())


def test_masks_of_nothing_pruned_leave_the_output_as_it_was() -> None:
    model, images = small_model().eval(), torch.rand(2, 2, 4, 4)
    with torch.no_grad():
        before = model(images)
        prune_(model, dict.fromkeys(PLAN, 0))
        assert torch.equal(before, model(images))


class LargestFirst(Criterion):
    name = "largest-first"

    def score(self, name: str, weight: Tensor, evidence: Evidence) -> Tensor:
        return -weight.abs()


def test_the_criterion_decides_what_goes() -> None:
    model = linear_of([1.0, -4.0, 2.0, 3.0])
    prune_(model, {"weight": 0.5}, criterion=LargestFirst())
    assert [[1.0, 0.0, 2.0, 0.0]] == model.weight.detach().tolist()


def test_magnitude_is_the_criterion_unless_another_is_given() -> None:
    model = linear_of([1.0, -4.0, 2.0, -3.0])
    prune_(model, {"weight": 0.5})
    assert [[0.0, -4.0, 0.0, -3.0]] == model.weight.detach().tolist()


def test_masks_are_chosen_without_a_change_of_the_model() -> None:
    model = small_model()
    before = state_digest(model.state_dict())
    masks = plan_masks(model, PLAN)
    assert before == state_digest(model.state_dict())
    assert masks.digest == prune_(model, PLAN).digest


class WrongShapeAfterTheFirst(Criterion):
    name = "wrong"

    def score(self, name: str, weight: Tensor, evidence: Evidence) -> Tensor:
        return weight.abs() if weight.shape[0] == 4 else weight.abs().flatten()


class OneLayer(Criterion):
    name = "one-layer"

    def scores(self, model: nn.Module, names: Sequence[str], evidence: Evidence) -> dict[str, Tensor]:
        return {"2.weight": model.get_parameter("2.weight").detach().abs()}


def test_a_criterion_that_leaves_a_layer_out_is_refused() -> None:
    with pytest.raises(PlanError, match=r"criterion 'one-layer' gives no scores of '0\.weight'"):
        prune_(small_model(), PLAN, criterion=OneLayer())


def test_a_nan_in_a_layer_that_stays_dense_is_refused() -> None:
    model = small_model()
    with torch.no_grad():
        model.get_parameter("5.weight")[1, 2] = math.nan
    with pytest.raises(PlanError, match=r"'5\.weight' has 1 NaN values"):
        prune_(model, {**PLAN, "5.weight": 0})


@pytest.mark.parametrize(
    ("expected", "plan"),
    [
        ("sparsity of '5.weight' must be in [0, 1], got 1.3", {**PLAN, "5.weight": 1.3}),
        ("sparsity of '5.weight' must be in [0, 1], got nan", {**PLAN, "5.weight": math.nan}),
        ("sparsity of '5.weight' must be a number in [0, 1], got '0.5'", {**PLAN, "5.weight": "0.5"}),
        ("sparsity of '5.weight' must be a number in [0, 1], got True", {**PLAN, "5.weight": True}),
        ("sparsity plan does not list '5.weight'", {"0.weight": 0.3, "2.weight": 0.5}),
        ("unknown layer '5.wieght': expected one of 0.weight, 2.weight, 5.weight", {**PLAN, "5.wieght": 0.5}),
        ("unknown layer '0.bias'", {**PLAN, "0.bias": 0.5}),
        ("unknown layer '1.weight'", {**PLAN, "1.weight": 0.5}),
        ("sparsity plan does not list '0.weight'", {}),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_and_the_model_unchanged(expected: str, plan: dict[str, float]) -> None:
    model = small_model()
    before = state_digest(model.state_dict())
    with pytest.raises((PlanError, UnknownNameError)) as caught:
        prune_(model, plan)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)
    assert before == state_digest(model.state_dict())


def test_an_unknown_layer_comes_with_the_name_that_was_meant() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean '5\.weight'\?"):
        prune_(small_model(), {**PLAN, "5.wieght": 0.5})


def test_a_nan_in_the_last_layer_is_refused_by_name_and_the_model_unchanged() -> None:
    model = small_model()
    with torch.no_grad():
        model.get_parameter("5.weight")[1, 2] = math.nan
    before = state_digest(model.state_dict())
    with pytest.raises(PlanError, match=r"'5\.weight' has 1 NaN values"):
        prune_(model, PLAN)
    assert before == state_digest(model.state_dict())


@pytest.mark.parametrize("broken", [False, True])
def test_torch_keeps_its_threads(broken: bool) -> None:
    def other_thread() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    model, found = small_model(), []
    if broken:
        with torch.no_grad():
            model.get_parameter("5.weight")[1, 2] = math.nan
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(PlanError) if broken else nullcontext():
            prune_(model, PLAN)
        found = [torch.get_num_threads(), other_thread()]
    finally:
        torch.set_num_threads(before)

    assert found == [3, 3]


def test_a_criterion_of_another_shape_is_refused_and_the_model_unchanged() -> None:
    model = small_model()
    before = state_digest(model.state_dict())
    with pytest.raises(PrunebenchError, match=r"mask of '2\.weight'"):
        prune_(model, PLAN, criterion=WrongShapeAfterTheFirst())
    assert before == state_digest(model.state_dict())


def test_a_plan_is_a_mapping_of_floats_in_its_own_order() -> None:
    plan = SparsityPlan({"b": 1, "a": 0.5})
    assert {"b": 1.0, "a": 0.5} == dict(plan)
    assert ["b", "a"] == list(plan)
    assert "SparsityPlan({'b': 1.0, 'a': 0.5})" == repr(plan)


def training_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    images, labels = torch.rand(8, 2, 4, 4), torch.randint(0, 3, (8,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def model_trained_before_pruning() -> tuple[nn.Sequential, torch.optim.Optimizer, Masks]:
    """Trained a little first, so that momentum is there to push pruned weights away from zero."""
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for _ in range(3):
        training_step(model, optimizer)
    return model, optimizer, prune_(model, PLAN)


def test_pruned_weights_stay_zero_when_masks_are_applied_after_every_step() -> None:
    model, optimizer, masks = model_trained_before_pruning()
    before = copy.deepcopy(model)
    for _ in range(5):
        training_step(model, optimizer)
        masks.apply_(model)
        masks.check(model)
    assert state_digest(before.state_dict()) != state_digest(model.state_dict())
    for name, zeros in zeros_of(model).items():
        assert torch.equal(~masks[name], zeros)


def test_pruned_weights_revive_when_masks_are_not_applied() -> None:
    model, optimizer, masks = model_trained_before_pruning()
    masks.check(model)
    training_step(model, optimizer)
    with pytest.raises(MaskError, match="pruned elements that are not zero"):
        masks.check(model)
