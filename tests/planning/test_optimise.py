"""The integer program against trying everything, and what holds of its plans whatever the curves."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning.scan_factory import GRID, make_curves, make_scan, vgg_scan

from prunebench.errors import PlanError
from prunebench.planning import Curves, Goal, optimal_plan, optimise
from prunebench.planning.optimise import Option, choose, layer_options, undominated

ACCURACIES = st.lists(st.floats(0, 100).map(lambda a: round(a, 2)), min_size=6, max_size=6)
CURVES = st.lists(ACCURACIES, min_size=1, max_size=4).map(
    lambda layers: make_curves({f"l{i}": dict(zip(GRID, layer, strict=True)) for i, layer in enumerate(layers)})
)
OPTIONS = st.lists(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=5), min_size=1, max_size=4
).map(
    lambda layers: {
        f"l{i}": [Option(sparsity=0, cost=float(cost), loss=loss / 8) for cost, loss in layer]
        for i, layer in enumerate(layers)
    }
)
VGG = Curves.of_scan(vgg_scan())


def total(chosen: dict[str, Option], of: str) -> float:
    return math.fsum(getattr(option, of) for option in chosen.values())


def size(curves: Curves, plan: dict[str, float], cost: str = "size") -> float:
    return curves.inventory.total(cost, curves.inventory.kept(plan))


def predicted(curves: Curves, plan: dict[str, float]) -> float:
    accuracy = curves.predicted_accuracy(plan)
    assert accuracy is not None, "an optimal plan is within the curves"
    return accuracy


@given(OPTIONS, st.integers(0, 120), st.sampled_from(["cost", "loss"]))
def test_the_choice_is_the_best_of_all(options: dict[str, list[Option]], limit: int, minimise: str) -> None:
    bound = "loss" if minimise == "cost" else "cost"
    limit_of = limit / (8 if bound == "loss" else 1)
    all_choices = [dict(zip(options, each, strict=True)) for each in itertools.product(*options.values())]
    allowed = [total(choice, minimise) for choice in all_choices if total(choice, bound) <= limit_of]
    if not allowed:
        with pytest.raises(PlanError, match="no choice of sparsities has"):
            choose(options, minimise=minimise, limit=limit_of)
        return
    chosen = choose(options, minimise=minimise, limit=limit_of)
    assert min(allowed) == total(chosen, minimise)
    assert total(chosen, bound) <= limit_of
    assert all(chosen[name] in options[name] for name in options)


@given(OPTIONS)
def test_an_option_as_good_as_any_is_not_dominated(options: dict[str, list[Option]]) -> None:
    for layer in options.values():
        kept = undominated(layer)
        assert all(any(k.cost <= o.cost and k.loss <= o.loss for k in kept) for o in layer)
        assert sorted({k.cost for k in kept}, reverse=True) == [k.cost for k in kept]
        assert sorted({k.loss for k in kept}) == [k.loss for k in kept]


@settings(max_examples=30)
@given(CURVES, st.floats(0, 100), st.sampled_from(["size", "file", "macs"]))
def test_the_predicted_drop_keeps_within_the_largest(curves: Curves, drop: float, cost: str) -> None:
    plan = optimal_plan(curves, Goal(cost=cost, max_drop=drop), step=0.1)
    trifle, least = 0.01 * (curves.base_accuracy - curves.chance), curves.base_accuracy - drop
    guesses = least <= curves.chance + trifle  # below, all is one
    assert predicted(curves, plan) >= least - (trifle if guesses else 1e-9)


@settings(max_examples=30)
@given(CURVES, st.floats(0.2, 1), st.sampled_from(["size", "file", "macs"]))
def test_the_cost_keeps_within_the_limit(curves: Curves, share: float, cost: str) -> None:
    limit = share * curves.inventory.dense_total(cost)
    assert size(curves, optimal_plan(curves, Goal(cost=cost, limit=limit), step=0.1), cost) <= limit * (1 + 1e-12)


@pytest.mark.parametrize("cost", ["size", "file", "macs"])
def test_more_points_to_lose_never_cost_more(cost: str) -> None:
    costs = [size(VGG, optimal_plan(VGG, Goal(cost=cost, max_drop=d), step=0.05), cost) for d in (0, 1, 3, 10, 30, 60)]
    assert sorted(costs, reverse=True) == costs


def test_more_room_is_never_predicted_worse() -> None:
    dense = VGG.inventory.dense_total("size")
    accuracies = [
        predicted(VGG, optimal_plan(VGG, Goal(limit=share * dense), step=0.05))
        for share in (0.05, 0.1, 0.2, 0.3, 0.6, 1)
    ]
    assert sorted(accuracies) == accuracies
    assert VGG.base_accuracy == accuracies[-1]


@pytest.mark.parametrize(("nonzeros", "least"), [(2_710_807, 2_700_000), (807_150, 800_000)])
def test_plans_for_the_vgg_use_the_size_they_are_given(nonzeros: int, least: int) -> None:
    assert 32 * least < size(VGG, optimal_plan(VGG, Goal(limit=32 * nonzeros))) <= 32 * nonzeros


def test_the_two_goals_are_each_others_reverse() -> None:
    plan = optimal_plan(VGG, Goal(limit=0.3 * VGG.inventory.dense_total("size")), step=0.05)
    drop = VGG.base_accuracy - predicted(VGG, plan)
    back = optimal_plan(VGG, Goal(max_drop=drop + 1e-9), step=0.05)
    assert size(VGG, back) <= size(VGG, plan)


def test_a_layer_that_loses_nothing_is_pruned_to_the_end_of_its_curve() -> None:
    curves = make_curves({"a": dict.fromkeys(GRID, 90.0), "b": dict.fromkeys(GRID, 50.0)})
    assert {"a": 0.9, "b": 0.0} == optimal_plan(curves, Goal(max_drop=0))


def test_within_a_limit_layers_that_lose_nothing_give_back_what_is_not_needed() -> None:
    flat = dict.fromkeys(GRID, 90.0)
    curves = make_curves({"a": flat, "b": flat})
    assert {"a": 0.3, "b": 0.3} == optimal_plan(curves, Goal(limit=32 * 140))
    assert {"a": 0.0, "b": 0.0} == optimal_plan(curves, Goal(limit=32 * 200))


def test_the_solver_says_nothing_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    curves = make_curves({name: {0.3: 89.9, 0.5: 89.7, 0.7: 80, 0.9: 12.5} for name in "abcd"})
    with optimise._silent():
        os.write(1, b"from outside Python")
    for drop in range(30):
        optimal_plan(curves, Goal(max_drop=drop))
    sys.stdout.write("said\n")
    assert "said\n" == capfd.readouterr().out


def test_nor_does_it_later_where_that_is_a_pipe() -> None:
    program = """
