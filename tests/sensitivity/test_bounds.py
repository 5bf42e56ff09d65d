"""Intervals and decisions from some of the images: right often enough at every look, and exact at the end."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prunebench.sensitivity.adaptive.bounds import (
    _GAPS,
    _STAKE,
    Drop,
    HalfWidth,
    Outcomes,
    _CapitalProcess,
    drop_interval,
    estimated,
    is_within,
)
from prunebench.sensitivity.adaptive.order import Order, drawn

IMAGES = 1200
RIGHT = 1000
POPULATIONS = [(0, 0), (3, 0), (12, 9), (60, 20), (200, 30), (500, 40), (950, 100)]
REPEATS = 60

LESS_AND_LESS = np.concatenate([np.linspace(255, 0, RIGHT), np.linspace(255, 0, IMAGES - RIGHT)]).astype(np.uint8)
UNCERTAINTY = {
    "even": np.full(IMAGES, 255, dtype=np.uint8),
    "of what changes": LESS_AND_LESS,
    "of what does not": 255 - LESS_AND_LESS,
    "idle": np.random.default_rng(7).integers(0, 256, IMAGES).astype(np.uint8),
}
any_uncertainty = pytest.mark.parametrize("uncertainty", UNCERTAINTY)


def population(
    lost: int, gained: int, *, seed: int, uncertainty: str = "even"
) -> tuple[Order, Outcomes, NDArray[np.bool_]]:
    """An order, the outcomes in it, and which images the base model had right."""
    outcomes = np.zeros(IMAGES, dtype=np.int8)
    outcomes[:lost], outcomes[RIGHT : RIGHT + gained] = 1, -1
    order = drawn(UNCERTAINTY[uncertainty], minimum=0.1, seed=seed)
    return order, outcomes[order.images], (np.arange(IMAGES) < RIGHT)[order.images]


def to_come(right: NDArray[np.bool_], seen: int) -> dict[str, int]:
    return {"losable": int(right[seen:].sum()), "gainable": int((~right[seen:]).sum())}


def after(order: Order, outcomes: Outcomes, right: NDArray[np.bool_], seen: int) -> Drop:
    return drop_interval(outcomes[:seen], order, **to_come(right, seen), confidence=0.95, half_width=HalfWidth())


def decided(
    order: Order, outcomes: Outcomes, right: NDArray[np.bool_], seen: int, *, most: int, error: float = 0.05
) -> bool | None:
    known = to_come(right, seen)
    return is_within(outcomes[:seen], order, **known, most=most, error_within=error, error_beyond=error)


@any_uncertainty
@pytest.mark.parametrize(("lost", "gained"), POPULATIONS)
def test_the_truth_is_inside_at_every_look_at_once(lost: int, gained: int, uncertainty: str) -> None:
    truth, missed = 100 * (lost - gained) / IMAGES, 0
    for seed in range(REPEATS):
        known = population(lost, gained, seed=seed, uncertainty=uncertainty)
        drops = [after(*known, seen) for seen in range(25, IMAGES, 230)]  # what was ever excluded stays so
        missed += any(not drop.low - 1e-9 <= truth <= drop.high + 1e-9 for drop in drops)
    assert missed <= 8, "5 % of 60 is 3; 9 or more have a chance under 0.4 %"


@given(
    st.integers(0, 300),
    st.integers(0, 150),
    st.integers(0, 2**16),
    st.integers(1, IMAGES),
    st.sampled_from([*UNCERTAINTY]),
)
@settings(max_examples=60)
def test_an_interval_holds_its_estimate_and_nothing_impossible(
    lost: int, gained: int, seed: int, seen: int, uncertainty: str
) -> None:
    order, outcomes, right = population(lost, gained, seed=seed, uncertainty=uncertainty)
    drop = after(order, outcomes, right, seen)
    total = int(outcomes[:seen].sum())
    assert drop.low <= drop.estimate <= drop.high
    assert 100 * (total - int((~right[seen:]).sum())) / IMAGES <= drop.low + 1e-9
    assert drop.high <= 100 * (total + int(right[seen:].sum())) / IMAGES + 1e-9


@any_uncertainty
def test_all_images_give_the_drop_itself(uncertainty: str) -> None:
    drop = after(*population(60, 20, seed=0, uncertainty=uncertainty), IMAGES)
    assert [100 * 40 / IMAGES] * 3 == pytest.approx([drop.low, drop.estimate, drop.high])


@any_uncertainty
@pytest.mark.parametrize("seen", [1, 30, 200, 1100])
def test_estimates_are_right_on_average_and_as_far_off_as_they_say(uncertainty: str, seen: int) -> None:
    found = []
    for seed in range(400):
        order, outcomes, _ = population(200, 30, seed=seed, uncertainty=uncertainty)
        found.append(estimated(outcomes[:seen], order))
    totals, errors = np.transpose(found)
    assert abs(totals.mean() - 170) < 4 * totals.std() / 20 + 1e-9, "20 is the root of the repeats"
    if seen >= 200:
        assert np.sqrt((errors**2).mean()) == pytest.approx(totals.std(), rel=0.25)


def test_uncertainty_of_what_changes_save_images() -> None:
    def widths(uncertainty: str) -> list[float]:
        return [after(*population(60, 20, seed=seed, uncertainty=uncertainty), 400).half_width for seed in range(20)]

    assert np.mean(widths("of what changes")) < 0.7 * np.mean(widths("even"))


@given(
    st.lists(st.sampled_from([-1, 0, 0, 0, 1]), min_size=1, max_size=60),
    st.integers(-50, 50),
    st.booleans(),
    st.sampled_from([*UNCERTAINTY]),
)
def test_the_capital_is_what_its_definition_says(outcomes: list[int], total: int, more: bool, uncertainty: str) -> None:
    order, side = drawn(UNCERTAINTY[uncertainty], minimum=0.1, seed=1), 1 if more else -1
    walk = _CapitalProcess(np.array(outcomes, dtype=np.int8), order)
    bets = [walk.bets(HalfWidth()), walk.bets_on(_GAPS[0])]
    weights = np.maximum(UNCERTAINTY[uncertainty] / 255, 0.1)[order.images]
    capitals, most, seen = [0.5, 0.5], 0.0, 0
    for index, outcome in enumerate(outcomes):
        left = weights[index:]
        chance = weights[index] / left.sum() * len(left)
        mean = min(max((total - seen) / len(left), -1), 1)
        room = left.sum() / len(left) / left.min() + side * mean
        for number, bet in enumerate(bets):
            staked = min(bet[index], _STAKE / room) if room > 1e-12 else bet[index]
            capitals[number] *= 1 + staked * side * (outcome / chance - mean)
        most, seen = max(most, math.log(sum(capitals))), seen + outcome
    assert most == pytest.approx(walk.log_capital(total, bets, against=side), abs=1e-9)


def test_a_bet_knows_nothing_of_its_own_image_or_later_ones() -> None:
    first, second = np.zeros(6, dtype=np.int8), np.array([0, 0, 0, 1, 1, 1], dtype=np.int8)
    first[1] = second[1] = 1
    for uncertainty in UNCERTAINTY.values():
        order = drawn(uncertainty, minimum=0.1, seed=0)
        one, other = (_CapitalProcess(outcomes, order).bets(HalfWidth()) for outcomes in (first, second))
        assert np.array_equal(one[:4], other[:4])
        assert not np.array_equal(one[4:], other[4:])


@any_uncertainty
@pytest.mark.parametrize(("lost", "gained"), POPULATIONS)
@pytest.mark.parametrize("most", [6, 24])
def test_decisions_are_seldom_wrong_however_often_asked(lost: int, gained: int, most: int, uncertainty: str) -> None:
    truth, wrong = lost - gained <= most, 0
    for seed in range(REPEATS):
        known = population(lost, gained, seed=seed, uncertainty=uncertainty)
        answer, seen = None, 0
        while answer is None:
            seen += 75  # what was ever decided stays so: the capital is the most there was
            answer = decided(*known, seen, most=most)
        wrong += answer != truth
    assert wrong <= 8, "5 % of 60 is 3; 9 or more have a chance under 0.4 %"


@pytest.mark.parametrize(("most", "spared"), [(39, "error_within"), (40, "error_beyond")])
def test_each_error_bounds_its_own_side(most: int, spared: str) -> None:
    """40 are lost: with an error of 10 % allowed on one side and none on the other, only that one is ever made."""
    errors = {"error_within": 0.1, "error_beyond": 0.1, spared: 1e-12}
    wrong = 0
    for seed in range(100):
        order, outcomes, right = population(60, 20, seed=seed, uncertainty="of what changes")
        for seen in range(25, 500, 25):
            answer = is_within(outcomes[:seen], order, **to_come(right, seen), most=most, **errors)
            if answer is not None:
                wrong += answer != (most >= 40)
                break
    assert wrong == 0


@given(st.integers(0, 300), st.integers(0, 150), st.integers(0, 240))
def test_with_every_image_answered_the_decision_is_the_truth(lost: int, gained: int, most: int) -> None:
    assert (lost - gained <= most) == decided(*population(lost, gained, seed=0), IMAGES, most=most)


def test_a_clear_case_needs_few_images() -> None:
    assert decided(*population(500, 0, seed=1), 100, most=12) is False


@pytest.mark.parametrize(("drop", "expected"), [(0.0, 0.5), (-3.0, 0.5), (5.0, 0.5), (5.1, 0.51), (60.0, 6.0)])
def test_half_a_point_where_the_drop_is_small_and_a_tenth_of_it_beyond(drop: float, expected: float) -> None:
    assert expected == pytest.approx(HalfWidth().at(drop))
