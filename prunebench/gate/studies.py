"""Results of a study: means over seeds with their intervals, and comparisons with a reference method.

Sources:
    Blalock, Gonzalez Ortiz, Frankle, Guttag, What is the State of Neural Network Pruning?, MLSys (2020): several
        totals, seeds with their spread, accuracy against both compression and theoretical speed-up.
    Wang, Qin, Bai, Fu, Why is the State of Neural Network Pruning so Confusing?, arXiv 2301.05219 (2023): unequal
        fine-tuning explains many differences between methods.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from prunebench.experiments.rows import RunRow
from prunebench.experiments.study import PlannedRun, Study
from prunebench.gate.paired import (
    PairedCounts,
    RightWrong,
    correctness,
    holm,
    paired_counts,
    two_sided_mcnemar,
)
from prunebench.gate.tolerance import SeedAccuracies, seed_p_value
from prunebench.records import FailedRun


@dataclass(frozen=True, kw_only=True)
class Result:
    """The runs of a study that differ in their seed alone.

    Attributes:
        planned: one of the runs.
        label: the method, but for its total.
        rows: by seed; at least one.
    """

    planned: PlannedRun
    label: str
    rows: Mapping[int, RunRow]

    @property
    def accuracies(self) -> list[float]:
        """Percent of the model that is kept, by seed."""
        return [row.accuracy for row in self.rows.values()]

    @property
    def accuracy(self) -> float:
        """The mean, in percent."""
        return fmean(self.accuracies)

    @property
    def seconds(self) -> list[float]:
        """Seconds of pruning and training, by seed."""
        return [row.seconds_pruning + row.seconds_training for row in self.rows.values()]

    @property
    def compression(self) -> float:
        """The dense model's nominal size over that of the pruned one."""
        return fmean(row.compression for row in self.rows.values())

    @property
    def speed_up(self) -> float:
        """MACs of the dense model over those that perfect sparse kernels would do."""
        return fmean(row.speed_up for row in self.rows.values())

    @property
    def dense_accuracy(self) -> float:
        """Percent of the dense model."""
        return next(iter(self.rows.values())).accuracy_dense

    @property
    def trained_images(self) -> int:
        """Training images of fine-tuning, epochs times images; 0 without."""
        return max(row.trained_images for row in self.rows.values())


def half_width(values: Sequence[float], alpha: float) -> float | None:
    """Half the width of Student's interval of the mean at level 1 - `alpha`; None of fewer than two values."""
    count = len(values)
    return float(t.isf(alpha / 2, count - 1)) * stdev(values) / math.sqrt(count) if count > 1 else None


@dataclass(frozen=True, kw_only=True)
class SeedPair:
    """Two models of one seed on the same images; `p` is two-sided, and adjusted over all pairs of the study."""

    seed: int
    gained: int
    lost: int
    p: float


