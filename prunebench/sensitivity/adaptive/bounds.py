"""Bounds on the accuracy that a pruned model loses on all images, from its answers on some; valid at every look.

The images are a finite population of N, drawn without replacement. An image counts 1 where the base model was right
and the pruned one is wrong, -1 the other way round, 0 where both are right or both wrong; `total` is the sum of all N,
the number of right answers lost. What is drawn with less than an even chance counts for more: an outcome divided by its
chance (`Order.chances`) is on average the mean of the images left. To test whether the total is m, a capital of 1 is
staked on every image x in turn and multiplied by 1 + bet (x / chance - mean), where mean is what the images left have
to average if the total is m. If it is, the capital is a martingale, and the chance that it EVER reaches 1/alpha is at
most alpha. So one may look after every batch and stop where the interval is narrow. Nothing is assumed but the random
order: not that accuracy falls as sparsity rises, and no distribution.

Sources:
    Waudby-Smith, Ramdas, Estimating means of bounded random variables by betting, Journal of the Royal Statistical
        Society B 86 (2024), section 5: without replacement. The bets are those that grow fastest for a total that lies
        one half-width off (Kelly 1956).
    Shekhar, Xu, Lipton, Liang, Ramdas, Risk-limiting financial audits via weighted sampling without replacement,
        Uncertainty in Artificial Intelligence (2023): with uneven chances.
    Ville, Etude critique de la notion de collectif (1939): the inequality.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunebench.sensitivity.adaptive.order import Order

Outcomes = NDArray[np.int8]
"""1 lost, -1 gained, 0 the same: one an image, in the order they were drawn."""

Bets = NDArray[np.float64]

_STAKE = 0.9
"""Share of the capital that one image can cost at most."""

_PRIOR_IMAGES = 10
_PRIOR_DISCORDANCE = 0.02
"""What the first bets take for granted: 2 % of answers changed, with the weight of ten images."""

_GAPS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""What a decision bets that the mean of the images left is off the limit by; each has a fifth of the capital."""


@dataclass(frozen=True, kw_only=True)
class HalfWidth:
    """A half-width that is narrow enough: `points`, or the share `relative` of the drop where that is more."""

    points: float = 0.5
    relative: float = 0.1

    def at(self, drop: float) -> float:
        """Points of half-width asked for at a drop of `drop` points."""
        return max(self.points, self.relative * abs(drop))


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Points of accuracy lost on all images: estimate and interval."""

    estimate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval's width, in points."""
        return (self.high - self.low) / 2


def drop_interval(
    outcomes: Outcomes, order: Order, *, losable: int, gainable: int, confidence: float, half_width: HalfWidth
) -> Drop:
    """The drop on all images from the outcomes on some, at `confidence`, at any time one cares to look.

    Args:
        outcomes: of the images answered, the first of `order`.
        losable, gainable: of the images NOT answered, how many the base model has right and wrong.
        half_width: what the bets aim for. Another aim gives another interval, as valid.
    """
    images, seen, total = len(order), len(outcomes), int(outcomes.sum(dtype=np.int64))
    lowest, highest = total - gainable, total + losable  # what no answer still to come can change
    likeliest = float(total)
    if seen and losable + gainable:
        process = _CapitalProcess(outcomes, order)
        bets = [process.bets(half_width)]
        threshold = np.log(2 / (1 - confidence))  # half the chance of error for either side

        def is_more(candidate: int) -> bool:
            return bool(process.log_capital(candidate, bets, against=1) >= threshold)

        def is_less(candidate: int) -> bool:
            return bool(process.log_capital(candidate, bets, against=-1) >= threshold)

        lowest = _first(lambda candidate: not is_more(candidate), lowest, highest)
        highest = _first(lambda candidate: candidate >= highest or is_less(candidate + 1), lowest, highest)
        likeliest = process.estimate
    points = 100 / images
    estimate = points * np.clip(likeliest, lowest, highest)
    return Drop(estimate=float(estimate), low=points * lowest, high=points * highest)


