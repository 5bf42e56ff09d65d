"""How much accuracy a pruned model loses on all images, from the answers on some of them; valid at every look.

The images are a finite population of N, drawn without replacement in random order. An image counts 1 where the base
model was right and the pruned one is wrong, -1 the other way round, 0 where both are right or both wrong; `total` is
the sum over all N, the number of right answers lost. To test whether the total is m, a capital of 1 is staked on every
image x in turn and multiplied by 1 + bet (x - mean), where mean is what the images still to come have to average if the
total is m. If it is, the capital is a martingale, and the chance that it EVER reaches 1/alpha is at most alpha. So one
may look after every batch and stop where the interval is narrow. Nothing is assumed but the random order: not that
accuracy falls as sparsity rises, and no distribution.

Sources:
    Waudby-Smith, Ramdas, Estimating means of bounded random variables by betting, Journal of the Royal Statistical
        Society B 86 (2024), section 5: without replacement. The bets are those that grow fastest for a total that lies
        one half-width off (Kelly 1956).
    Ville, Etude critique de la notion de collectif (1939): the inequality.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Outcomes = NDArray[np.int8]
"""1 lost, -1 gained, 0 the same: one an image, in the order they were drawn."""

_STAKE = 0.9
"""Share of the capital that one image can cost at most."""

_PRIOR_IMAGES = 10
_PRIOR_DISCORDANCE = 0.02
"""What the first bets take for granted: 2 % of answers changed, with the weight of ten images."""


@dataclass(frozen=True, kw_only=True)
class HalfWidth:
    """How narrow is narrow enough: `points` of accuracy, or the share `relative` of the drop where that is more."""

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
    outcomes: Outcomes, *, images: int, losable: int, gainable: int, confidence: float, half_width: HalfWidth
) -> Drop:
    """The drop on all `images` from the outcomes on some, at `confidence`, at any time one cares to look.

    Args:
        outcomes: of the images answered, in their order.
        losable, gainable: of the images NOT answered, how many the base model has right and wrong.
        half_width: what the bets aim for. Another aim gives another interval, as valid.
    """
    seen, total = len(outcomes), int(outcomes.sum(dtype=np.int64))
    lowest, highest = total - gainable, total + losable  # what no answer still to come can change
    if seen and losable + gainable:
        bets = _bets(outcomes, images, half_width)
        threshold = np.log(2 / (1 - confidence))  # half the chance of error for either side
        walk = _Walk(outcomes, images)

        def is_more(candidate: int) -> bool:
            return bool(walk.log_capital(candidate, bets, against=1) >= threshold)

        def is_less(candidate: int) -> bool:
            return bool(walk.log_capital(candidate, bets, against=-1) >= threshold)

        lowest = _first(lambda candidate: not is_more(candidate), lowest, highest)
        highest = _first(lambda candidate: candidate >= highest or is_less(candidate + 1), lowest, highest)
    points = 100 / images
    estimate = points * np.clip(total / seen * images if seen else 0, lowest, highest)
    return Drop(estimate=float(estimate), low=points * lowest, high=points * highest)


def is_within(
    outcomes: Outcomes, *, images: int, losable: int, gainable: int, limit: float, error: float
) -> bool | None:
    """Whether at most `limit` points are lost on all `images`; None where that is still open.

    Wrong with probability `error` at most, however often it is asked. Arguments as `drop_interval`.
    """
    total = int(outcomes.sum(dtype=np.int64))
    most = int(np.floor(limit / 100 * images + 1e-9))
    if total + losable <= most:
        return True
    if total - gainable > most:
        return False
    if not len(outcomes):
        return None
    walk, threshold = _Walk(outcomes, images), np.log(1 / error)
    if walk.log_capital(most + 1, None, against=-1) >= threshold:
        return True
    if walk.log_capital(most, None, against=1) >= threshold:
        return False
    return None


class _Walk:
    """The outcomes as they came, and what was known before each."""

    def __init__(self, outcomes: Outcomes, images: int) -> None:
        self._outcomes = outcomes.astype(np.float64)
        drawn = np.arange(len(outcomes))
        self._left = images - drawn
        self._sum_before = np.cumsum(self._outcomes) - self._outcomes
        self._mean_before, self._variance_before = _moments_before(self._outcomes)

    def log_capital(self, total: int, bets: NDArray[np.float64] | None, *, against: int) -> float:
        """The most that staking against "the total is `total`" ever had.

        `against` 1 bets that it is more, -1 that it is less. It falls (rises) with `total`, for each factor does.
        Without `bets`, they are those that grow fastest if the rest is like what was seen so far.
        """
        mean = np.clip((total - self._sum_before) / self._left, -1, 1)
        if bets is None:
            gap = np.maximum(against * (self._mean_before - mean), 0)
            bets = gap / (self._variance_before + gap)
        with np.errstate(divide="ignore"):
            bets = np.minimum(bets, _STAKE / (1 + against * mean))
        capital = np.cumsum(np.log1p(bets * against * (self._outcomes - mean)))
        return float(max(capital.max(), 0))


def _bets(outcomes: Outcomes, images: int, half_width: HalfWidth) -> NDArray[np.float64]:
    """Each from what was seen before its image: for a total one half-width off, the bet that grows fastest."""
    mean, variance = _moments_before(outcomes.astype(np.float64))
    off = np.maximum(half_width.points / 100, half_width.relative * np.abs(mean))
    off = off / (1 - np.arange(len(outcomes)) / images)  # all of it lies in the images still to come
    return np.asarray(off / (variance + off))


def _moments_before(outcomes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of the outcomes before each one, drawn towards what is taken for granted."""
    weight = _PRIOR_IMAGES + np.arange(len(outcomes))
    mean = (np.cumsum(outcomes) - outcomes) / weight
    squares = (np.cumsum(outcomes**2) - outcomes**2 + _PRIOR_IMAGES * _PRIOR_DISCORDANCE) / weight
    return mean, np.maximum(squares - mean**2, 1e-6)


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The least whole number from `low` on of which it holds, where it holds of all above one that it holds of."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
