"""Floors: limits on sizes and accuracy that live here, in reviewed source, and are never lowered automatically.

Sizes are exact everywhere. Accuracy depends on what the run was executed on:

- `cifar10` as published, course checkpoint, full protocol: the documented accuracies, within `COURSE_MARGIN`.
- `cifar10`, another checkpoint, full protocol: each run's documented change after fine-tuning against its own dense
  model, within `CHANGE_MARGIN`. Before fine-tuning nothing is documented for another checkpoint.
- `cifar10` quick, `shapes` and `digits`: limits measured with this project, see docs/results.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from prunebench.errors import PlanError
from prunebench.gate.comparability import is_own_recipe
from prunebench.gate.verdicts import Status, Verdict
from prunebench.measure import MIB
from prunebench.pruning import pruned_count
from prunebench.records import RunRecord
from prunebench.runs import RUNS, DocumentedRun

COURSE_MARGIN = 0.5
"""Points. Two fine-tunings of one checkpoint differ in about 3 % of the answers: twice the standard error of that
difference on 10,000 images is 0.35 points; the rest allows for seeds."""

CHANGE_MARGIN = 1.0
"""Points. As above, and a checkpoint trained in another way, on another copy of the data, recovers differently."""

GENERATED_FLOORS: Mapping[tuple[str, str], Mapping[str, float]] = MappingProxyType(
    {
        ("shapes", "quick"): MappingProxyType(dict.fromkeys(("run1", "run2", "run3", "run4", "run5"), 83.4)),
        ("digits", "quick"): MappingProxyType(dict.fromkeys(("run1", "run2", "run3", "run4", "run5"), 96.4)),
    }
)
"""Percent right after fine-tuning (best epoch), by workload, budget and run, of dense models of the workload's recipe.

From several seeds, each with its own dense model (docs/results.md): the lowest of the five runs' lower limits, for all
of them, because so few seeds do not tell the runs' spreads apart. `full` was not measured and has none.
"""

QUICK_CHANGE_FLOORS: Mapping[str, float] = MappingProxyType(
    {
        "run1": -2.2,
        "run2": -2.4,
        "run3": -2.2,
        "run4": -4.6,
        "run5": -4.7,
    }
)
"""Points against the dense model after the shortened fine-tuning of `cifar10` quick, by run.

