"""The ratio of two latencies, its interval, and the verdict in words.

A launch is a pair of new processes, whose sides take turns, A B B A. Its figure is log(quickest call of A / quickest
call of B): other programs only ever make a call slower (Chen and Revels, Robust benchmarking in noisy environments,
2016). The launch is what is repeated and counted, for two processes that run the same program differ too, by where
memory happens to lie (Kalibera and Jones, Rigorous benchmarking in reasonable time, 2013). The interval of the median
over launches is exact whatever their distribution: two order statistics, by the sign test (Conover, Practical
Nonparametric Statistics, 3rd edition, 1999, section 3.2). One odd launch in twelve does not move it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from scipy.stats import quantile_test

CONFIDENCE = 0.99
FEWEST_LAUNCHES = 8
"""With fewer, both sides are equal and all launches agree by chance in more than one case of a hundred."""
MARGIN = 0.02
"""A ratio that may be as near to 1 as this is not called faster or slower."""
NO_FASTER = 0.05
"""One that is surely below 1 and this is called no faster; what may be above is undecided."""


class Outcome(StrEnum):
    """Verdict of a comparison on side B."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_FASTER = "no faster"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Seconds of A over seconds of B: above 1 where B is faster.

    Attributes:
        lower, upper: of the two-sided interval at `CONFIDENCE`.
        launches: pairs of processes that it rests on.
    """

    estimate: float
    lower: float
    upper: float
    launches: int

    @property
    def outcome(self) -> Outcome:
        """The verdict on B."""
        if self.lower > 1 + MARGIN:
            return Outcome.FASTER
        if self.upper < 1 / (1 + MARGIN):
            return Outcome.SLOWER
        return Outcome.NO_FASTER if self.upper < 1 + NO_FASTER else Outcome.UNDECIDED

    def __str__(self) -> str:
        low, middle, high = self.lower, self.estimate, self.upper
        if self.outcome is Outcome.SLOWER:
            return f"slower by {1 / middle:.2f}x ({1 / high:.2f} to {1 / low:.2f})"
        times = f" by {middle:.2f}x" if self.outcome is Outcome.FASTER else ""
        return f"{self.outcome}{times} ({low:.2f} to {high:.2f})"


def ratio_of(seconds_a: Sequence[Sequence[float]], seconds_b: Sequence[Sequence[float]]) -> Ratio:
    """The ratio and its interval, from the seconds of each side's turns in each launch.

    Of fewer than `FEWEST_LAUNCHES` there is no interval: its limits are NaN.
    """
    figures = [math.log(min(one) / min(other)) for one, other in zip(seconds_a, seconds_b, strict=True)]
    interval = quantile_test(figures, p=0.5).confidence_interval(CONFIDENCE)
    lower, middle, upper = (math.exp(each) for each in (interval.low, median(figures), interval.high))
    return Ratio(estimate=middle, lower=lower, upper=upper, launches=len(figures))
