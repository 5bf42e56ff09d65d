"""Whether the gate sees what it says it sees: accuracy lowered by known amounts, and how often that fails.

    python benchmarks/studies/power.py

First simulated answers: a share `discordance` of the images differs between the two models anyway, half either way, and
a true drop comes on top. `printed` is the smallest effect that a verdict states; `usual` is the formula without the
margin, (z + z) sqrt(discordance / n), for comparison. `computed` is the power at the printed effect by summing over all
outcomes, `FAIL` the rate over simulated comparisons, with the exact interval of Clopper and Pearson (95 %).

Then real ones: every model of `tiny_models.py` answers again in another arithmetic, or the model of another seed does,
and each right answer is made wrong with the one probability that makes the expected drop the printed effect, or a share
of it. The effect is the one that the verdict on the undisturbed pair printed. For seeds, `seed_spread` is set to what
these models have.

Last, three and five seeds against as many: accuracies drawn from a normal distribution, the new ones lower by the
effect that is printed for the true spread.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from tabulate import tabulate
from tiny_models import accuracy, noisy_digits, train_tiny
from torch import Tensor

from prunebench.gate import Status, Thresholds, Verdict
from prunebench.gate.accuracy import Pair, judge_pairs
from prunebench.gate.paired import (
    PairedCounts,
    approximate_effect,
    fail_probability,
    judge_paired,
    mcnemar,
    minimum_detectable_effect,
)
from prunebench.gate.thresholds import SEED_DEVIATIONS
from prunebench.gate.tolerance import SeedAccuracies, judge_seeds, seed_effect

DEFAULTS = Thresholds()
REPEATS = 3
"""How often each real pair is disturbed."""


def main() -> None:
    """Run every part and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=120, help="real models to train")
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    print(
        f"torch {torch.__version__}; alpha {DEFAULTS.alpha}, margin {DEFAULTS.margin} points, power {DEFAULTS.power}\n"
    )
    headers = ["images", "discordance %", "usual, points", "FAIL there %", "printed, points", "computed %", "FAIL %"]
    show([*headers, "95 % interval"], simulated(options.simulations, generator))
    headers = ["real models", "pairs", "printed, points", "lowered by", "FAIL %", "95 % interval"]
    show(headers, real(options.models, options.seed))
    show(["seeds a side", "printed, points", "FAIL %", "95 % interval"], seeds(options.simulations, generator))


def show(headers: Sequence[str], rows: Iterator[list[str]]) -> None:
    """Print a table."""
    print(tabulate(list(rows), headers=headers, disable_numparse=True, stralign="right"), end="\n\n")


def simulated(comparisons: int, generator: np.random.Generator) -> Iterator[list[str]]:
    """At the printed effect, by simulation and by summing; and at the usual formula's."""
    for images in (10_000, 600):
        for discordance in (0.0, 0.001, 0.01, 0.03, 0.1, 0.3):
            known: Any = {"images": images, "discordance": discordance, "alpha": DEFAULTS.alpha}
            usual = approximate_effect(**known, power=DEFAULTS.power)
            printed = _rounded_up(minimum_detectable_effect(**known, margin=DEFAULTS.margin, power=DEFAULTS.power))
            failed = _failures(images, discordance, printed, comparisons, generator)
            yield [
                f"{images:,}",
                f"{100 * discordance:.1f}",
                f"{usual:.2f}",
                f"{100 * fail_probability(usual, **known, margin=DEFAULTS.margin):.1f}",
                f"{printed:.2f}",
                f"{100 * fail_probability(printed, **known, margin=DEFAULTS.margin):.1f}",
                *_rate(failed, comparisons),
            ]


def _failures(images: int, discordance: float, drop: float, comparisons: int, generator: np.random.Generator) -> int:
    worse, better = discordance / 2 + drop / 100, discordance / 2
    drawn = generator.multinomial(images, [worse, better, 1 - worse - better], size=comparisons)
    counts = [PairedCounts(b=int(b), c=int(c), n=images) for b, c, _ in drawn]
    return sum(
        judge_paired(each, p_worse=mcnemar(each), p_better=1.0, fail_margin=DEFAULTS.margin, thresholds=DEFAULTS)
        is Status.FAIL
        for each in counts
    )


