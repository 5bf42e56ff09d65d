"""Two models on the same test images: the paired test, the interval of the drop, and the smallest effect to be seen.

An image counts in `b` where the baseline was right and the new model is wrong, in `c` where it is the other way round;
where both are right or both wrong it says nothing about a difference. A drop is positive where the new model is worse,
and in points (percent of the test images).

Sources:
    McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 12 (1947); the
        exact one-sided form is the binomial test of b among b + c.
    Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
        Statistics in Medicine 17 (1998): the score interval. Recommended over Wald's by Fagerland, Lydersen, Laake,
        Recommended tests and confidence intervals for paired binomial proportions, Statistics in Medicine 33 (2014).
    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, norm

from prunebench.errors import RecordError
from prunebench.gate.thresholds import Thresholds
from prunebench.gate.verdicts import Status
from prunebench.records import Accuracy
from prunebench.tasks import unpacked

_TAIL = 1e-12
"""Probability left out at each end where a binomial is summed."""


@dataclass(frozen=True, kw_only=True)
class RightWrong:
    """Answers of which nothing is known but whether they are right."""

    correct: int
    images: int
    correct_bits: str
    predictions_digest: str = ""

    @property
    def percent(self) -> float:
        """Percent of images answered right."""
        return 100 * self.correct / self.images


Answered = Accuracy | RightWrong
"""One model's right and wrong answers; `predictions_digest` is empty where wrong answers were not kept."""


@dataclass(frozen=True, kw_only=True)
class PairedCounts:
    """Answers of two models on the same `n` images: `b` only the baseline got right, `c` only the new model."""

    b: int
    c: int
    n: int

    @property
    def drop(self) -> float:
        """Points by which the new model is worse."""
        return 100 * (self.b - self.c) / self.n

    @property
    def discordance(self) -> float:
        """Share of the images, 0..1, that one of the two got right and the other wrong."""
        return (self.b + self.c) / self.n

    @property
    def mirrored(self) -> PairedCounts:
        """The same with the two models changed over."""
        return PairedCounts(b=self.c, c=self.b, n=self.n)


def correctness(answers: Answered) -> NDArray[np.bool_]:
    """Unpack the right answers, bool (images,), from the record's bits.

    Raises:
        RecordError: the bits are not base64, too few or too many, or do not add up to the count of right answers.
    """
    return unpacked(answers.correct_bits, correct=answers.correct, images=answers.images)


def paired_counts(baseline: Answered, new: Answered) -> PairedCounts:
    """Count the images that only one of two models got right, from the correctness bits.

    Raises:
        RecordError: bits that cannot be read, or of another number of images.
    """
    if baseline.images != new.images:
        raise RecordError(f"the baseline answered {baseline.images:,} images, the new model {new.images:,}")
    before, after = correctness(baseline), correctness(new)
    return PairedCounts(b=int((before & ~after).sum()), c=int((~before & after).sum()), n=baseline.images)


def mcnemar(counts: PairedCounts) -> float:
    """Exact one-sided p of "the new model is not worse": at least `b` of `b + c` by fair coin tosses. 1 without any."""
    if counts.b + counts.c == 0:
        return 1.0
    return float(binomtest(counts.b, counts.b + counts.c, 0.5, alternative="greater").pvalue)


def two_sided_mcnemar(b: NDArray[Any], c: NDArray[Any]) -> NDArray[np.float64]:
    """Exact two-sided p of "neither model is better", for many pairs at once; `b` and `c` as in `PairedCounts`."""
    p_values: NDArray[np.float64] = np.minimum(1.0, 2 * binom.sf(np.maximum(b, c) - 1, b + c, 0.5))
    return p_values


def drop_interval(counts: PairedCounts, *, alpha: float) -> tuple[float, float]:
    """Lower and upper limit of the drop in points, each at one-sided level `alpha` (Tango's score interval)."""
    lower, upper = -_upper_limit(counts.mirrored, alpha), _upper_limit(counts, alpha)
    return 100 * lower, 100 * upper