What one seed measured (docs/results.md) less 1.5 points: wide, because one seed shows no spread.
"""


@dataclass(frozen=True)
class Floor:
    """The least accuracy in percent, and why."""

    percent: float
    rule: str


def check_record(record: RunRecord, run: DocumentedRun) -> list[Verdict]:
    """Everything that can be checked without a baseline."""
    return [*check_sizes(record, run), *check_accuracy(record, run)]


def check_sizes(record: RunRecord, run: DocumentedRun) -> Iterator[Verdict]:
    """Nonzeros of every layer and in total, exactly; documented sizes to half of their last printed digit."""
    named = _as_named(run)
    hint = f"look closer with 'prunebench lint {named}' and 'prunebench run {named} --no-finetune'"
    expected = dict(record.dense_nonzeros)
    for layer in record.layers:
        if layer.name not in run.sparsity:
            raise PlanError(f"run '{run.name}' says nothing of '{layer.name}': expected the run that was recorded")
        kept = layer.numel - pruned_count(layer.numel, run.sparsity[layer.name], name=layer.name)
        expected[layer.name] = min(kept, expected[layer.name])  # a zero of the dense model is pruned first
        yield _exact(run, f"nonzeros of {layer.name}", expected[layer.name], layer.nonzeros, hint)
    yield _exact(run, "nonzeros of all parameters", sum(expected.values()), sum(record.nonzeros.values()), hint)
    zeros = record.elements - sum(record.dense_nonzeros.values())
    own_zeros = f"; the dense checkpoint has {zeros:,} zeros of its own" if zeros else ""
    for what, documented, measured in (
        ("size, MiB", run.size_mib, record.pruned_size_bits / 8 / MIB),
        ("size, % of dense", run.size_percent, record.size_percent),
    ):
        if documented is not None:
            miss = abs(measured - float(documented.value)) - float(documented.tolerance)
            yield Verdict(
                run=run.name,
                check=what,
                status=Status.PASS if documented.agrees_with(measured) else Status.FAIL,
                expected=str(documented.value),
                measured=f"{measured:.4f}",
                shortfall=miss,
                rule=f"documented, within {documented.tolerance} (half of the last printed digit){own_zeros}",
                hint=hint,
                evidence={"documented": float(documented.value), "measured": measured},
                smallest_effect=f"{documented.tolerance}",
            )


def check_accuracy(record: RunRecord, run: DocumentedRun) -> Iterator[Verdict]:
    """The floors that apply to what the record was executed on; none, where nothing is documented or set."""
    if not record.builtin:
        return  # somebody else's model, data or budget of the same name
    if record.workload == "cifar10" and record.checkpoints.is_course_checkpoint:
        for what, documented, accuracy in (
            ("dense accuracy, %", run.dense_accuracy, record.dense_accuracy),
            ("accuracy before fine-tuning, %", run.accuracy_before, record.pruned_accuracy),
        ):
            if documented is not None:
                floor = Floor(
                    float(documented.value) - COURSE_MARGIN, f"documented {documented.value} - {COURSE_MARGIN}"
                )
                yield _at_least(run, what, floor, accuracy.percent)
    if record.finetuning is not None and (after := _floor_after(record, run)):
        yield _at_least(run, "accuracy after fine-tuning, best epoch, %", after, record.finetuning.best.percent)


def _floor_after(record: RunRecord, run: DocumentedRun) -> Floor | None:
    """The floor of the best epoch's accuracy for what the record was executed on, where there is one."""
    dense, where = record.dense_accuracy.percent, f"{record.workload} {record.budget}"
    if (floors := GENERATED_FLOORS.get((record.workload, record.budget))) is not None:
        if not is_own_recipe(record.checkpoints.origin, record.checkpoints.origin, workload=record.workload):
            return None  # measured on models of that recipe: another dense model may be worse to begin with
        return Floor(floors[run.name], f"floor of {where}") if run.name in floors else None
    if record.workload == "cifar10" and record.budget == "quick":
        change = QUICK_CHANGE_FLOORS.get(run.name)
        return Floor(dense + change, f"dense {dense:.2f} {change:+}, floor of {where}") if change is not None else None
    if (
        record.workload == "cifar10"
        and record.full_protocol
        and run.accuracy_best is not None
        and run.change_after_finetuning is not None
    ):
        return _documented_floor(record, run.accuracy_best.value, run.change_after_finetuning)
    return None


def _documented_floor(record: RunRecord, best: Decimal, change: Decimal) -> Floor:
    if record.checkpoints.is_course_checkpoint:
        return Floor(float(best) - COURSE_MARGIN, f"documented {best} - {COURSE_MARGIN}")
    dense = record.dense_accuracy.percent
    rule = f"dense {dense:.2f}, documented change {change:+}, margin {CHANGE_MARGIN}"
    return Floor(dense + float(change) - CHANGE_MARGIN, rule)


def _as_named(run: DocumentedRun) -> str:
    """What the command line takes: a documented run's name; a table is a file, wherever it lies."""
    return run.name if run.name in RUNS else "TABLE.toml"


def _exact(run: DocumentedRun, check: str, expected: int, measured: int, hint: str) -> Verdict:
    return Verdict(
        run=run.name,
        check=check,
        status=Status.PASS if measured == expected else Status.FAIL,
        expected=f"{expected:,}",
        measured=f"{measured:,}",
        shortfall=abs(measured - expected) or -math.inf,
        rule="exact" if measured == expected else f"exact, off by {measured - expected:+,}",
        hint=hint,
        evidence={"expected": expected, "measured": measured},
        smallest_effect="1 element",
    )


def _at_least(run: DocumentedRun, check: str, floor: Floor, measured: float) -> Verdict:
    return Verdict(
        run=run.name,
        check=check,
        status=Status.PASS if measured >= floor.percent else Status.FAIL,
        expected=f"at least {floor.percent:.2f}",
        measured=f"{measured:.2f}",
        shortfall=floor.percent - measured,
        rule=floor.rule,
        hint=f"look closer with 'prunebench run {_as_named(run)}', which prints every epoch",
        evidence={"floor_percent": floor.percent, "measured_percent": measured},
        smallest_effect="any accuracy under the floor",
    )
