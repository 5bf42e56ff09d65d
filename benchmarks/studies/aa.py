"""False alarms of the gate: nothing got worse, how often does it fail? At the default thresholds.

    python benchmarks/studies/aa.py

What is compared with what, in the order of the table:

1.  Real models, the same weights, answers computed in another arithmetic: bfloat16 in place of float32.
2.  The same, logits disturbed at the rounding level of float16 in place of another device's summation order.
3.  The same, in batches of another size and with another number of threads.
4.  Real models of two seeds of one procedure, as the gate compares a fine-tuned model with its baseline (one seed).
5.  Groups of three seeds of one procedure against three others (tolerance over seeds, and each seed by itself).
6.  Simulated answers of two models of equal accuracy, for several discordances, on 10,000 and on 600 images; p values
    adjusted within families of ten cases, each family one comparison that fails if any of its cases does. `computed`
    is the same rate without simulation, for ten independent cases. And accuracies of three seeds, normal, s = 0.2.
7.  Masks of equal weights, chosen again with another memory format and number of threads (exact tier).
8.  Seconds of one computation, five samples a side, taken in turn (time tier, without the absolute minimum).

No model and no group is used twice, and every interval is the exact one of Clopper and Pearson (95 %).
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import binomtest
from tabulate import tabulate
from tiny_models import TinyModels, accuracy, noisy_digits, train_tiny
from torch import Tensor

from prunebench.gate import Status, Thresholds, Verdict
from prunebench.gate.accuracy import Pair, judge_pairs
from prunebench.gate.paired import PairedCounts, fail_probability, holm, judge_paired, mcnemar
from prunebench.gate.timing import Samples, judge_times
from prunebench.gate.tolerance import SeedAccuracies, judge_seeds
from prunebench.pruning import keep_mask
from prunebench.records import Accuracy

DEFAULTS = Thresholds()
FAMILY = 10


@dataclass(frozen=True, kw_only=True)
class Row:
    """Verdicts of comparisons in which nothing got worse."""

    what: str
    statuses: Sequence[Status]
    discordance: float | None = None
    computed: float | None = None

    @property
    def cells(self) -> list[str]:
        """One line of the table."""
        counts, n = Counter(self.statuses), len(self.statuses)
        rate = binomtest(counts[Status.FAIL], n).proportion_ci(0.95)
        return [
            self.what,
            "" if self.discordance is None else f"{100 * self.discordance:.2f}",
            str(n),
            str(counts[Status.FAIL]),
            f"{100 * counts[Status.FAIL] / n:.2f}",
            f"{100 * rate.low:.2f} to {100 * rate.high:.2f}",
            "" if self.computed is None else f"{100 * self.computed:.2f}",
            *(f"{counts[status]}" for status in (Status.PASS, Status.INCONCLUSIVE, Status.IMPROVED)),
        ]


def main() -> None:
    """Run every part and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=200, help="real models to train")
    parser.add_argument("--simulations", type=int, default=300, help="families of ten for each discordance")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    images, labels = noisy_digits()
    models = train_tiny(options.models, seed=options.seed)
    rows = [
        *same_weights(models, images, labels),
        *other_seeds(models, images, labels),
        *simulated(options.simulations, np.random.default_rng(options.seed)),
        masks(200),
        seconds(200),
    ]
    rows.append(Row(what="all", statuses=[status for row in rows for status in row.statuses]))
    print(f"{versions()}; alpha {DEFAULTS.alpha}, margin {DEFAULTS.margin} points\n")
    headers = [
        "nothing got worse",
        "discordance %",
        "n",
        "FAIL",
        "%",
        "95 % interval",
        "computed %",
        "PASS",
        "INCONCL.",
        "IMPROVED",
    ]
    alignment = ["left", *["right"] * (len(headers) - 1)]
    print(tabulate([row.cells for row in rows], headers=headers, disable_numparse=True, colalign=alignment))


def versions() -> str:
    """Where the figures were made."""
    return f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def same_weights(models: TinyModels, images: Tensor, labels: Tensor) -> Iterator[Row]:
    """Answers of every model against its own, computed in another way."""
    baseline = [models.logits(images, index) for index in range(len(models))]
    generator = torch.Generator().manual_seed(0)
    rounded = [models.logits(images.bfloat16(), index) for index in range(len(models))]
    noise = [each * (1 + 2**-11 * torch.randn(each.shape, generator=generator)) for each in baseline]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batched = [_in_batches(models, images, index) for index in range(len(models))]
    torch.set_num_threads(threads)
    for what, others in (("bfloat16", rounded), ("float16 rounding", noise), ("batches, threads", batched)):
        yield _judged(f"same weights, {what}", baseline, others, labels, trained=False)


def _in_batches(models: TinyModels, images: Tensor, index: int) -> Tensor:
    return torch.cat([models.logits(batch, index) for batch in images.split(37)])