def _upper_limit(counts: PairedCounts, alpha: float) -> float:
    """The largest difference that a score test at `alpha` does not reject; 0..1 scale."""
    b, c, n = counts.b, counts.c, counts.n
    observed, z2 = (b - c) / n, norm.isf(alpha) ** 2

    def excess(difference: float) -> float:
        """(n difference - (b - c))^2 - z^2 variance; Tango 1998, with his maximum-likelihood estimate of the c cell."""
        slope = -b - c + (2 * n - b + c) * difference
        root = math.sqrt(max(slope * slope + 8 * n * c * difference * (1 - difference), 0.0))
        cell = max((root - slope) / (4 * n), 0.0)
        variance = n * (2 * cell + difference * (1 - difference))
        return float((n * difference - (b - c)) ** 2 - z2 * variance)

    start = observed + 1e-9 * (1 - observed)  # at the estimate itself the test rejects nothing, and 0/0 lurks
    if start >= 1:
        return 1.0
    return float(brentq(excess, start, 1.0)) if excess(start) < 0 else start  # an alpha near 0.5 rejects all above


def fail_probability(drop: float, *, images: int, discordance: float, alpha: float, margin: float) -> float:
    """Probability that a true drop of `drop` points fails: p < `alpha` and at least `margin` points observed.

    Exact for independent images, of which a share of `discordance` (0..1) differs without any drop, half either way,
    and the drop comes on top.
    """
    only_baseline, only_new = discordance / 2 + drop / 100, discordance / 2
    share = only_baseline + only_new
    if images * share < _TAIL:  # no image differs; and scipy's binomial overflows for the smallest shares
        return 0.0
    fewest, most = binom.ppf([_TAIL, 1 - _TAIL], images, min(share, 1.0))
    differing = np.arange(fewest, most + 1)
    significant = binom.isf(alpha, differing, 0.5) + 1
    beyond_margin = np.ceil((differing + margin / 100 * images) / 2 - 1e-9)
    needed = np.maximum(significant, beyond_margin)
    fails = binom.sf(needed - 1, differing, only_baseline / share)
    return float(np.sum(binom.pmf(differing, images, min(share, 1.0)) * fails))


@lru_cache(maxsize=1024)
def minimum_detectable_effect(
    *, images: int, discordance: float, alpha: float, margin: float, power: float
) -> float | None:
    """The smallest true drop in points that fails with probability `power`; None where not even a loss of all would.

    Solved from `fail_probability`, because `approximate_effect` is too small on two counts: a FAIL needs the observed
    drop to reach the margin as well, and the images that a regression turns wrong add to the discordance.
    """

    def missing(drop: float) -> float:
        found = fail_probability(drop, images=images, discordance=discordance, alpha=alpha, margin=margin)
        return found - power

    largest = 100 * (1 - discordance)
    if missing(largest) < 0:
        return None
    return float(brentq(missing, 0.0, largest, xtol=1e-4))


def approximate_effect(*, images: int, discordance: float, alpha: float, power: float) -> float:
    """The drop in points that the test alone, without a margin, finds with probability `power`.

    (z_(1-alpha) + z_power) sqrt(discordance / n): Connor, Sample size for testing differences in proportions for the
    paired-sample design, Biometrics 43 (1987), without the square of the drop, which is small.
    """
    return 100 * float(norm.isf(alpha) + norm.ppf(power)) * math.sqrt(discordance / images)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values: all of them together raise a false alarm with probability alpha at most (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, running = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def judge_paired(
    counts: PairedCounts, *, p_worse: float, p_better: float, fail_margin: float, thresholds: Thresholds
) -> Status:
    """The verdict on one pair of models.

    Args:
        p_worse, p_better: of `mcnemar` on the counts and on the mirrored counts, adjusted by `holm`.
        fail_margin: points the observed drop has to reach; passing is judged by `thresholds.margin` all the same.
    """
    if p_worse < thresholds.alpha and counts.drop >= fail_margin:
        return Status.FAIL
    if p_better < thresholds.alpha and -counts.drop >= fail_margin:
        return Status.IMPROVED
    upper = drop_interval(counts, alpha=thresholds.alpha)[1]
    return Status.PASS if upper < thresholds.margin else Status.INCONCLUSIVE
