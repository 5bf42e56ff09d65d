"""The time tier: raw seconds against raw seconds.

Time belongs to a machine, and on a shared one to the moment. So a FAIL needs all of this: an equal machine
fingerprint (or both versions timed in turn in one process, `judge_times`); at least two samples a side; medians apart
by the ratio and by the absolute minimum; every new sample slower than every old one; and other timings of the record
that did not become slower, for a busy machine slows everything, if not alike. Anything less is shown as a ratio and
decides nothing.

Separated samples rather than a rank test: a record holds 1 to 11 samples of a kind, and below 5 a side not even the
one-sided Mann-Whitney test can reach p < 0.01 (complete separation has p = 1 / C(n + m, n): 1/6 at two a side, 1/252 at
five). From five a side on, separation is the stricter of the two. One sample a side shows no spread and never fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from prunebench.gate.comparability import MACHINE, environment_differences
from prunebench.gate.thresholds import Thresholds
from prunebench.gate.verdicts import Figure, Status, Tier, Verdict, different
from prunebench.records import RunRecord

LEAST_SAMPLES = 2
BUSY = 1.2
"""Where everything else became slower by so much, the machine was busy and no timing fails.

Load does not slow everything alike, so it cannot be divided out. Measured on two cores beside a training at the lowest
priority: evaluation took 2.5 times as long as on the idle machine, pruning 2.6, training 4.3.
"""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Seconds of one thing before and after; `others`: the ratios of whatever else was timed in the same two runs."""

    before: Sequence[float]
    after: Sequence[float]
    others: Sequence[float] = ()

    @property
    def ratio(self) -> float:
        """New median over old median."""
        old, new = median(self.before), median(self.after)
        return new / old if old > 0 else (1.0 if new == 0 else math.inf)

    @property
    def load(self) -> float:
        """The factor by which everything else became slower; 1 for no slower."""
        return max(1.0, min(self.others, default=1.0))

    @property
    def mirrored(self) -> Samples:
        """The same with before and after changed over."""
        others = [1 / ratio if ratio > 0 else math.inf for ratio in self.others]
        return Samples(before=self.after, after=self.before, others=others)


def compare_timings(case: str, baseline: RunRecord, record: RunRecord, *, thresholds: Thresholds) -> Iterator[Verdict]:
    """One verdict for each kind of timing; advisory where only one record holds samples of it."""
    before, after = (_kinds(each) for each in (baseline, record))
    kinds = [kind for kind in before if before[kind] and after[kind]]
    elsewhere = environment_differences(baseline, record, MACHINE)
    ratios = {kind: Samples(before=before[kind], after=after[kind]).ratio for kind in kinds}
    for kind in kinds:
        others = [ratio for other, ratio in ratios.items() if other != kind]
        samples = Samples(before=before[kind], after=after[kind], others=others)
        yield compare_times(case, record.run, f"seconds, {kind}", samples, elsewhere, thresholds=thresholds)
    for kind in before:
        if bool(before[kind]) != bool(after[kind]):
            missing = "the record" if before[kind] else "the baseline"
            yield different(
                case, record.run, f"seconds, {kind}", [f"{missing} has no samples"], tier=Tier.TIME, advisory=True
            )


def compare_times(
    case: str, run: str, check: str, samples: Samples, elsewhere: Sequence[str], *, thresholds: Thresholds
) -> Verdict:
    """The verdict on samples of two records; advisory where their machines differ, in what `elsewhere` lists."""
    if not elsewhere:
        return judge_times(case, run, check, samples, thresholds=thresholds)
    rule = f"advisory: another machine ({'; '.join(elsewhere)})"
    return _verdict(case, run, check, samples, thresholds, status=Status.INCOMPARABLE, rule=rule)


def judge_times(case: str, run: str, check: str, samples: Samples, *, thresholds: Thresholds) -> Verdict:
    """The verdict on samples from one machine, or timed in turn in one process."""
    if is_slower(samples, thresholds):
        status = Status.FAIL
    elif is_slower(samples.mirrored, thresholds):
        status = Status.IMPROVED
    else:
        status = Status.PASS if samples.ratio < thresholds.time_ratio else Status.INCONCLUSIVE
    return _verdict(case, run, check, samples, thresholds, status=status, rule=_rule(thresholds))


def is_slower(samples: Samples, thresholds: Thresholds) -> bool:
    """True where the new samples are slower by every condition at once."""
    return (
        min(len(samples.before), len(samples.after)) >= LEAST_SAMPLES
        and samples.load < BUSY
        and samples.ratio >= thresholds.time_ratio * samples.load
        and median(samples.after) - median(samples.before) >= thresholds.time_minimum_seconds
        and min(samples.after) > max(samples.before)
    )


def _kinds(record: RunRecord) -> Mapping[str, Sequence[float]]:
    """Timings of a record by kind; no epochs where another process trained some, which say nothing about this one."""
    resumed = record.finetuning is not None and record.finetuning.resumed_after > 0
    timings = record.timings
    return {"pruning": timings.prune, "evaluation": timings.evaluate, "epochs": [] if resumed else timings.epochs}


def _rule(thresholds: Thresholds) -> str:
    return (
        f"fails at x{thresholds.time_ratio:g} and {thresholds.time_minimum_seconds:g} s, from {LEAST_SAMPLES} samples "
        f"a side, every new one slower than every old one, unless everything else took x{BUSY:g} too: a busy machine"
    )


def _verdict(
    case: str, run: str, check: str, samples: Samples, thresholds: Thresholds, *, status: Status, rule: str
) -> Verdict:
    old, new = median(samples.before), median(samples.after)
    evidence: dict[str, Figure] = {
        "baseline_median_seconds": old,
        "new_median_seconds": new,
        "ratio": samples.ratio if math.isfinite(samples.ratio) else None,
        "slowdown_of_everything_else": samples.load if math.isfinite(samples.load) else None,
        "baseline_samples": len(samples.before),
        "new_samples": len(samples.after),
        "baseline_slowest_seconds": max(samples.before),
        "new_fastest_seconds": min(samples.after),
    }
    effect = max(thresholds.time_ratio * samples.load * old, old + thresholds.time_minimum_seconds, *samples.before)
    seen = f"{effect:.3g} s"
    if min(len(samples.before), len(samples.after)) < LEAST_SAMPLES:
        seen = "none: one sample shows no spread"
    elif samples.load >= BUSY:
        seen = f"none: everything else took x{samples.load:.2f}, so the machine was busy"
    return Verdict(
        case=case,
        run=run,
        check=check,
        tier=Tier.TIME,
        status=status,
        expected=f"{old:.3g} s (n = {len(samples.before)})",
        measured=f"{new:.3g} s (n = {len(samples.after)}), x{samples.ratio:.2f}",
        shortfall=min(samples.ratio / thresholds.time_ratio - 1, 1e9),
        rule=rule,
        hint="time both versions in turn on one machine before believing it",
        evidence=evidence,
        smallest_effect=seen,
        advisory=status in (Status.INCOMPARABLE, Status.INCONCLUSIVE),
    )