def other_seeds(models: TinyModels, images: Tensor, labels: Tensor) -> Iterator[Row]:
    """Two seeds against each other, and three against three."""
    logits = [models.logits(images, index) for index in range(len(models))]
    yield _judged("two seeds, one each", logits[0::2], logits[1::2], labels, trained=True)
    answers = [accuracy(each.argmax(dim=1), labels) for each in logits]
    groups = zip(*(iter(answers),) * 6, strict=False)
    yield Row(what="three seeds against three", statuses=[_of_models(group) for group in groups])


def _of_models(group: Sequence[Accuracy]) -> Status:
    """Over the seeds; and a FAIL where one seed fails by the rule for one."""
    pairs = [pair(before, after, trained=True) for before, after in zip(group[:3], group[3:], strict=True)]
    alone = [verdict.status for verdict in judge_pairs(pairs, thresholds=DEFAULTS)]
    return Status.FAIL if Status.FAIL in alone else _of_seeds([answers.percent for answers in group])


def _of_seeds(percent: Sequence[float]) -> Status:
    return judge_seeds(SeedAccuracies(before=percent[:3], after=percent[3:]), thresholds=DEFAULTS)


def _judged(what: str, before: list[Tensor], after: list[Tensor], labels: Tensor, *, trained: bool) -> Row:
    verdicts: list[Verdict] = []
    for old, new in zip(before, after, strict=True):
        answers = [accuracy(each.argmax(dim=1), labels) for each in (old, new)]
        verdicts += judge_pairs([pair(*answers, trained=trained)], thresholds=DEFAULTS)
    discordance = np.mean([float(verdict.evidence["discordance_percent"] or 0) / 100 for verdict in verdicts])
    return Row(what=what, statuses=[verdict.status for verdict in verdicts], discordance=float(discordance))


def pair(before: Accuracy, after: Accuracy, *, trained: bool = False) -> Pair:
    """What the gate compares."""
    return Pair(case="", run="", check="", baseline=before, new=after, trained=trained)


def simulated(families: int, generator: np.random.Generator) -> Iterator[Row]:
    """Families of ten comparisons of models that are equally good."""
    for images, discordance in (
        (10_000, 0.002),
        (10_000, 0.01),
        (10_000, 0.03),
        (10_000, 0.1),
        (600, 0.01),
        (600, 0.1),
    ):
        halves = [discordance / 2, discordance / 2, 1 - discordance]
        drawn = generator.multinomial(images, halves, size=(families, FAMILY))
        statuses = [_worst([PairedCounts(b=int(b), c=int(c), n=images) for b, c, _ in family]) for family in drawn]
        single = fail_probability(
            0, images=images, discordance=discordance, alpha=DEFAULTS.alpha / FAMILY, margin=DEFAULTS.margin
        )
        yield Row(
            what=f"simulated, ten cases of {images:,}",
            statuses=statuses,
            discordance=discordance,
            computed=1 - (1 - single) ** FAMILY,
        )
    normal = generator.normal(92, 0.2, size=(2000, 6))
    yield Row(what="simulated, three seeds against three", statuses=[_of_seeds(group) for group in normal.tolist()])


def _worst(family: Sequence[PairedCounts]) -> Status:
    worse = holm([mcnemar(counts) for counts in family])
    better = holm([mcnemar(counts.mirrored) for counts in family])
    statuses = [
        judge_paired(counts, p_worse=p, p_better=q, fail_margin=DEFAULTS.margin, thresholds=DEFAULTS)
        for counts, p, q in zip(family, worse, better, strict=True)
    ]
    order = (Status.FAIL, Status.IMPROVED, Status.INCONCLUSIVE, Status.PASS)
    return min(statuses, key=order.index)


def masks(comparisons: int) -> Row:
    """The exact tier on masks: the same weights, laid out in memory in another way."""
    statuses, threads, generator = [], torch.get_num_threads(), torch.Generator().manual_seed(0)
    for index in range(comparisons):
        weight = torch.randn(32, 16, 3, 3, generator=generator).round(decimals=1 + index % 3)  # with many ties
        count = int(torch.randint(weight.numel() + 1, (1,), generator=generator))
        before = keep_mask(weight.abs(), count)
        torch.set_num_threads(1 + index % 2)
        after = keep_mask(weight.contiguous(memory_format=torch.channels_last).abs(), count)
        statuses.append(Status.PASS if torch.equal(before, after) else Status.FAIL)
    torch.set_num_threads(threads)
    return Row(what="masks of equal weights", statuses=statuses)


def seconds(comparisons: int) -> Row:
    """The time tier on one computation of about a millisecond, both sides in turn."""
    matrix, thresholds = torch.randn(256, 256), replace(DEFAULTS, time_minimum_seconds=0.0)
    statuses = []
    for _ in range(comparisons):
        taken: tuple[list[float], list[float]] = ([], [])
        for index in range(10):
            start = time.perf_counter()
            for _ in range(5):
                matrix @ matrix
            taken[index % 2].append(time.perf_counter() - start)
        samples = Samples(before=taken[0], after=taken[1])
        statuses.append(judge_times("", "", "seconds", samples, thresholds=thresholds).status)
    return Row(what="seconds, in turn", statuses=statuses)


if __name__ == "__main__":
    main()
