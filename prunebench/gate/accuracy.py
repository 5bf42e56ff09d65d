"""The accuracy tier for one model on each side: which answers are compared, and the verdict on each pair.

Same weights, or weights pruned from the same weights, are judged by the paired test alone. After training the test
still compares only the two models that one seed happened to make, so a FAIL has to be clear of what a seed does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scipy.stats import norm

from prunebench.gate.paired import (
    Answered,
    PairedCounts,
    drop_interval,
    holm,
    judge_paired,
    mcnemar,
    minimum_detectable_effect,
    paired_counts,
)
from prunebench.gate.thresholds import SEED_DEVIATIONS, Thresholds
from prunebench.gate.verdicts import Figure, Status, Tier, Verdict
from prunebench.records import RunRecord

LOOK = "look closer with 'prunebench run', which prints every figure"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two sets of answers to the same images.

    Attributes:
        trained: whether other weights are to be expected, because training came between.
        density: of the pruned model, 0..1: what the spread from seed to seed goes by.
        hint: how to look closer.
    """

    case: str
    run: str
    check: str
    baseline: Answered
    new: Answered
    trained: bool
    density: float = 1.0
    hint: str = LOOK

    @property
    def identical(self) -> bool:
        """True where all predictions are the same, or, where only that is known, all right and wrong answers."""
        digests = self.baseline.predictions_digest, self.new.predictions_digest
        return digests[0] == digests[1] and self.baseline.correct_bits == self.new.correct_bits

    @property
    def unit(self) -> str:
        """The word for what is the same where the two are identical."""
        return "prediction" if self.new.predictions_digest else "right and wrong answer"

    @property
    def answers(self) -> tuple[str, str]:
        """A key of the compared answers; the dense model's are the same pair in every case that starts from it."""
        return (
            self.baseline.predictions_digest + self.baseline.correct_bits,
            self.new.predictions_digest + self.new.correct_bits,
        )


def same_weights(case: str, baseline: RunRecord, record: RunRecord) -> Iterator[Pair]:
    """The dense and the pruned model, for records that started from the same dense weights."""
    for check, before, after in (
        ("accuracy of the dense model", baseline.dense_accuracy, record.dense_accuracy),
        ("accuracy of the pruned model", baseline.pruned_accuracy, record.pruned_accuracy),
    ):
        yield Pair(case=case, run=record.run, check=check, baseline=before, new=after, trained=False)


def trained(case: str, baseline: RunRecord, record: RunRecord) -> Iterator[Pair]:
    """The models that fine-tuning kept; none where one side was not fine-tuned."""
    if baseline.finetuning is None or record.finetuning is None:
        return
    for kept, before, after in (
        ("best", baseline.finetuning.best, record.finetuning.best),
        ("last", baseline.finetuning.last, record.finetuning.last),
    ):
        yield Pair(
            case=case,
            run=record.run,
            check=f"accuracy after fine-tuning, {kept} epoch",
            baseline=before,
            new=after,
            trained=True,
            density=sum(record.nonzeros.values()) / record.elements,
        )


def judge_pairs(pairs: Sequence[Pair], *, thresholds: Thresholds) -> Iterator[Verdict]:
    """One verdict a pair; the tests are one family, in which answers that several cases share count once.

    Raises:
        RecordError: correctness bits that cannot be read.
    """
    counts = {pair.answers: paired_counts(pair.baseline, pair.new) for pair in pairs}
    worse = dict(zip(counts, holm([mcnemar(each) for each in counts.values()]), strict=True))
    better = dict(zip(counts, holm([mcnemar(each.mirrored) for each in counts.values()]), strict=True))
    for pair in pairs:
        key = pair.answers
        yield _judge(pair, counts[key], worse[key], better[key], tests=len(counts), thresholds=thresholds)