@dataclass(frozen=True, kw_only=True)
class MethodComparison:
    """A method and the reference, at the same total, recipe and workload.

    Attributes:
        difference: points by which the method's mean is higher.
        pairs: of the seeds that both have.
        p: over seeds, two-sided, adjusted by Holm over all comparisons; None with fewer than two seeds on a side.
        alpha: under which a `p` counts.
    """

    result: Result
    reference: Result
    difference: float
    pairs: Sequence[SeedPair]
    p: float | None
    alpha: float

    @property
    def effort(self) -> float:
        """Images of the method's fine-tuning over those of the reference's; infinite where that has none."""
        mine, other = self.result.trained_images, self.reference.trained_images
        return 1.0 if mine == other else mine / other if other else math.inf

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not told apart`: over seeds, or of one seed between its two models."""
        p = self.p if self.p is not None else max((pair.p for pair in self.pairs), default=1.0)
        if p >= self.alpha or self.difference == 0:
            return "not told apart"
        return "better" if self.difference > 0 else "worse"


def study_results(study: Study, kept: Mapping[str, RunRow | FailedRun]) -> list[Result]:
    """The results of a study, in the order of its runs; of those that have a record and did not fail."""
    groups: dict[str, list[PlannedRun]] = {}
    for planned in study.runs:
        if isinstance(kept.get(planned.id), RunRow):
            groups.setdefault(planned.group, []).append(planned)
    return [
        Result(
            planned=runs[0],
            label=study.label(runs[0]),
            rows={one.seed: row for one in runs if isinstance(row := kept[one.id], RunRow)},
        )
        for runs in groups.values()
    ]


def unbeaten(results: Sequence[Result], *, objective: str) -> list[Result]:
    """Results that a search ends with: the most accurate; or by accuracy and size, those of the Pareto set."""
    found: list[Result] = []
    for each in sorted(results, key=lambda result: (-result.accuracy, -result.compression)):
        if not found or (objective != "accuracy" and each.compression > found[-1].compression):
            found.append(each)
    return found


def compare_methods(
    results: Sequence[Result], reference: Mapping[str, object], *, alpha: float
) -> list[MethodComparison]:
    """Each result against the one that differs from it in the parts of `reference` alone, which has those.

    Over seeds by Student's t test; within each seed by the exact McNemar test of both models on the same images. Both
    are adjusted by Holm, each over all of its tests.

    Raises:
        RecordError: answers to another number of images.
    """
    by_method = {_method(each.planned, each.planned.parts): each for each in results}
    found = [(result, other) for result in results if (other := _reference(result, by_method, reference)) is not None]
    over_seeds = [_over_seeds(result, other) for result, other in found]
    adjusted = iter(holm([p for p in over_seeds if p is not None]))
    pairs = [list(_pairs(result, other)) for result, other in found]
    counts = np.array([(pair.b, pair.c) for each in pairs for _, pair in each], dtype=int).reshape(-1, 2)
    within = iter(holm(two_sided_mcnemar(*counts.T).tolist()))
    return [
        MethodComparison(
            result=result,
            reference=other,
            difference=result.accuracy - other.accuracy,
            pairs=[SeedPair(seed=seed, gained=pair.c, lost=pair.b, p=next(within)) for seed, pair in each],
            p=next(adjusted) if p is not None else None,
            alpha=alpha,
        )
        for (result, other), p, each in zip(found, over_seeds, pairs, strict=True)
    ]


def _method(planned: PlannedRun, parts: Mapping[str, object]) -> tuple[object, ...]:
    """The same for results that differ in nothing a study names."""
    return planned.workload, planned.recipe, *sorted(parts.items())


def _reference(
    result: Result, by_method: Mapping[tuple[object, ...], Result], reference: Mapping[str, object]
) -> Result | None:
    """The result to compare with; None where there is none, or it is this one."""
    mine = result.planned
    if not reference or reference.items() <= mine.parts.items():
        return None
    return by_method.get(_method(mine, {**mine.parts, **reference}))


def _over_seeds(result: Result, other: Result) -> float | None:
    seeds = SeedAccuracies(before=other.accuracies, after=result.accuracies)
    return seed_p_value(seeds, images=next(iter(result.rows.values())).test_answers)


def _pairs(result: Result, other: Result) -> Iterator[tuple[int, PairedCounts]]:
    """Seeds that both have, with the counts of their two models."""
    for seed in sorted(result.rows.keys() & other.rows.keys()):
        yield seed, paired_counts(_answers(other.rows[seed]), _answers(result.rows[seed]))


def _answers(row: RunRow) -> RightWrong:
    return RightWrong(correct=row.correct, images=row.test_answers, correct_bits=row.correct_bits)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Ranks of a method among `methods` with all else equal, one for each seed that all of them have; 1 is the best."""

    result: Result
    ranks: Sequence[float]
    methods: int


def rank_methods(results: Sequence[Result], *, alpha: float) -> list[Ranking]:
    """Ranks within each seed, among methods of one workload, recipe, total and amount of fine-tuning.

    One is above another only where the exact McNemar test of their two models tells them apart, at `alpha` by Holm over
    all pairs of the seed. A rank is 1, and 1 more for each method above, and a half for each not told apart.
    """
    groups: dict[tuple[object, ...], list[Result]] = {}
    for each in results:
        parts = each.planned.parts
        if parts["total"] is not None:
            key = each.planned.workload, each.planned.recipe, each.trained_images, parts["total"], parts["total_of"]
            groups.setdefault(key, []).append(each)
    found = []
    for members in groups.values():
        seeds = sorted(set[int].intersection(*(set(each.rows) for each in members)))
        if len(members) < 2 or not seeds:
            continue
        wins = _wins(members, seeds, alpha)
        ranks = (len(members) + 1 + wins.sum(axis=1) - wins.sum(axis=2)) / 2
        for result, by_seed in zip(members, ranks.T.tolist(), strict=True):
            found.append(Ranking(result=result, ranks=by_seed, methods=len(members)))
    return found


def _wins(members: Sequence[Result], seeds: Sequence[int], alpha: float) -> NDArray[np.bool_]:
    """Bool (seeds, methods, methods): the first method's model is told apart from the second's, and better."""
    answers = [[correctness(_answers(each.rows[seed])) for each in members] for seed in seeds]
    right = np.array(answers, dtype=np.float32)  # counts are exact in it
    only = right @ (1 - right).transpose(0, 2, 1)  # images that the first alone got right
    first, second = np.triu_indices(len(members), k=1)
    apart = np.zeros_like(only, dtype=bool)
    p_values = two_sided_mcnemar(only[:, first, second], only[:, second, first])
    apart[:, first, second] = np.array([holm(each) for each in p_values.tolist()]) < alpha
    wins: NDArray[np.bool_] = (apart | apart.transpose(0, 2, 1)) & (only > only.transpose(0, 2, 1))
    return wins
