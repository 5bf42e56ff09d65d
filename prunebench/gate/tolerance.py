"""Several seeds: whether a training procedure got worse, not whether one model did.

One seed on each side compares two models. A statement about the procedure needs its spread, hence at least two
baseline seeds. With k0 baseline and k1 new accuracies (percent), their pooled standard deviation s and t of
k0 + k1 - 2 degrees of freedom, the new mean must not fall under

    limit = mean0 - t_(1-alpha) s sqrt(1/k0 + 1/k1)

With one new seed this is the prediction limit for one more training (Hahn and Meeker, Statistical Intervals, 1991,
section 4.8); with several it is Student's two-sample t test. Both take accuracies over seeds as normal with one spread,
and speak of these test images alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm, t

from prunebench.gate.comparability import case_differences, dense_differences, training_differences
from prunebench.gate.thresholds import Thresholds
from prunebench.gate.verdicts import Status, Tier, Verdict
from prunebench.records import RunRecord

LEAST_SEEDS = 2
"""Baseline seeds; one has no spread."""

Cases = Mapping[str, tuple[RunRecord, RunRecord]]
"""Baseline and record by case id."""

Kept = Literal["best", "last"]
KEPT: tuple[Kept, ...] = ("best", "last")


@dataclass(frozen=True, kw_only=True)
class SeedAccuracies:
    """Percent right of each trained model, one a seed."""

    before: Sequence[float]
    after: Sequence[float]

    @property
    def drop(self) -> float:
        """Points by which the new mean is lower."""
        return fmean(self.before) - fmean(self.after)

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the spread."""
        return len(self.before) + len(self.after) - 2

    @property
    def spread(self) -> float:
        """Pooled standard deviation in points; 0 without a degree of freedom."""
        squares = sum((x - fmean(side)) ** 2 for side in (self.before, self.after) for x in side)
        return math.sqrt(squares / self.freedom) if self.freedom > 0 else 0.0

    @property
    def shrinkage(self) -> float:
        """sqrt(1/k0 + 1/k1)."""
        return math.sqrt(1 / len(self.before) + 1 / len(self.after))


def allowance(seeds: SeedAccuracies, *, alpha: float) -> float:
    """Points that the new mean may be lower by chance; infinite where there are too few seeds."""
    if len(seeds.before) < LEAST_SEEDS or not seeds.after:
        return math.inf
    return float(t.isf(alpha, seeds.freedom)) * seeds.spread * seeds.shrinkage


def seed_p_value(seeds: SeedAccuracies, *, images: int) -> float | None:
    """Two-sided p of "both means are the same" by Student's t test; None with fewer than two seeds on a side.

    Args:
        images: asked; accuracies are counts of them, and no spread is smaller than that of such a rounding.
    """
    if min(len(seeds.before), len(seeds.after)) < LEAST_SEEDS:
        return None
    error = max(seeds.spread, 100 / images / math.sqrt(12)) * seeds.shrinkage
    return 2 * float(t.sf(abs(seeds.drop) / error, seeds.freedom))


def judge_seeds(seeds: SeedAccuracies, *, thresholds: Thresholds) -> Status:
    """Judge seeds: FAIL under the limit and beyond the margin; PASS where the drop's upper limit is within that."""
    allowed, margin = allowance(seeds, alpha=thresholds.alpha), thresholds.margin
    if seeds.drop > allowed and seeds.drop >= margin:
        return Status.FAIL
    if -seeds.drop > allowed and -seeds.drop >= margin:
        return Status.IMPROVED
    return Status.PASS if seeds.drop + allowed < margin else Status.INCONCLUSIVE


def seed_effect(seeds: SeedAccuracies, *, thresholds: Thresholds) -> float | None:
    """The smallest drop in points that fails with the wanted power, were the true spread the measured one."""
    if not math.isfinite(allowance(seeds, alpha=thresholds.alpha)):
        return None
    if seeds.spread == 0:
        return thresholds.margin
    return _effect(seeds.freedom, seeds.spread * seeds.shrinkage, thresholds.alpha, thresholds.margin, thresholds.power)