def _judge(
    pair: Pair, counts: PairedCounts, p_worse: float, p_better: float, *, tests: int, thresholds: Thresholds
) -> Verdict:
    alpha = thresholds.alpha
    fail_margin = _fail_margin(pair, thresholds)
    status = judge_paired(counts, p_worse=p_worse, p_better=p_better, fail_margin=fail_margin, thresholds=thresholds)
    status = Status.PASS if pair.identical else status
    lower, upper = drop_interval(counts, alpha=alpha)
    effect = _smallest_effect(pair, counts, tests, thresholds)
    evidence: dict[str, Figure] = {
        "images": counts.n,
        "b_only_baseline_right": counts.b,
        "c_only_new_right": counts.c,
        "baseline_percent": pair.baseline.percent,
        "new_percent": pair.new.percent,
        "drop_points": counts.drop,
        "drop_lower_points": lower,
        "drop_upper_points": upper,
        "p_mcnemar": mcnemar(counts),
        "p_holm": p_worse,
        "tests": tests,
        "discordance_percent": 100 * counts.discordance,
        "smallest_effect_points": effect,
        "identical_predictions": int(pair.identical),
        "alpha": alpha,
        "margin_points": fail_margin,
    }
    return Verdict(
        case=pair.case,
        run=pair.run,
        check=pair.check,
        tier=Tier.ACCURACY,
        status=status,
        expected=f"{pair.baseline.percent:.2f} %",
        measured=_answers(pair, counts, p_worse),
        shortfall=counts.drop / fail_margin - 1,
        rule=_paired_rule(pair, status, upper, tests, thresholds),
        hint=pair.hint,
        evidence=evidence,
        smallest_effect=_points(effect, thresholds.power),
        advisory=pair.trained and status is Status.INCONCLUSIVE,
    )


def _fail_margin(pair: Pair, thresholds: Thresholds) -> float:
    """The drop in points that has to be observed for a FAIL."""
    return thresholds.margin + (thresholds.seed_spread_at(pair.density) if pair.trained else 0.0)


def _smallest_effect(pair: Pair, counts: PairedCounts, tests: int, thresholds: Thresholds) -> float | None:
    """Smallest effect in points at Holm's strictest step. After training, the seed's scatter adds to the images'."""
    margin, power = _fail_margin(pair, thresholds), thresholds.power
    effect = minimum_detectable_effect(
        images=counts.n, discordance=counts.discordance, alpha=thresholds.alpha / tests, margin=margin, power=power
    )
    if effect is None or not pair.trained:
        return effect
    seed = norm.ppf(power) * thresholds.seed_spread_at(pair.density) / SEED_DEVIATIONS
    return margin + math.hypot(effect - margin, seed)


def _answers(pair: Pair, counts: PairedCounts, p_worse: float) -> str:
    if pair.identical:
        return f"{pair.new.percent:.2f} %, every {pair.unit} the same"
    changed = f"{counts.b} of {counts.n:,} answers lost, {counts.c} gained"
    return f"{pair.new.percent:.2f} % ({-counts.drop:+.2f} points: {changed}, p = {p_worse:.2g})"


def _paired_rule(pair: Pair, status: Status, upper: float, tests: int, thresholds: Thresholds) -> str:
    level, margin = f"{100 * (1 - thresholds.alpha):g} %", f"{thresholds.margin:g}"
    if pair.identical:
        return f"equal {pair.unit}s pass at once"
    if status is Status.PASS:
        return f"{level} upper limit of the drop {upper:.2f}, under the margin of {margin} points"
    limit = f"a drop of {_fail_margin(pair, thresholds):.3g} points"
    if pair.trained:
        spread = f"{thresholds.seed_spread_at(pair.density):.3g}"
        limit += f" ({margin}, and {spread} for the seed at this density: one seed compares two models)"
    return f"fails at {limit} with p < {thresholds.alpha:g} over {tests} tests; {level} upper limit {upper:.2f}"


def _points(effect: float | None, power: float) -> str:
    if effect is None:
        return "none: too few images"
    return f"{math.ceil(100 * effect) / 100:.2f} points with {100 * power:g} % power"
