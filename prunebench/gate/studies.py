"""Results of a study: means over seeds with their intervals, and comparisons with a reference method.

Sources:
    Blalock, Gonzalez Ortiz, Frankle, Guttag, What is the State of Neural Network Pruning?, MLSys (2020): several
        totals, seeds with their spread, accuracy against both compression and theoretical speed-up.
    Wang, Qin, Bai, Fu, Why is the State of Neural Network Pruning so Confusing?, arXiv 2301.05219 (2023): unequal
        fine-tuning explains many differences between methods.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t

from prunebench.experiments.study import PlannedRun, Study
from prunebench.gate.paired import holm, mcnemar, paired_counts
from prunebench.gate.tolerance import SeedAccuracies, seed_p_value
from prunebench.records import FailedRun, RunRecord


@dataclass(frozen=True, kw_only=True)
class Result:
    """The records of a study that differ in their seed alone.

    Attributes:
        planned: one of the runs.
        label: the method, but for its total.
        records: by seed; at least one.
    """

    planned: PlannedRun
    label: str
    records: Mapping[int, RunRecord]

    @property
    def accuracies(self) -> list[float]:
        """Percent of the model that is kept, by seed."""
        return [record.kept_accuracy.percent for record in self.records.values()]

    @property
    def accuracy(self) -> float:
        """The mean, in percent."""
        return fmean(self.accuracies)

    def half_width(self, alpha: float) -> float | None:
        """Half the width in points of Student's interval of the mean at level 1 - `alpha`; None of one seed."""
        count = len(self.records)
        if count < 2:
            return None
        return float(t.isf(alpha / 2, count - 1)) * stdev(self.accuracies) / math.sqrt(count)

    @property
    def compression(self) -> float:
        """The dense model's nominal size over that of the pruned one."""
        return fmean(record.dense_size_bits / max(record.pruned_size_bits, 1) for record in self.records.values())

    @property
    def speed_up(self) -> float:
        """MACs of the dense model over those that perfect sparse kernels would do."""
        return fmean(map(theoretical_speed_up, self.records.values()))

    @property
    def dense_accuracy(self) -> float:
        """Percent of the dense model."""
        return next(iter(self.records.values())).dense_accuracy.percent

    @property
    def trained_images(self) -> int:
        """Training images of fine-tuning, epochs times images; 0 without."""
        return max(record.finetuning.signature.images if record.finetuning else 0 for record in self.records.values())


def theoretical_speed_up(record: RunRecord) -> float:
    """MACs of the dense model over each layer's MACs times its density."""
    left = sum(layer.macs * layer.nonzeros / layer.numel for layer in record.layers)
    return sum(layer.macs for layer in record.layers) / max(left, 1.0)


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


def study_results(study: Study, kept: Mapping[str, RunRecord | FailedRun]) -> list[Result]:
    """The results of a study, in the order of its runs; of those that have a record and did not fail."""
    groups: dict[str, list[PlannedRun]] = {}
    for planned in study.runs:
        if isinstance(kept.get(planned.id), RunRecord):
            groups.setdefault(planned.group, []).append(planned)
    return [
        Result(
            planned=runs[0],
            label=study.label(runs[0]),
            records={one.seed: record for one in runs if isinstance(record := kept[one.id], RunRecord)},
        )
        for runs in groups.values()
    ]


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
    pairs = [_pairs(result, other) for result, other in found]
    within = iter(holm([pair.p for each in pairs for pair in each]))
    return [
        MethodComparison(
            result=result,
            reference=other,
            difference=result.accuracy - other.accuracy,
            pairs=[SeedPair(seed=pair.seed, gained=pair.gained, lost=pair.lost, p=next(within)) for pair in each],
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
    return seed_p_value(seeds, images=next(iter(result.records.values())).kept_accuracy.images)


def _pairs(result: Result, other: Result) -> list[SeedPair]:
    found = []
    for seed in result.records.keys() & other.records.keys():
        counts = paired_counts(other.records[seed].kept_accuracy, result.records[seed].kept_accuracy)
        p = min(1.0, 2 * min(mcnemar(counts), mcnemar(counts.mirrored)))
        found.append(SeedPair(seed=seed, gained=counts.c, lost=counts.b, p=p))
    return sorted(found, key=lambda pair: pair.seed)