@lru_cache(maxsize=256)
def _effect(freedom: int, error: float, alpha: float, margin: float, power: float) -> float:
    """Smallest drop found with `power`, averaged over the chi-distributed estimates of its true standard `error`."""
    levels = (np.arange(500) + 0.5) / 500
    limits = float(t.isf(alpha, freedom)) * error * np.sqrt(chi2.ppf(levels, freedom) / freedom)
    needed = np.maximum(limits, margin)

    def missing(drop: float) -> float:
        return float(np.mean(norm.sf((needed - drop) / error))) - power

    return float(brentq(missing, 0.0, float(needed.max()) + 10 * error, xtol=1e-6))


def seed_groups(cases: Cases) -> list[Cases]:
    """Cases that are one experiment under several seeds, on both sides; at least `LEAST_SEEDS` in a group."""
    groups: list[dict[str, tuple[RunRecord, RunRecord]]] = []
    for case, pair in cases.items():
        for group in groups:
            if all(_differ_in_seed_only(pair, member) for member in group.values()):
                group[case] = pair
                break
        else:
            groups.append({case: pair})
    return [group for group in groups if len(group) >= LEAST_SEEDS]


def compare_seeds(cases: Cases, *, thresholds: Thresholds) -> Iterator[Verdict]:
    """One verdict on the procedure, under the group's first case, for each kept epoch; groups are of `seed_groups`."""
    for kept in KEPT:
        seeds = SeedAccuracies(
            before=[_percent(baseline, kept) for baseline, _ in cases.values()],
            after=[_percent(record, kept) for _, record in cases.values()],
        )
        yield _verdict(cases, kept, seeds, thresholds)


def _differ_in_seed_only(pair: tuple[RunRecord, RunRecord], member: tuple[RunRecord, RunRecord]) -> bool:
    """True where two cases, of one torch, differ in their seed only, and each pair is one experiment in itself."""
    torches = {record.environment.get("torch") for record in (pair[1], member[1])}
    return (
        len(torches) == 1
        and all(one.seed != other.seed and _same_procedure(one, other) for one, other in zip(pair, member, strict=True))
        and _same_procedure(*pair)
    )


def _same_procedure(one: RunRecord, other: RunRecord) -> bool:
    if one.finetuning is None or other.finetuning is None:
        return False
    differences = case_differences(one, other), training_differences(one, other, seed_matters=False)
    return not any(differences) and not dense_differences(one, other)


def _percent(record: RunRecord, kept: Kept) -> float:
    assert record.finetuning is not None, "groups are made of fine-tuned records"
    return (record.finetuning.best if kept == "best" else record.finetuning.last).percent


def _verdict(cases: Cases, kept: Kept, seeds: SeedAccuracies, thresholds: Thresholds) -> Verdict:
    case, (_, first) = next(iter(cases.items()))
    allowed = allowance(seeds, alpha=thresholds.alpha)
    effect = seed_effect(seeds, thresholds=thresholds)
    before, after = fmean(seeds.before), fmean(seeds.after)
    limit = before - max(allowed, thresholds.margin)
    return Verdict(
        case=case,
        run=first.run,
        check=f"accuracy after fine-tuning, {kept} epoch, mean over seeds",
        tier=Tier.ACCURACY,
        status=judge_seeds(seeds, thresholds=thresholds),
        expected=f"{before:.2f} % (n = {len(seeds.before)})",
        measured=f"{after:.2f} % (n = {len(seeds.after)}, {-seeds.drop:+.2f} points)",
        shortfall=seeds.drop / max(allowed, thresholds.margin) - 1,
        rule=f"tolerance over seeds, s = {seeds.spread:.2f}: fails under {limit:.2f} %",
        hint="look at each seed's record, and at the spread between them",
        evidence={
            "cases": ", ".join(cases),
            "baseline_mean_percent": before,
            "new_mean_percent": after,
            "baseline_seeds": len(seeds.before),
            "new_seeds": len(seeds.after),
            "drop_points": seeds.drop,
            "spread_points": seeds.spread,
            "allowance_points": allowed,
            "margin_points": thresholds.margin,
            "smallest_effect_points": effect,
        },
        smallest_effect=f"{math.ceil(100 * (effect or 0)) / 100:.2f} points with {100 * thresholds.power:g} % power",
    )
