"""The search, with measurements that the curves do not show, and how plans are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from planning.scan_factory import make_inventory, make_scan, vgg_scan
from torch import nn

from prunebench.data import Examples
from prunebench.planning import (
    Curves,
    Goal,
    Measure,
    Measured,
    Trial,
    as_large_as,
    erk,
    local_search,
    measure_on,
    optimal_plan,
    search_plans,
)
from prunebench.pruning import Masks, prune_
from prunebench.tasks.evaluation import evaluate

VGG = Curves.of_scan(vgg_scan())
TO_ONE = Curves.of_scan(vgg_scan(), extrapolate=True)  # a model can be pruned further than it was scanned
INVENTORY = VGG.inventory
LIMIT = 0.3 * INVENTORY.dense_total("size")
START = INVENTORY.kept(optimal_plan(VGG, Goal(limit=LIMIT), step=0.1))
ERK = erk(INVENTORY, int(LIMIT / 32))
CONV5 = "backbone.conv5.weight"


def measure(sparsity: Mapping[str, float]) -> Measured:
    """A model in which one layer matters more amid the others than its curve shows."""
    predicted = TO_ONE.predicted_accuracy(sparsity)
    assert predicted is not None
    return Measured(accuracy=10 + (predicted - 10) * (1 - sparsity[CONV5]) ** 0.5)


def each(score: Callable[[dict[str, int]], float]) -> Callable[[Sequence[dict[str, int]]], list[float]]:
    """Scores of several plans, one after the other."""
    return lambda plans: [score(plan) for plan in plans]


def searched(measure: Measure = measure, **changes: Any) -> tuple[Trial, list[Trial]]:
    options: dict[str, Any] = {"inventory": INVENTORY, "cost": "size", "limit": LIMIT, "evaluations": 8}
    return search_plans([START, ERK], partial(map, measure), **(options | changes))


def test_the_base_model_and_the_starts_are_measured_before_the_search() -> None:
    _, trials = searched()
    assert ["base", "start", "start", "search"] == [trial.kind for trial in trials[:4]]
    assert [INVENTORY.base_kept, START, ERK] == [INVENTORY.kept(trial.sparsity) for trial in trials[:3]]
    assert [INVENTORY.nonzeros, sum(START.values()) + INVENTORY.other_nonzeros] == [t.nonzeros for t in trials[:2]]


def test_the_search_ends_better_and_no_larger_and_keeps_to_its_measurements() -> None:
    best, trials = searched(evaluations=60)
    found = [trial for trial in trials if trial.kind == "search"]
    assert 60 >= len(found) > 0
    assert best.measured.score == max(trial.measured.score for trial in trials[1:])
    assert best.measured.score > max(trial.measured.score for trial in trials[1:3])
    assert all(trial.nonzeros * 32 <= LIMIT for trial in found)


def test_a_start_that_nothing_beats_is_the_best() -> None:
    best, _ = searched(lambda sparsity: Measured(accuracy=80.0 if INVENTORY.kept(sparsity) == ERK else 70.0))
    assert ("start", ERK) == (best.kind, INVENTORY.kept(best.sparsity))


def test_the_base_model_is_the_best_where_it_is_within_the_limit_and_nothing_beats_it() -> None:
    def falls(sparsity: Mapping[str, float]) -> Measured:
        return Measured(accuracy=70.0 if any(sparsity.values()) else 90.0)

    assert "base" == searched(falls, limit=INVENTORY.dense_total("size"))[0].kind
    assert "start" == searched(falls)[0].kind


def test_after_fine_tuning_is_what_counts() -> None:
    def tuned(sparsity: Mapping[str, float]) -> Measured:
        is_erk = INVENTORY.kept(sparsity) == ERK
        return Measured(accuracy=50.0 if is_erk else 70.0, finetuned=80.0 if is_erk else 75.0)

    assert ERK == INVENTORY.kept(searched(tuned)[0].sparsity)


def test_layers_that_are_kept_dense_stay_dense() -> None:
    inventory = INVENTORY.without({CONV5})
    starts = [erk(inventory, int(LIMIT / 32))]
    best, trials = search_plans(
        starts, partial(map, measure), inventory=inventory, cost="size", limit=LIMIT, evaluations=5
    )
    assert {0.0} == {trial.sparsity[CONV5] for trial in trials}
    assert best.nonzeros * 32 <= LIMIT
    assert best.nonzeros == sum(INVENTORY.kept(best.sparsity).values()) + INVENTORY.other_nonzeros


def test_a_stopped_search_goes_on_without_measuring_again() -> None:
    whole = searched()

    def stopping(sparsity: Mapping[str, float]) -> Measured:
        if len(kept) == 5:
            raise KeyboardInterrupt
        return measure(sparsity)

    kept: list[Trial] = []
    with pytest.raises(KeyboardInterrupt):
        searched(stopping, on_trial=kept.append)
    again: list[Trial] = []
    assert whole == searched(finished=kept, on_trial=again.append)
    assert whole[1] == [*kept, *again]


# The local search alone


@given(
    st.lists(st.tuples(st.integers(1, 100), st.floats(0.01, 100)), min_size=2, max_size=4),
    st.sampled_from(["size", "file", "macs"]),
)
@example([(97, 11.0), (97, 10.607298863639098)], "file")  # 100 / share * share is less than 100
def test_shares_are_kept_and_the_limit_used_up(layers: list[tuple[int, float]], cost: str) -> None:
    inventory = make_inventory(*[(10, 10)] * len(layers), nonzeros=[100] * len(layers))
    plan = {name: kept for name, (kept, _) in zip("abcd", layers, strict=False)}
    shares = {name: share for name, (_, share) in zip("abcd", layers, strict=False)}
    limit = inventory.total(cost, plan)
    found = as_large_as(limit, shares, plan, inventory=inventory, cost=cost)
    assert inventory.total(cost, found) <= limit
    assert all(1 <= found[name] <= 100 for name in plan)
    larger = {name: min(100, count + 1) for name, count in found.items()}
    assert found == larger or inventory.total(cost, larger) > limit
    between = [name for name in plan if 1 < found[name] < 100]
    scales = [(found[name] / shares[name], (found[name] + 1) / shares[name]) for name in between]
    assert all(one[0] <= other[1] for one in scales for other in scales), "one scale explains all"


def test_a_layer_pays_for_another_by_what_each_costs() -> None:
    scan = make_scan({"a": (10, 10), "b": (10, 10)}, {}, macs={"a": 1000, "b": 4000})
    inventory = Curves.of_scan(scan).inventory
    limit = inventory.total("macs", {"a": 80, "b": 40})
    assert {"a": 40, "b": 50} == as_large_as(limit, {"a": 4.0, "b": 5.0}, {}, inventory=inventory, cost="macs")


def test_a_layer_that_is_not_shared_out_stays() -> None:
    inventory = make_inventory((10, 10), (10, 10), (10, 10))
    found = as_large_as(32 * 110, {"a": 1.0, "b": 1.0}, {"a": 5, "b": 5, "c": 70}, inventory=inventory, cost="size")
    assert {"a": 20, "b": 20, "c": 70} == found


def test_the_search_finds_where_elements_are_worth_more() -> None:
    inventory = make_inventory((10, 100), (10, 100), (10, 100))
    worth, asked = {"a": 3, "b": 1, "c": 2}, []

    def score(kept: dict[str, int]) -> float:
        asked.append(kept)
        return sum(worth[name] * count**0.5 for name, count in kept.items())

    start = {"a": 300, "b": 300, "c": 300}
    found = local_search(start, each(score), inventory=inventory, cost="size", limit=32 * 900, evaluations=120)
    assert score(found) > 0.9999 * (900 * (9 + 1 + 4)) ** 0.5  # Cauchy-Schwarz: the best there is
    assert 898 <= sum(found.values()) <= 900
    assert len(asked) <= 121


def test_a_search_is_drawn_by_its_seed_alone() -> None:
    inventory, start = make_inventory((10, 100), (10, 100), (10, 100)), {"a": 300, "b": 300, "c": 300}

    def asked(seed: int) -> list[dict[str, int]]:
        plans: list[dict[str, int]] = []

        def score(kept: dict[str, int]) -> float:
            plans.append(kept)
            return float(kept["a"])

        local_search(start, each(score), inventory=inventory, cost="size", limit=32 * 900, evaluations=25, seed=seed)
        return plans

    before = np.random.get_state()  # which `cma` would seed
    first = asked(3)
    assert first == asked(3) != asked(4)
    assert 25 == len(first)
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_a_search_follows_a_ridge() -> None:
    """Where what one layer gains another has to give up, far from the start."""
    inventory = make_inventory(*[(100, 100)] * 4)
    start = dict.fromkeys("abcd", 2000)

    def score(kept: dict[str, int]) -> float:
        logs = np.log([kept[name] / 2000 for name in "abcd"])
        along, across = logs[0] - logs[1], logs[2] - logs[3]
        return -abs(across - 2 * along) - 0.05 * (along - 1.5) ** 2

    found = local_search(start, each(score), inventory=inventory, cost="size", limit=32 * 8000, evaluations=400)
    assert score(start) < -0.1
    assert score(found) > -0.01


@pytest.mark.parametrize("evaluations", [1, 2, 5])
def test_the_search_keeps_to_its_measurements(evaluations: int) -> None:
    inventory, asked = make_inventory((10, 10), (10, 10)), []
    start = {"a": 50, "b": 20}

    def score(kept: dict[str, int]) -> float:
        asked.append(kept)
        return 0.0

    found = local_search(start, each(score), inventory=inventory, cost="size", limit=32 * 70, evaluations=evaluations)
    assert len(asked) <= evaluations
    assert asked[0] == found == start


def test_with_one_layer_there_is_nothing_to_search() -> None:
    inventory = make_inventory((10, 10), (10, 10))

    def score(_: dict[str, int]) -> float:
        raise AssertionError("nothing can be exchanged")

    start = {"a": 50, "b": 0}
    assert start == local_search(start, each(score), inventory=inventory, cost="size", limit=32 * 50, evaluations=5)


# Measuring a model


@pytest.fixture
def tiny(one_thread: None) -> tuple[nn.Module, Examples]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    images = torch.randint(0, 256, (60, 3, 2, 2), dtype=torch.uint8)
    with torch.no_grad():
        labels = model(images.float() / 255).argmax(dim=1)
    return model, Examples(images, labels)


def test_measuring_prunes_a_copy(tiny: tuple[nn.Module, Examples]) -> None:
    model, images = tiny
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sparsity = {"1.weight": 0.8, "3.weight": 0.5}
    measured = measure_on(model, images)(sparsity)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    prune_(model, sparsity)
    evaluation = evaluate(model, images)
    assert Measured(accuracy=evaluation.accuracy, smooth=evaluation.smooth_accuracy) == measured


def test_fine_tuning_is_measured_beside_and_the_base_is_left_alone(tiny: tuple[nn.Module, Examples]) -> None:
    model, images = tiny
    seen: list[int] = []

    def finetune(pruned: nn.Module, masks: Masks) -> None:
        seen.append(int((~masks["1.weight"]).sum()))
        for parameter in pruned.parameters():
            nn.init.zeros_(parameter)

    measure: Callable[[Mapping[str, float]], Measured] = measure_on(model, images, finetune=finetune)
    base = evaluate(model, images)
    assert Measured(accuracy=100.0, smooth=base.smooth_accuracy) == measure({"1.weight": 0.0, "3.weight": 0.0})
    measured = measure({"1.weight": 0.5, "3.weight": 0.0})
    assert [96] == seen
    assert pytest.approx(100 * float((images.targets == 0).float().mean())) == measured.finetuned
    assert 50 == measured.smooth, "of the fine-tuned model, whose logits are all zero"


def test_plans_are_chosen_in_the_precision_that_is_asked_for(tiny: tuple[nn.Module, Examples]) -> None:
    two_layers, images = tiny
    nn.init.normal_(two_layers[1].weight, std=30)  # scores far enough apart for bfloat16 to round them elsewhere
    model = nn.Sequential(*two_layers, nn.Linear(3, 3))
    sparsity = {"1.weight": 0.5, "3.weight": 0.0, "4.weight": 0.0}
    single, half = (measure_on(model, images, precision=precision)(sparsity) for precision in ("fp32", "bf16"))
    prune_(model, sparsity)
    assert single.smooth == evaluate(model, images).smooth_accuracy
    assert half.smooth == evaluate(model, images, precision="bf16").smooth_accuracy != single.smooth


def test_of_equally_accurate_plans_the_surer_is_the_better() -> None:
    assert Measured(accuracy=70.0, smooth=68.0).score > Measured(accuracy=70.0, smooth=66.0).score
    assert Measured(accuracy=71.0, smooth=66.0).score > Measured(accuracy=70.0, smooth=66.5).score
    assert Measured(accuracy=70.0, finetuned=80.0, smooth=75.0).score == Measured(accuracy=80.0, smooth=75.0).score
    assert Measured(accuracy=71.0).score > Measured(accuracy=70.0).score
    assert Measured(accuracy=70.0, finetuned=80.0).score > Measured(accuracy=75.0, finetuned=79.0).score
