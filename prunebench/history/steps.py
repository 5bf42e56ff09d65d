"""Curves of a history, and their steps: where a figure is no longer that of the segment's first entry, by the gate.

The reference stays the first entry of a segment, so that a slow drift is seen once it adds up to a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from types import MappingProxyType

from prunebench.documented.floors import Figure as FloorFigure
from prunebench.errors import UnknownNameError
from prunebench.gate import Status, Thresholds, Tier, Verdict, compare_records
from prunebench.history.collect import Entry, History
from prunebench.records import RunRecord

Judge = Callable[[str, Entry, Entry], Sequence[Verdict]]


@dataclass(frozen=True)
class Figure:
    """A figure of a record that a history follows: the gate's check on it, its unit, and which way is better."""

    check: str
    unit: str
    bigger_is_better: bool
    tier: Tier = Tier.ACCURACY
    of_floor: FloorFigure | None = None
    of_timings: str = ""

    def value(self, record: RunRecord) -> float | None:
        """The figure of a record; the median of its samples for a time; None where there is none."""
        if self.of_floor is not None:
            return record.figure(self.of_floor)
        samples = getattr(record.timings, self.of_timings)
        return median(samples) if samples else None


def _time(check: str, samples: str) -> Figure:
    return Figure(f"seconds, {check}", "s", bigger_is_better=False, tier=Tier.TIME, of_timings=samples)


_BEST = "accuracy after fine-tuning, best epoch"
FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "size_percent": Figure("nominal size", "%", False, Tier.EXACT, "size_percent"),
        "size_mib": Figure("nominal size", "MiB", False, Tier.EXACT, "size_mib"),
        "accuracy_dense": Figure("accuracy of the dense model", "%", True, of_floor="accuracy_dense"),
        "accuracy_before": Figure("accuracy of the pruned model", "%", True, of_floor="accuracy_before"),
        "accuracy_best": Figure(_BEST, "%", True, of_floor="accuracy_best"),
        "change": Figure(_BEST, "points", True, of_floor="change"),
        "seconds_pruning": _time("pruning", "prune"),
        "seconds_evaluation": _time("evaluation", "evaluate"),
        "seconds_epochs": _time("epochs", "epochs"),
    }
)
DEFAULT_FIGURES = ("size_percent", "accuracy_dense", "accuracy_before", "accuracy_best")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point at which a segment of a curve begins.

    Attributes:
        index, reference: of the curve's points: this one, and the first of the segment before.
        status: FAIL or IMPROVED for a step, INCOMPARABLE where another series begins.
        change: the value here less that of the reference, in the figure's unit.
        why: the gate's words on it.
    """

    index: int
    reference: int
    status: Status
    change: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One figure of one case over the entries that have it, oldest first, and where its segments begin."""

    case: str
    figure: str
    entries: Sequence[Entry]
    values: Sequence[float]
    marks: Sequence[Mark]

    @property
    def steps(self) -> list[Mark]:
        """The marks that are steps, and not other series."""
        return [mark for mark in self.marks if mark.status is not Status.INCOMPARABLE]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """All curves of a history; each of `comparisons` was judged at `level`, one-sided, either way."""

    curves: Sequence[Curve]
    alpha: float
    comparisons: int
    level: float


def find_curves(history: History, figures: Sequence[str] = DEFAULT_FIGURES, *, thresholds: Thresholds) -> Curves:
    """A curve of each figure for each case that has it.

    `thresholds.alpha` is the chance of any false step, over all curves together. It is shared equally over the
    comparisons, one for each later point of a curve, and over both directions (Bonferroni). Times are judged by the
    gate's own rule, which has no such chance.

    Raises:
        UnknownNameError: a figure that there is not.
    """
    found: list[tuple[str, str, list[Entry], list[float]]] = []
    for name in figures:
        if name not in FIGURES:
            raise UnknownNameError("figure", name, FIGURES)
    for case, entries in history.cases.items():
        for name in dict.fromkeys(figures):
            values = [(entry, value) for entry in entries if (value := FIGURES[name].value(entry.record)) is not None]
            if values:
                found.append((case, name, [entry for entry, _ in values], [value for _, value in values]))
    comparisons = sum(len(values) - 1 for _, name, _, values in found if FIGURES[name].tier is not Tier.TIME)
    level = thresholds.alpha / max(1, 2 * comparisons)
    judge = _remembered(replace(thresholds, alpha=level))
    curves = [
        Curve(case=case, figure=name, entries=entries, values=values, marks=list(_marks(case, name, entries, judge)))
        for case, name, entries, values in found
    ]
    return Curves(curves=curves, alpha=thresholds.alpha, comparisons=comparisons, level=level)


def _remembered(thresholds: Thresholds) -> Judge:
    """The gate, asked once for two entries that several figures compare."""
    known: dict[tuple[int, int], Sequence[Verdict]] = {}

    def judge(case: str, before: Entry, after: Entry) -> Sequence[Verdict]:
        key = id(before), id(after)
        if key not in known:
            known[key] = compare_records({case: before.record}, {case: after.record}, thresholds=thresholds)
        return known[key]

    return judge


def _marks(case: str, name: str, entries: Sequence[Entry], judge: Judge) -> Iterator[Mark]:
    figure, start = FIGURES[name], 0
    for index in range(1, len(entries)):
        status, why = _outcome(judge(case, entries[start], entries[index]), figure)
        if status in {Status.FAIL, Status.IMPROVED, Status.INCOMPARABLE}:
            before, after = (figure.value(entries[which].record) or 0.0 for which in (start, index))
            yield Mark(index=index, reference=start, status=status, change=after - before, why=why)
            start = index


def _outcome(verdicts: Sequence[Verdict], figure: Figure) -> tuple[Status, str]:
    """The gate's word on a figure; where it does not speak of it, why it could not."""
    for verdict in verdicts:
        if verdict.check == figure.check:
            return verdict.status, verdict.rule if verdict.status is Status.INCOMPARABLE else verdict.measured
    tiers = {Tier.EXACT, figure.tier}
    obstacles = [each for each in verdicts if each.status is Status.INCOMPARABLE and each.tier in tiers]
    return (Status.INCOMPARABLE, obstacles[0].measured) if obstacles else (Status.PASS, "")
