"""Histories for other programs: JSON, Bencher Metric Format, and the arrays that github-action-benchmark reads.

Sources:
    Bencher Metric Format: https://bencher.dev/bmf.json; benchmark names up to 1,024 bytes.
    github-action-benchmark, tools customBiggerIsBetter and customSmallerIsBetter: an array that is not empty, of
        objects with name, value, unit and perhaps range and extra.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from prunebench.baselines.collected import Collected
from prunebench.baselines.versions import compare_versions
from prunebench.escaping import shown
from prunebench.gate import Thresholds
from prunebench.history.collect import History
from prunebench.history.steps import FIGURES, Curve, Curves
from prunebench.records import Record

LONGEST_NAME = 1024


def as_json(found: Curves, history: History) -> str:
    """Every point of every curve, and its marks; of several versions of torch also the table over them."""
    curves = [
        {
            "case": curve.case,
            "figure": curve.figure,
            "unit": FIGURES[curve.figure].unit,
            "points": [
                {
                    "value": value,
                    "commit": entry.record.revision,
                    "dirty": entry.record.dirty,
                    "torch": entry.torch,
                    "created": entry.record.created,
                    "source": entry.source,
                }
                for entry, value in zip(curve.entries, curve.values, strict=True)
            ],
            "marks": [vars(mark) for mark in curve.marks],
        }
        for curve in found.curves
    ]
    about: dict[str, object] = {"alpha": found.alpha, "comparisons": found.comparisons, "level": found.level}
    versions = _versions(history)
    if len(versions) > 1:
        about["across"] = compare_versions(versions, thresholds=Thresholds(alpha=found.alpha)).content
    return json.dumps({**about, "curves": curves}, indent=1) + "\n"


def _versions(history: History) -> dict[str, Collected]:
    """The newest record of each case with each torch, the one that was used first in front."""
    entries = [(case, entry) for case, found in history.cases.items() for entry in found]
    records: dict[str, dict[str, Record]] = {}
    for case, entry in sorted(entries, key=lambda each: each[1].record.created):
        records.setdefault(entry.torch, {})[case] = entry.record
    return {torch: Collected(records=found) for torch, found in records.items()}


def as_bmf(found: Curves) -> str:
    """The newest value of each figure in Bencher Metric Format: a case is a benchmark, a figure a measure."""
    benchmarks: dict[str, dict[str, dict[str, float]]] = {}
    for curve in found.curves:
        case = shown(curve.case, most=LONGEST_NAME)
        benchmarks.setdefault(case, {})[curve.figure] = {"value": curve.values[-1]}
    return json.dumps(benchmarks, indent=1) + "\n"


def as_action_benchmarks(found: Curves, *, bigger_is_better: bool) -> str | None:
    """The newest values for one of the two tools of github-action-benchmark; None where no figure is for it.

    It divides one value by another, which means nothing for `change`, which may be 0 or negative: left out.
    """
    chosen = [
        curve
        for curve in found.curves
        if FIGURES[curve.figure].bigger_is_better is bigger_is_better and curve.figure != "change"
    ]
    return json.dumps([dict(_benchmark(curve)) for curve in chosen], indent=1) + "\n" if chosen else None


def _benchmark(curve: Curve) -> Iterator[tuple[str, Any]]:
    newest = curve.entries[-1]
    yield "name", f"{curve.case} {curve.figure}"
    yield "unit", FIGURES[curve.figure].unit
    yield "value", curve.values[-1]
    yield "extra", f"commit {newest.commit}, torch {newest.torch}, {newest.record.created}"