import ctypes
from prunebench.planning import optimise
libc = ctypes.CDLL(None)
libc.puts(b"before")
with optimise._silent():
    libc.puts(b"from outside Python")
libc.puts(b"after")
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ["before", "after"] == said.stdout.split()


def test_where_a_curve_recovers_the_higher_sparsity_is_taken() -> None:
    curves = make_curves({"a": {0.4: 70.0, 0.6: 89.0, 0.8: 60.0}})
    assert {"a": 0.6} == optimal_plan(curves, Goal(limit=32 * 60))


def test_a_rise_costs_nothing_and_pays_for_nothing() -> None:
    rising, falling = dict.fromkeys(GRID, 95.0), dict(zip(GRID, (89, 88, 80, 70, 60, 50), strict=True))
    plan = optimal_plan(make_curves({"a": rising, "b": falling}), Goal(max_drop=2))
    alone = optimal_plan(make_curves({"b": falling}), Goal(max_drop=2))
    assert {"a": 0.9, **alone} == plan


def test_a_drop_to_guessing_lets_every_layer_go_as_far_as_it_was_scanned() -> None:
    curves = make_curves({name: dict(zip(GRID, (80, 60, 40, 20, 10, 10), strict=True)) for name in "abc"})
    assert dict.fromkeys("abc", max(GRID)) == optimal_plan(curves, Goal(max_drop=100))


def test_a_single_layer_takes_the_sparsest_within_the_drop() -> None:
    curves = make_curves({"a": dict(zip(GRID, (89, 88, 86, 82, 70, 30), strict=True))})
    assert {"a": 0.6} == optimal_plan(curves, Goal(max_drop=4.0), step=0.1)


def test_a_layer_without_points_and_a_sparse_base_stay_as_they_are() -> None:
    scan = make_scan({"a": (10, 10), "b": (10, 10)}, {"a": {0.9: 89.9}}, nonzeros={"a": 40, "b": 70})
    curves = Curves.of_scan(scan)
    assert {"a": 0.9, "b": curves["b"].limit} == optimal_plan(curves, Goal(max_drop=1))
    assert {"a": 0.6, "b": 0.3} == {n: round(s, 9) for n, s in optimal_plan(curves, Goal(limit=32 * 110)).items()}


def test_a_size_beyond_the_scan_is_refused_with_the_least_there_is() -> None:
    curves = Curves.of_scan(make_scan({"a": (10, 10), "b": (10, 10)}, {"a": {0.9: 80.0}}))
    with pytest.raises(PlanError, match=r"size 2\.00 % .* the least .* is 55\.00 % \(b not scanned at all\): scan"):
        optimal_plan(curves, Goal(limit=0.02 * 6400))
    with pytest.raises(PlanError, match=r"size 54\.998 % .* the least .* is 55\.000 % "):
        optimal_plan(curves, Goal(limit=0.54998 * 6400))


@pytest.mark.parametrize(
    "arguments", [{}, {"limit": 1.0, "max_drop": 1.0}, {"limit": -1.0}, {"max_drop": math.inf}, {"limit": 10**400}]
)
def test_a_goal_is_one_thing(arguments: dict[str, float]) -> None:
    with pytest.raises(PlanError):
        Goal(**arguments)


@pytest.mark.parametrize("step", [0, 1e-320, 0.0009, 0.51, math.nan])
def test_a_step_is_neither_tiny_nor_over_half(step: float) -> None:
    with pytest.raises(PlanError, match=rf"^the step .* must be in \[0\.001, 0\.5\], got {step}$"):
        optimal_plan(VGG, Goal(max_drop=1), step=step)


def test_candidates_are_the_multiples_the_scanned_points_and_nothing() -> None:
    curves = make_curves({"a": {0.45: 89.0, 0.7: 80.0}})
    found = [option.sparsity for option in layer_options(curves, "a", "size", 0.2)]
    assert [0.0, 0.2, 0.4, 0.45, 0.6, 0.7] == found