def is_within(
    outcomes: Outcomes,
    order: Order,
    *,
    losable: int,
    gainable: int,
    most: int,
    error_within: float,
    error_beyond: float,
) -> bool | None:
    """True where at most `most` right answers are lost over all images, False where more; None where that is open.

    However often it is asked, it says so of a model that loses more with probability `error_within` at most, and denies
    it of one that does not with `error_beyond`. Other arguments as `drop_interval`.
    """
    total = int(outcomes.sum(dtype=np.int64))
    if total + losable <= most:
        return True
    if total - gainable > most:
        return False
    if not len(outcomes):
        return None
    process = _CapitalProcess(outcomes, order)
    bets = [process.bets_on(gap) for gap in _GAPS]
    if process.log_capital(most + 1, bets, against=-1) >= np.log(1 / error_within):
        return True
    if process.log_capital(most, bets, against=1) >= np.log(1 / error_beyond):
        return False
    return None


def estimated(outcomes: Outcomes, order: Order) -> tuple[float, float]:
    """The sum of the outcomes of all images, estimated from the first of `order`, and its standard error.

    Of one image there is no standard error yet: 0.
    """
    process = _CapitalProcess(outcomes, order)
    return process.estimate, process.standard_error


class _CapitalProcess:
    """The outcomes as they came, at least one, and what was known before each."""

    def __init__(self, outcomes: Outcomes, order: Order) -> None:
        seen = len(outcomes)
        self._images, self._seen_before = len(order), np.arange(seen)
        self._left, self._reach = order.left[:seen], 1 / order.least[:seen]
        counted = outcomes.astype(np.float64)
        self._sum_before = _sums_before(counted)
        self._scaled = counted / order.chances[:seen]
        # Each is an estimate of the total without bias, right in what was seen and the surer the less weight is left.
        self._totals = self._sum_before + self._scaled * self._left
        self._trust = order.weight_left[:seen] ** -2.0
        self._variance_before = _variance_before(self._scaled)

    @property
    def estimate(self) -> float:
        """The total, estimated."""
        return float(np.average(self._totals, weights=self._trust))

    @property
    def standard_error(self) -> float:
        """The standard error of the estimate: each of `_totals` differs from the truth on its own."""
        off = self._trust * (self._totals - self.estimate)
        return float(np.sqrt((off**2).sum()) / self._trust.sum())

    def bets(self, half_width: HalfWidth) -> Bets:
        """Each from what was seen before its image: for a total one half-width off, the bet that grows fastest."""
        trusted, trust = _sums_before(self._trust * self._totals), _sums_before(self._trust)
        trust[0] = 1  # in nothing yet
        before = trusted / trust / self._images * self._seen_before / (self._seen_before + _PRIOR_IMAGES)
        off = np.maximum(half_width.points / 100, half_width.relative * np.abs(before))
        return self.bets_on(off * self._images / self._left)  # all of it lies in the images left

    def bets_on(self, gap: NDArray[np.float64] | float) -> Bets:
        """Bets that grow fastest where the mean of the images left is off by `gap`."""
        return np.asarray(gap / (self._variance_before + gap))

    def log_capital(self, total: int, bets: Sequence[Bets], *, against: int) -> float:
        """The most that staking against "the total is `total`" ever had, in equal parts on each of `bets`.

        `against` 1 bets that it is more, -1 that it is less. It falls (rises) with `total`, for each factor does.
        """
        mean = np.clip((total - self._sum_before) / self._left, -1, 1)
        gains, room = against * (self._scaled - mean), self._reach + against * mean
        with np.errstate(divide="ignore"):
            most = _STAKE / room
        capitals = [np.cumsum(np.log1p(np.minimum(bet, most) * gains)) for bet in bets]
        capital = np.logaddexp.reduce(capitals, axis=0) - np.log(len(capitals))
        return float(max(capital.max(), 0))


def _variance_before(outcomes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of the outcomes before each one, drawn towards what is taken for granted."""
    weight = _PRIOR_IMAGES + np.arange(len(outcomes))
    mean = _sums_before(outcomes) / weight
    squares = (_sums_before(outcomes**2) + _PRIOR_IMAGES * _PRIOR_DISCORDANCE) / weight
    return np.asarray(np.maximum(squares - mean**2, 1e-6))


def _sums_before(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.append(0.0, np.cumsum(values[:-1]))


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The least whole number from `low` on of which it holds, where it holds of all above one that it holds of."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
