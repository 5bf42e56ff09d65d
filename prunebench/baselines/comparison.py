"""Two sides of a comparison put together: the cases that are judged, and those without a usable record.

The judging itself is `prunebench.gate.compare`. Compared here are files and folders; the pytest plugin, which sees one
record at a time, uses pieces of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from prunebench.baselines.collected import Collected
from prunebench.baselines.shelf import baseline_path, list_baselines, read_baseline
from prunebench.errors import RecordError
from prunebench.gate import Status, Thresholds, Tier, Verdict, compare_records, worst_first
from prunebench.records import Record, case_id, chosen_cases, family, in_families

EXIT_CODES = {Status.FAIL: 1, Status.INCOMPARABLE: 2, Status.NO_BASELINE: 2, Status.INCONCLUSIVE: 3}
"""Exit codes of the command line; the first of these that occurs decides, 0 without any."""


def compare_sides(
    new: Collected, reference: Collected, *, thresholds: Thresholds, only: Iterable[str] = ()
) -> list[Verdict]:
    """Verdicts on the records of `new`, with those of `reference` as their baselines.

    Judged are the cases of `new`; where it is a folder, also those of `reference` of the same families
    (`prunebench.records.family`), so that a case that vanished is INCOMPARABLE and no pass. `only` restricts both sides
    to the cases it names.

    Raises:
        UnknownNameError: `only` names a case that neither side has.
        RecordError: two files, of two cases.
    """
    if not (new.is_folder or reference.is_folder) and new.cases != reference.cases:
        raise RecordError(
            f"one file is of {new.cases[0]}, the other of {reference.cases[0]}: expected two of one case, or a folder"
        )
    cases = _judged(new, reference)
    if only := tuple(only):
        cases = chosen_cases(only, sorted({*new.cases, *reference.cases}), first=cases)
    unusable = {case: f"record: {new.unusable[case]}" for case in cases if case in new.unusable}
    unusable |= {case: f"baseline: {reference.unusable[case]}" for case in cases if case in reference.unusable}
    usable = [case for case in cases if case not in unusable]
    verdicts = compare_records(_those(reference.records, usable), _those(new.records, usable), thresholds=thresholds)
    return [*verdicts, *(incomparable(case, reason) for case, reason in unusable.items())]


def compare_apart(
    records: Sequence[Record], folder: Path, *, thresholds: Thresholds, case: str | None = None
) -> dict[str, list[Verdict]]:
    """Verdicts by case on a part of a family: a record, a scan or several, in a test that knows nothing of the others.

    The chance of a false alarm, `thresholds.alpha`, is over a whole family (`prunebench.records.family`). A part gets
    its share of it, by the number of its baselines (Bonferroni). The shares add up to `thresholds.alpha` at most, in
    any order and whichever parts are judged.

    `case` is what a single record is expected to be of, in full or without the workload: another is INCOMPARABLE, as is
    one whose baseline cannot be read.

    Raises:
        RecordError: two records are of one case.
    """
    by_case = {case_id(record): record for record in records}
    if len(by_case) < len(records):
        raise RecordError(f"{len(records)} records of {', '.join(by_case)}: expected one of each case")
    verdicts: dict[str, list[Verdict]] = {actual: [] for actual in by_case}
    baselines: dict[str, Record] = {}
    families: dict[str, dict[str, Record]] = {}
    for actual, record in by_case.items():
        if case is not None and case not in (actual, actual.partition("/")[2]):
            verdicts[actual].append(incomparable(case, f"record: it is of {actual}"))
            continue
        path = baseline_path(actual, folder)
        try:
            baselines |= {actual: read_baseline(path).record} if path.is_file() else {}
            families.setdefault(family(record), {})[actual] = record
        except RecordError as error:
            verdicts[actual].append(incomparable(actual, f"baseline: {error}"))
    for pattern, usable in families.items():
        standing = {actual: baselines[actual] for actual in usable if actual in baselines}
        share = len(standing) / len(in_families(list_baselines(folder), [pattern])) if standing else 1.0
        shared = replace(thresholds, alpha=thresholds.alpha * share)
        for verdict in compare_records(standing, usable, thresholds=shared):
            verdicts[case_of(verdict) if case_of(verdict) in usable else next(iter(usable))].append(verdict)
    return verdicts


def case_of(verdict: Verdict) -> str:
    """The case a verdict is on; for one that needed no baseline, the run."""
    return verdict.case or verdict.run


def incomparable(case: str, reason: str) -> Verdict:
    """The verdict on a case that could not be judged at all."""
    return Verdict(
        run=case,
        check="record and baseline",
        status=Status.INCOMPARABLE,
        expected="both usable",
        measured=reason,
        shortfall=0.0,
        rule="what cannot be compared is no pass",
    )


def decisive(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Those that count: an advisory verdict is shown and decides nothing."""
    return [verdict for verdict in verdicts if not verdict.advisory]


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """0 pass, 1 regression, 2 not comparable (also: nothing was compared), 3 inconclusive."""
    counted = decisive(verdicts)
    found = {verdict.status for verdict in counted}
    return next((code for status, code in EXIT_CODES.items() if status in found), 0) if counted else 2


def worst_status(verdicts: Iterable[Verdict]) -> Status:
    """The worst status of those that count; INCOMPARABLE where there are none."""
    return next((verdict.status for verdict in worst_first(decisive(verdicts))), Status.INCOMPARABLE)


def verdict_from(content: dict[str, Any]) -> Verdict:
    """The verdict that `dataclasses.asdict` and JSON made this of."""
    known = {field.name for field in fields(Verdict)}
    return Verdict(
        **{
            **{name: value for name, value in content.items() if name in known},
            "status": Status(content["status"]),
            "tier": Tier(content["tier"]),
        }
    )


def as_json(verdicts: Iterable[Verdict], **more: object) -> str:
    """The verdicts with their evidence, worst first, and what is given beside them, for machines."""
    ordered = worst_first(verdicts)
    content = {
        "exit_code": exit_code(ordered),
        "counts": Counter(verdict.status for verdict in ordered),
        "verdicts": [asdict(verdict) for verdict in ordered],
        **more,
    }
    return json.dumps(content, indent=1, default=str) + "\n"


def _judged(new: Collected, reference: Collected) -> list[str]:
    families = {family(record) for record in new.records.values()} if new.is_folder else set()
    return sorted({*new.cases, *in_families(reference.cases, families)})


def _those(records: Mapping[str, Record], cases: Iterable[str]) -> dict[str, Record]:
    return {case: records[case] for case in cases if case in records}
