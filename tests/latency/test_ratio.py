"""The interval covers the truth, the same model is not called faster, a tenth more work is: on simulated timings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prunebench.latency.measure import LAUNCHES, ROUNDS
from prunebench.latency.ratio import FEWEST_LAUNCHES, Outcome, Ratio, ratio_of


def ratio(lower: float, estimate: float, upper: float) -> Ratio:
    return Ratio(estimate=estimate, lower=lower, upper=upper, launches=8)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("faster by 1.32x (1.28 to 1.37)", ratio(1.28, 1.32, 1.37)),
        ("no faster (0.98 to 1.03)", ratio(0.98, 1.0, 1.03)),
        ("no faster (0.90 to 1.01)", ratio(0.9, 0.95, 1.01)),
        ("slower by 1.25x (1.11 to 1.43)", ratio(0.7, 0.8, 0.9)),
        ("undecided (0.80 to 1.40)", ratio(0.8, 1.1, 1.4)),
        ("no faster (1.00 to 1.02)", ratio(1.001, 1.01, 1.019)),
    ],
)
def test_a_verdict_in_words(expected: str, found: Ratio) -> None:
    assert expected == str(found)


def of_logs(figures: list[float]) -> Ratio:
    """Launches whose quickest calls are so far apart, beside calls that were disturbed."""
    return ratio_of([[9.0, math.exp(each)] for each in figures], [[1.0, 7.0] for _ in figures])


def test_changing_the_sides_over_turns_the_ratio_round() -> None:
    forth, back = of_logs([0.24, 0.25, 0.26] * 3), of_logs([-0.24, -0.25, -0.26] * 3)
    assert (1 / forth.upper, 1 / forth.estimate) == pytest.approx((back.lower, back.estimate))
    assert (Outcome.FASTER, Outcome.SLOWER) == (forth.outcome, back.outcome)


def test_the_interval_ends_at_the_second_of_twelve_launches_from_either_end() -> None:
    """1 - 2 (1 + 12) / 2^12 = 0.9937: the sign test. With the first and the last alone it would be 0.9995."""
    figures = [0.01 * each for each in range(12)]
    for odd in (0.0, 5.0):
        found = of_logs([-odd, *figures[1:-1], figures[-1] + odd])
        assert (0.01, 0.055, 0.10) == pytest.approx(
            [math.log(each) for each in (found.lower, found.estimate, found.upper)]
        )


def test_eight_launches_are_the_fewest_for_an_interval() -> None:
    assert math.isnan(of_logs([0.1] * (FEWEST_LAUNCHES - 1)).lower)
    assert 1.1 == pytest.approx(of_logs([math.log(1.1)] * FEWEST_LAUNCHES).upper)


def simulated(rng: np.random.Generator, slowdown: float) -> Ratio:
    """Turns scatter by 4 %, half of them disturbed and up to ten times as slow; processes differ by 1.5 %."""
    sides: list[list[list[float]]] = [[], []]
    for _ in range(LAUNCHES):
        for side, factor in zip(sides, (1.0, slowdown), strict=True):
            turns = rng.normal(0, 0.04, 2 * ROUNDS) + rng.normal(0, 0.015)
            turns += (rng.random(2 * ROUNDS) < 0.5) * rng.uniform(0, math.log(10), 2 * ROUNDS)
            side.append((factor * np.exp(turns)).tolist())
    return ratio_of(*sides)


def test_the_same_model_is_not_called_faster_and_ten_percent_are_found() -> None:
    rng = np.random.default_rng(0)
    same = [simulated(rng, 1.0).outcome for _ in range(200)]
    slower = [simulated(rng, 1.1).outcome for _ in range(200)]
    assert 200 * 0.005 >= sum(each in {Outcome.FASTER, Outcome.SLOWER} for each in same)
    assert 180 <= slower.count(Outcome.SLOWER)


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = sum((found := simulated(rng, 1.1)).lower <= 1 / 1.1 <= found.upper for _ in range(200))
    assert 195 <= covered
