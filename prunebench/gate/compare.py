"""Records against baselines: for each case every tier that applies, and one family of accuracy tests over all cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from prunebench.gate.accuracy import Pair, judge_pairs, same_weights, trained
from prunebench.gate.comparability import (
    MACHINE,
    case_differences,
    dense_differences,
    environment_differences,
    same_recipe_elsewhere,
    training_differences,
)
from prunebench.gate.curves import compare_scans
from prunebench.gate.deployment import compare_deployed
from prunebench.gate.exact import changed_nonzeros, compare_exact, compare_packed, compare_repetition
from prunebench.gate.floors import check_floors
from prunebench.gate.signature import compare_signatures
from prunebench.gate.thresholds import DEFAULTS, Thresholds
from prunebench.gate.timing import compare_timings
from prunebench.gate.tolerance import Cases, compare_seeds, seed_groups
from prunebench.gate.verdicts import Status, Tier, Verdict, different, stated
from prunebench.records import Record, RunRecord, case_id
from prunebench.sensitivity import Scan


def compare_records(
    baselines: Mapping[str, Record], records: Mapping[str, Record], *, thresholds: Thresholds = DEFAULTS
) -> list[Verdict]:
    """Every verdict on `records`, by case id; a case in one mapping only gets a verdict that is no pass.

    All accuracy tests on runs of one call are one family (Holm), so what belongs together should be compared together.
    Those on scans are another, of which each scan gets its share (Bonferroni).
    """
    verdicts = [_without_baseline(case, records[case]) for case in sorted(records.keys() - baselines.keys())]
    verdicts += [_vanished(case, baselines[case]) for case in sorted(baselines.keys() - records.keys())]
    cases: dict[str, tuple[RunRecord, RunRecord]] = {}
    scans: dict[str, tuple[Scan, Scan]] = {}
    for case in sorted(baselines.keys() & records.keys()):
        baseline, record = baselines[case], records[case]
        if isinstance(baseline, Scan) and isinstance(record, Scan):
            scans[case] = baseline, record
        elif isinstance(baseline, Scan) or isinstance(record, Scan):
            verdicts.append(different(case, run_of(record), "same experiment", ["one of them is a scan"]))
        elif obstacles := list(_obstacles(case, baseline, record)):
            verdicts += obstacles
        else:
            cases[case] = baseline, record
    shared = replace(thresholds, alpha=thresholds.alpha / max(1, len(scans)))
    for case, (before, after) in scans.items():
        verdicts += compare_scans(case, before, after, shared)
    for case, (baseline, record) in cases.items():
        verdicts += compare_exact(case, baseline, record)
        verdicts += compare_packed(case, baseline, record)
        verdicts += compare_deployed(case, baseline, record, times=thresholds.times)
        verdicts += compare_repetition(case, baseline, record)
        verdicts += compare_signatures(case, baseline, record)
        verdicts += compare_timings(case, baseline, record, thresholds=thresholds) if thresholds.times else []
    return verdicts + _compare_accuracies(cases, thresholds)


def _compare_accuracies(cases: Cases, thresholds: Thresholds) -> list[Verdict]:
    """Pairs of models, and groups of seeds where there are several; every case gets a verdict."""
    groups = seed_groups(cases)
    shared = replace(thresholds, alpha=thresholds.alpha / max(1, len(groups)))  # Bonferroni over the groups
    verdicts = [verdict for group in groups for verdict in compare_seeds(group, thresholds=shared)]
    in_groups = {case for group in groups for case in group}
    pairs: list[Pair] = []
    for case, (baseline, record) in cases.items():
        if other_weights := list(_other_dense_weights(case, baseline, record)):
            verdicts += other_weights
            continue
        pairs += same_weights(case, baseline, record)
        if other_training := list(_other_training(case, baseline, record)):
            verdicts += other_training
        else:
            pairs += trained(case, baseline, record)
    for pair, verdict in zip(pairs, judge_pairs(pairs, thresholds=thresholds), strict=True):
        # The verdict over seeds speaks for each of them, but for one that collapsed: that widens the spread which the
        # mean is judged by, until nothing would fail.
        if not (pair.trained and pair.case in in_groups) or verdict.status is Status.FAIL:
            verdicts.append(verdict)
    return verdicts


def _obstacles(case: str, baseline: RunRecord, record: RunRecord) -> Iterator[Verdict]:
    """Differences that keep a whole case from being compared."""
    if differences := case_differences(baseline, record):
        yield different(case, record.run, "same experiment", differences)
        if baseline.run_digest != record.run_digest and baseline.model == record.model:
            yield from changed_nonzeros(case, baseline, record)


def _other_dense_weights(case: str, baseline: RunRecord, record: RunRecord) -> Iterator[Verdict]:
    """Advisory where the weights are explained by another machine, and a floor finds the accuracy good."""
    if not (differences := dense_differences(baseline, record)):
        return
    advisory = False
    if same_recipe_elsewhere(baseline, record):
        floors = _floors(record)
        missed = [
            f"{floor.check}: {floor.measured}, {floor.expected} by its floor"
            for floor in floors
            if floor.status is Status.FAIL
        ]
        advisory = bool(floors) and not missed
        judged_by = "only a floor judges the accuracy, of the best epoch" if floors else "no floor judges the accuracy"
        differences += ["one recipe", *environment_differences(baseline, record, MACHINE), *(missed or [judged_by])]
    yield different(
        case, record.run, "accuracy, same dense weights", differences, tier=Tier.ACCURACY, advisory=advisory
    )


def _floors(record: RunRecord) -> list[Verdict]:
    """On the accuracy after fine-tuning."""
    return list(check_floors(record, ("accuracy_best", "change")))


def _other_training(case: str, baseline: RunRecord, record: RunRecord) -> Iterator[Verdict]:
    if differences := training_differences(baseline, record):
        yield different(case, record.run, "accuracy after fine-tuning", differences, tier=Tier.ACCURACY)


def run_of(record: Record) -> str:
    """The run that verdicts name: of a scan, its case without the folder."""
    return case_id(record).partition("/")[2] if isinstance(record, Scan) else record.run


def _without_baseline(case: str, record: Record) -> Verdict:
    return stated(
        case, run_of(record), "baseline", Status.NO_BASELINE, "an approved baseline", "none",
        rule="a new case has to be approved once",
    )  # fmt: skip


def _vanished(case: str, baseline: Record) -> Verdict:
    return stated(
        case, run_of(baseline), "vanished case", Status.INCOMPARABLE, "a record", "none",
        rule="a baseline without a record: nothing was measured",
    )  # fmt: skip