def real(count: int, seed: int) -> Iterator[list[str]]:
    """Answers of trained models, some made wrong."""
    images, labels = noisy_digits()
    models, generator = train_tiny(count, seed=seed), torch.Generator().manual_seed(seed)
    answers = [models.logits(images, index).argmax(dim=1) for index in range(count)]
    rounded = [models.logits(images.bfloat16(), index).argmax(dim=1) for index in range(count)]
    percent = [accuracy(each, labels).percent for each in answers]
    seeds_apart = replace(DEFAULTS, seed_spread=SEED_DEVIATIONS * 2**0.5 * float(np.std(percent, ddof=1)))
    for what, others, thresholds in (
        ("the same weights in bfloat16", rounded, DEFAULTS),
        (f"another seed (s = {np.std(percent, ddof=1):.2f} points)", [*answers[1:], answers[0]], seeds_apart),
    ):
        trained = thresholds is seeds_apart
        for share in (0.5, 1.0, 1.5):
            failed, effects = 0, []
            for before, after in zip(answers, others, strict=True):
                effect = _verdict(before, after, labels, thresholds, trained=trained).evidence["smallest_effect_points"]
                effects.append(_rounded_up(effect))
                for _ in range(REPEATS):
                    lowered = _lower(after, labels, share * effects[-1], generator)
                    verdict = _verdict(before, lowered, labels, thresholds, trained=trained)
                    failed += verdict.status is Status.FAIL
            found = _rate(failed, REPEATS * count)
            yield [what, str(count), f"{np.mean(effects):.2f}", f"{100 * share:.0f} % of it", *found]


def _verdict(before: Tensor, after: Tensor, labels: Tensor, thresholds: Thresholds, *, trained: bool) -> Verdict:
    old, new = accuracy(before, labels), accuracy(after, labels)
    pair = Pair(case="", run="", check="", baseline=old, new=new, trained=trained)
    return next(judge_pairs([pair], thresholds=thresholds))


def _rounded_up(effect: float | str | None) -> float:
    """As printed: the next hundredth of a point; every image where nothing could have been seen."""
    return math.ceil(100 * float(effect)) / 100 if effect is not None else 100.0


def _lower(predictions: Tensor, labels: Tensor, drop: float, generator: torch.Generator) -> Tensor:
    """Make right answers wrong, each with the probability by which accuracy is expected to fall by `drop` points."""
    right = predictions == labels
    chance = drop / 100 * len(labels) / int(right.sum())
    chosen = right & (torch.rand(len(labels), generator=generator) < chance)
    return torch.where(chosen, (predictions + 1) % 10, predictions)


def seeds(comparisons: int, generator: np.random.Generator) -> Iterator[list[str]]:
    """The tolerance over seeds, at the effect for the true spread."""
    spread = 0.2
    for k in (3, 5):
        known = np.resize([-1.0, 1.0], k)
        known = 92 + spread * (known - known.mean()) / known.std(ddof=1)
        effect = _rounded_up(
            seed_effect(SeedAccuracies(before=known.tolist(), after=known.tolist()), thresholds=DEFAULTS)
        )
        failed = 0
        for _ in range(comparisons):
            before, after = generator.normal(92, spread, k), generator.normal(92 - effect, spread, k)
            drawn = SeedAccuracies(before=before.tolist(), after=after.tolist())
            failed += judge_seeds(drawn, thresholds=DEFAULTS) is Status.FAIL
        yield [str(k), f"{effect:.2f}", *_rate(failed, comparisons)]


def _rate(failed: int, comparisons: int) -> list[str]:
    interval = binomtest(failed, comparisons).proportion_ci(0.95)
    return [f"{100 * failed / comparisons:.1f}", f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"]


if __name__ == "__main__":
    main()
