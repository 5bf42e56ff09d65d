"""Intervals and decisions from some of the images: right often enough at every look, and exact at the end."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prunebench.sensitivity.bounds import (
    _STAKE,
    Drop,
    HalfWidth,
    Outcomes,
    _bets,
    _Walk,
    drop_interval,
    is_within,
)

IMAGES = 1200
RIGHT = 1000
POPULATIONS = [(0, 0), (3, 0), (12, 9), (60, 20), (200, 30), (500, 40), (950, 100)]
REPEATS = 60


def population(lost: int, gained: int, *, seed: int) -> tuple[Outcomes, NDArray[np.bool_]]:
    """Outcomes in random order, and which images the base model had right."""
    outcomes = np.zeros(IMAGES, dtype=np.int8)
    outcomes[:lost], outcomes[RIGHT : RIGHT + gained] = 1, -1
    order = np.random.default_rng(seed).permutation(IMAGES)
    return outcomes[order], (np.arange(IMAGES) < RIGHT)[order]


def after(outcomes: Outcomes, right: NDArray[np.bool_], seen: int) -> Drop:
    rest = right[seen:]
    return drop_interval(
        outcomes[:seen],
        images=IMAGES,
        losable=int(rest.sum()),
        gainable=int((~rest).sum()),
        confidence=0.95,
        half_width=HalfWidth(),
    )


@pytest.mark.parametrize(("lost", "gained"), POPULATIONS)
def test_the_truth_is_inside_at_every_look_at_once(lost: int, gained: int) -> None:
    truth, missed = 100 * (lost - gained) / IMAGES, 0
    for seed in range(REPEATS):
        outcomes, right = population(lost, gained, seed=seed)
        drops = [after(outcomes, right, seen) for seen in range(25, IMAGES, 25)]
        missed += any(not drop.low - 1e-9 <= truth <= drop.high + 1e-9 for drop in drops)
    assert missed <= 8, "5 % of 60 is 3; 9 or more have a chance under 0.4 %"


@given(st.integers(0, 300), st.integers(0, 150), st.integers(0, 2**16), st.integers(1, IMAGES))
@settings(deadline=None, max_examples=60)
def test_an_interval_holds_its_estimate_and_nothing_impossible(lost: int, gained: int, seed: int, seen: int) -> None:
    outcomes, right = population(lost, gained, seed=seed)
    drop = after(outcomes, right, seen)
    total = int(outcomes[:seen].sum())
    assert drop.low <= drop.estimate <= drop.high
    assert 100 * (total - int((~right[seen:]).sum())) / IMAGES <= drop.low + 1e-9
    assert drop.high <= 100 * (total + int(right[seen:].sum())) / IMAGES + 1e-9


def test_all_images_give_the_drop_itself() -> None:
    outcomes, right = population(60, 20, seed=0)
    drop = after(outcomes, right, IMAGES)
    assert [100 * 40 / IMAGES] * 3 == pytest.approx([drop.low, drop.estimate, drop.high])


@given(st.lists(st.sampled_from([-1, 0, 0, 0, 1]), min_size=1, max_size=60), st.integers(-50, 50), st.booleans())
@settings(deadline=None)
def test_the_capital_is_what_its_definition_says(drawn: list[int], total: int, more: bool) -> None:
    outcomes, side = np.array(drawn, dtype=np.int8), 1 if more else -1
    bets = _bets(outcomes, IMAGES, HalfWidth())
    capital, most, seen = 0.0, 0.0, 0
    for index, outcome in enumerate(drawn):
        mean = min(max((total - seen) / (IMAGES - index), -1), 1)
        room = 1 + side * mean
        bet = min(bets[index], _STAKE / room) if room else bets[index]
        capital += math.log1p(bet * side * (outcome - mean))
        most, seen = max(most, capital), seen + outcome
    assert most == pytest.approx(_Walk(outcomes, IMAGES).log_capital(total, bets, against=side), abs=1e-9)


def test_a_bet_knows_nothing_of_its_own_image_or_later_ones() -> None:
    first = np.array([0, 1, 0, -1, 0, 0], dtype=np.int8)
    second = np.array([0, 1, 0, 1, 1, 1], dtype=np.int8)
    assert np.array_equal(_bets(first, 100, HalfWidth())[:4], _bets(second, 100, HalfWidth())[:4])


@pytest.mark.parametrize(("lost", "gained"), POPULATIONS)
@pytest.mark.parametrize("limit", [0.5, 2.0])
def test_decisions_are_seldom_wrong_however_often_asked(lost: int, gained: int, limit: float) -> None:
    truth, wrong = 100 * (lost - gained) / IMAGES <= limit, 0
    for seed in range(REPEATS):
        outcomes, right = population(lost, gained, seed=seed)
        answer, seen = None, 0
        while answer is None:
            seen += 25
            rest = right[seen:]
            answer = is_within(
                outcomes[:seen],
                images=IMAGES,
                losable=int(rest.sum()),
                gainable=int((~rest).sum()),
                limit=limit,
                error=0.05,
            )
        wrong += answer != truth
    assert wrong <= 8, "5 % of 60 is 3; 9 or more have a chance under 0.4 %"


@given(st.integers(0, 300), st.integers(0, 150), st.floats(0, 20))
@settings(deadline=None)
def test_with_every_image_answered_the_decision_is_the_truth(lost: int, gained: int, limit: float) -> None:
    outcomes, _ = population(lost, gained, seed=0)
    found = is_within(outcomes, images=IMAGES, losable=0, gainable=0, limit=limit, error=0.05)
    assert (lost - gained <= limit / 100 * IMAGES + 1e-9) == found


def test_a_clear_case_needs_few_images() -> None:
    outcomes, right = population(500, 0, seed=1)
    rest = right[100:]
    kwargs = {"images": IMAGES, "losable": int(rest.sum()), "gainable": int((~rest).sum()), "error": 0.05}
    assert is_within(outcomes[:100], limit=1.0, **kwargs) is False


@pytest.mark.parametrize(("drop", "expected"), [(0.0, 0.5), (-3.0, 0.5), (5.0, 0.5), (5.1, 0.51), (60.0, 6.0)])
def test_half_a_point_where_the_drop_is_small_and_a_tenth_of_it_beyond(drop: float, expected: float) -> None:
    assert expected == pytest.approx(HalfWidth().at(drop))
