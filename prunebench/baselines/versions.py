"""The same cases as several versions of torch (or of anything) computed them: one table, judged against the first.

The judging is `prunebench.gate.compare_records`, called once over all versions: so Holm's procedure goes over the cells
of the whole table. Columns are versions, rows are things that a record holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.baselines.collected import Collected, collect
from prunebench.baselines.comparison import case_of, decisive, incomparable
from prunebench.errors import RecordError
from prunebench.gate import Status, Thresholds, Verdict, compare_records, worst_first
from prunebench.gate.signature import CHECKS
from prunebench.records import Record, RunRecord, chosen_cases
from prunebench.sensitivity import Scan

SAME, ABSENT = "=", "-"
"""Cells: as in the first version, to the last bit; not measured."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing of one case: a cell a version, and the worst verdict that counts on it, None where there is none."""

    case: str
    thing: str
    cells: Sequence[str]
    statuses: Sequence[Status | None]

    @property
    def is_same(self) -> bool:
        """True where every version has what the first has."""
        return all(cell == SAME for cell in self.cells[1:])


@dataclass(frozen=True, kw_only=True)
class AcrossVersions:
    """The table and every verdict on it; a verdict's case is that of `at`."""

    versions: Sequence[str]
    rows: Sequence[Row]
    verdicts: Sequence[Verdict]

    @property
    def content(self) -> dict[str, object]:
        """The table for machines."""
        return {"versions": self.versions, "rows": [vars(row) for row in self.rows]}


def at(case: str, version: str) -> str:
    """The name that a case has where several versions of it are judged."""
    return f"{case} @ {version}"


def read_versions(paths: Sequence[Path]) -> dict[str, Collected]:
    """The records of each path, a file or a folder, by the torch they name; by path where that tells not all apart.

    Raises:
        RecordError: fewer than two paths, one given twice, or one without records.
    """
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise RecordError(f"--across compares versions: expected two or more different paths, got {len(paths)}")
    found = [collect(path) for path in paths]
    torches = ["/".join(sorted(_torches(each.records.values()))) for each in found]
    for names in (torches, [path.name for path in paths]):
        if all(names) and len(set(names)) == len(paths):
            return dict(zip(names, found, strict=True))
    return dict(zip(map(str, paths), found, strict=True))


def compare_versions(
    versions: Mapping[str, Collected], *, thresholds: Thresholds, only: Iterable[str] = ()
) -> AcrossVersions:
    """Judge every version against the first, and put side by side what they hold.

    Raises:
        UnknownNameError: `only` names a case that no version has.
    """
    known = sorted({case for found in versions.values() for case in found.cases})
    cases = chosen_cases(only, known) if (only := tuple(only)) else known
    first, *others = versions
    before, after = dict[str, Record](), dict[str, Record]()
    verdicts = []
    for version in others:
        for case in cases:
            named = {"baseline": versions[first], "record": versions[version]}
            broken = [f"{name}: {found.unusable[case]}" for name, found in named.items() if case in found.unusable]
            verdicts += [incomparable(at(case, version), reason) for reason in broken[:1]]
            for side, found in ((before, versions[first]), (after, versions[version])):
                if not broken and case in found.records:
                    side[at(case, version)] = found.records[case]
    verdicts += compare_records(before, after, thresholds=thresholds)
    by_case: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_case.setdefault(case_of(verdict), []).append(verdict)
    rows: list[Row] = []
    for case in cases:
        records = [found.records.get(case) for found in versions.values()]
        judged = [by_case.get(at(case, version), []) for version in versions]
        things = _SCAN if any(isinstance(record, Scan) for record in records) else _RUN
        rows += filter(None, (_row(case, thing, records, judged) for thing in things))
    return AcrossVersions(versions=list(versions), rows=rows, verdicts=verdicts)


def _torches(records: Iterable[Record]) -> set[str]:
    """Versions of torch, without what they were built for."""
    return {str(record.environment.get("torch", "unknown")).partition("+")[0] for record in records}


@dataclass(frozen=True)
class _Thing:
    """One thing that records hold.

    Attributes:
        value: what has to be equal for `=`; None where a record does not hold it.
        text: the cell's, from the record.
        checks: what the gate's checks on it begin with, `but` not with these.
    """

    name: str
    value: Callable[[Any], object]
    text: Callable[[Any], object]
    checks: tuple[str, ...]
    but: tuple[str, ...] = ()


