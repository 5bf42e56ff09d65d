"""The model that is kept as people deploy it: it answers as the masked one, got no larger, and is no slower."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from prunebench.gate.accuracy import Pair, judge_pairs
from prunebench.gate.comparability import MACHINE, environment_differences
from prunebench.gate.exact import exact_verdict
from prunebench.gate.thresholds import DEFAULTS, Thresholds
from prunebench.gate.verdicts import Figure, Status, Tier, Verdict, different, stated
from prunebench.records import Accuracy, LatencyRatio, RunRecord, case_id
from prunebench.tasks.comparison import LARGEST_DIFFERENCE

SAME_MODEL = "the same model"
"""Rules begin so where a promise is that nothing but the form of a model changed."""

SLOWER = 0.05
"""Share of a latency ratio that has to be lost, beside intervals that do not touch."""


def check_deployed(record: RunRecord, *, thresholds: Thresholds = DEFAULTS) -> Iterator[Verdict]:
    """Outputs and answers of the shrunk and the exported model, against the model that they were made of."""
    masked, shrunk, exported = record.kept_accuracy, record.shrunk, record.exported
    if shrunk is not None:
        yield from _same_model(record, "shrunk model", masked, shrunk.answers, shrunk.difference, thresholds)
    if exported is not None:
        before, name = shrunk.answers if shrunk else masked, f"model in {exported.runtime}"
        yield from _same_model(record, name, before, exported.answers, exported.difference, thresholds)


def _same_model(
    record: RunRecord, name: str, before: Accuracy, after: Accuracy, difference: float, thresholds: Thresholds
) -> Iterator[Verdict]:
    case = case_id(record)
    yield Verdict(
        case=case,
        run=record.run,
        check=f"largest difference of outputs of the {name}, of the largest output",
        status=Status.PASS if difference <= LARGEST_DIFFERENCE else Status.FAIL,
        expected=f"at most {LARGEST_DIFFERENCE:g}",
        measured=f"{difference:.2g}",
        shortfall=difference / LARGEST_DIFFERENCE - 1,
        rule=f"{SAME_MODEL}, but for the order of additions",
        evidence={"difference": difference, "most": LARGEST_DIFFERENCE},
        smallest_effect=f"{LARGEST_DIFFERENCE:g} of the largest output",
    )
    check = f"accuracy of the {name}, %"
    pair = Pair(case=case, run=record.run, check=check, baseline=before, new=after, trained=False, hint="")
    (judged,) = judge_pairs([pair], thresholds=thresholds)
    effect = {"smallest_effect_points"}  # is of comparisons with a baseline
    yield replace(
        judged,
        tier=Tier.FLOOR,
        expected=f"{before.percent:.2f}, as before",
        measured=f"{after.percent:.2f}",
        rule=f"{SAME_MODEL}; {judged.rule}",
        evidence={key: value for key, value in judged.evidence.items() if key not in effect},
    )


def check_latency_floor(record: RunRecord, least: float, rule: str) -> Verdict:
    """The verdict on a floor of `latency_ratio`: the whole interval decides, so a figure in doubt never fails."""
    found = record.latency
    if found is None:
        return stated(
            case_id(record), record.run, "latency, times as fast as dense", Status.INCOMPARABLE, f"at least {least}",
            "not measured", rule=rule, tier=Tier.FLOOR,
        )  # fmt: skip
    status = Status.PASS if found.lower >= least else Status.FAIL if found.upper < least else Status.INCONCLUSIVE
    return Verdict(
        case=case_id(record),
        run=record.run,
        check=f"latency in {found.runtime}, times as fast as dense",
        status=status,
        expected=f"at least {least:.2f}",
        measured=_interval(found),
        shortfall=least - found.upper,
        rule=rule,
        hint="look closer with 'prunebench latency', on a machine that does nothing else",
        evidence=_evidence(found),
        smallest_effect="an interval that is all below the floor",
    )


def compare_deployed(case: str, baseline: RunRecord, record: RunRecord, *, times: bool = True) -> Iterator[Verdict]:
    """Sizes of the shrunk models exactly, and latency ratios where machine and runtime are equal."""
    for what, before, after in (
        ("shrunk model", baseline.shrunk, record.shrunk),
        ("exported model", baseline.exported, record.exported),
        ("latency", baseline.latency, record.latency),
    ):
        if before is not None and after is None:
            yield different(case, record.run, what, ["the baseline has it, the record does not: see 'measure'"])
    if baseline.shrunk is not None and record.shrunk is not None:
        old, new = baseline.checkpoints, record.checkpoints
        same_weights = (old.best or old.pruned) == (new.best or new.pruned)
        for unit, old_count, new_count in (
            ("parameters", baseline.shrunk.elements, record.shrunk.elements),
            ("MACs", baseline.shrunk.macs, record.shrunk.macs),
        ):
            # Other weights under equal masks may leave a unit that never answers, which is removed too.
            same = old_count == new_count if same_weights else new_count <= old_count
            names = {unit: old_count}, {unit: new_count}
            yield exact_verdict(case, record.run, f"{unit} of the shrunk model", unit, *names, same=same)
    if times and baseline.latency is not None and record.latency is not None:
        yield _latency(case, baseline, record, baseline.latency, record.latency)


def _latency(case: str, baseline: RunRecord, record: RunRecord, before: LatencyRatio, after: LatencyRatio) -> Verdict:
    elsewhere = environment_differences(baseline, record, MACHINE)
    elsewhere += [
        f"{name} {old} -> {new}"
        for name, old, new in (
            ("runtime", before.runtime, after.runtime),
            ("threads", before.threads, after.threads),
        )
        if old != new
    ]
    if elsewhere:
        status, rule = Status.INCOMPARABLE, f"advisory: another machine ({'; '.join(elsewhere)})"
    else:
        slower = after.upper < before.lower and after.ratio < (1 - SLOWER) * before.ratio
        faster = after.lower > before.upper and before.ratio < (1 - SLOWER) * after.ratio
        status = Status.FAIL if slower else Status.IMPROVED if faster else Status.PASS
        rule = f"fails where the intervals do not touch and {100 * SLOWER:g} % are lost"
    return Verdict(
        case=case,
        run=record.run,
        check=f"latency in {after.runtime}, times as fast as dense",
        tier=Tier.TIME,
        status=status,
        expected=_interval(before),
        measured=_interval(after),
        shortfall=before.lower - after.upper,
        rule=rule,
        hint="look closer with 'prunebench latency', on a machine that does nothing else",
        evidence={f"baseline_{name}": value for name, value in _evidence(before).items()} | _evidence(after),
        smallest_effect=f"{100 * (1 - (1 - SLOWER) * before.lower / before.ratio):.0f} % of the ratio",
        advisory=status is Status.INCOMPARABLE,
    )


def _interval(found: LatencyRatio) -> str:
    return f"{found.ratio:.2f} ({found.lower:.2f} to {found.upper:.2f})"


def _evidence(found: LatencyRatio) -> dict[str, Figure]:
    return {"latency_ratio": found.ratio, "lower": found.lower, "upper": found.upper, "launches": found.launches}