def _answers(name: str, of: Callable[[RunRecord], Any], *checks: str) -> _Thing:
    def value(record: RunRecord) -> object:
        return (found := of(record)) and (found.predictions_digest, found.correct_bits)

    return _Thing(f"{name}, right", value, lambda record: of(record).correct, checks)


_RUN = (
    _Thing("masks", lambda r: r.masks_digest, lambda r: r.masks_digest[:8], ("masks",)),
    _Thing("weights", lambda r: r.checkpoints.pruned, lambda r: r.checkpoints.pruned[:8], ("pruned weights",)),
    _Thing(
        "nonzeros",
        lambda r: r.nonzeros,
        lambda r: sum(r.nonzeros.values()),
        ("nonzeros", "sparsities", "layer shapes", "multiply-accumulates", "elements of all"),
    ),
    _Thing(
        "size, bytes",
        lambda r: (r.dense_size_bits, r.pruned_size_bits, r.dense_file_bytes, r.pruned_file_bytes),
        lambda r: r.pruned_size_bits // 8,
        ("nominal size", "file size"),
    ),
    _Thing("packed, bytes", lambda r: r.packed and r.packed.pruned, lambda r: r.packed.pruned, ("packed file",)),
    _answers("dense", lambda r: r.dense_accuracy, "accuracy of the dense model", "accuracy, same dense weights"),
    _answers("pruned", lambda r: r.pruned_accuracy, "accuracy of the pruned model"),
    _answers("tuned", lambda r: r.finetuning and r.finetuning.best, "accuracy after fine-tuning"),
    _Thing(
        "last loss",
        lambda r: r.finetuning and (r.finetuning.losses, r.finetuning.signature),
        lambda r: f"{r.finetuning.losses[-1]:.4g}",
        ("training as it was done", *CHECKS.values()),
    ),
    _Thing(
        "shrunk, elements",
        lambda r: r.shrunk and (r.shrunk.elements, r.shrunk.macs),
        lambda r: r.shrunk.elements,
        ("parameters of the shrunk", "MACs of the shrunk", "shrunk model"),
    ),
    _Thing("times as fast", lambda r: r.latency, lambda r: f"{r.latency.ratio:.2f}", ("latency",)),
)
"""Rows of a run. The signature of a training stands behind its last loss."""


def _points(scan: Scan) -> dict[tuple[str, float], object]:
    return {(point.layer, point.sparsity): (point.correct, point.correct_bits) for point in scan.points}


_BASE = "accuracy of the base model", "curves"
_SCAN = (
    _Thing("base, right", lambda scan: scan.base_bits, lambda scan: scan.base_correct, _BASE),
    _Thing("points", _points, lambda scan: len(scan.points), ("",), but=(*_BASE, "seconds")),
)


def _row(case: str, thing: _Thing, records: Sequence[Record | None], judged: Sequence[Sequence[Verdict]]) -> Row | None:
    """The row of a thing; None where no record holds it."""
    values = [thing.value(record) if record else None for record in records]
    if all(value is None for value in values):
        return None
    cells: list[str] = []
    statuses: list[Status | None] = []
    for record, value, verdicts in zip(records, values, judged, strict=True):
        on = [each for each in verdicts if each.check.startswith(thing.checks) and not each.check.startswith(thing.but)]
        counted = [verdict.status for verdict in worst_first(decisive(on))]
        statuses.append(counted[0] if counted else None)
        if value is None:
            cells.append(ABSENT)
        elif cells and value == values[0] and statuses[-1] in {None, Status.PASS}:
            cells.append(SAME)
        else:
            cells.append(_cell(thing, record, value, values[0] if cells else None, on))
    return Row(case=case, thing=thing.name, cells=cells, statuses=statuses)


def _cell(thing: _Thing, record: Record | None, value: object, first: object, on: Sequence[Verdict]) -> str:
    """The text, and what changed since the first version: answers lost and gained, or points."""
    text = thing.text(record)
    said = f"{text:,}" if isinstance(text, int) else str(text)
    if isinstance(value, dict) and isinstance(first, dict) and thing.name == "points":
        places = {**first, **value}
        return f"{sum(first.get(place) != value.get(place) for place in places)} of {len(places)} differ"
    for verdict in on:
        if "b_only_baseline_right" in verdict.evidence:
            lost, gained = verdict.evidence["b_only_baseline_right"], verdict.evidence["c_only_new_right"]
            return f"{said} (-{lost} +{gained})"
    return said
