"""Verdicts as text: each in a line, and what those that passed add up to. Nothing here prints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prunebench.escaping import terminal

if TYPE_CHECKING:
    from prunebench.gate import Verdict

EFFECT = "smallest_effect_points"
"""Under this name the evidence of an accuracy comparison has the true drop that fails with the stated power."""


def verdict_lines(verdicts: Iterable[Verdict]) -> list[str]:
    """One line a verdict, fit for a terminal."""
    return [terminal(verdict) for verdict in verdicts]


def notable(verdicts: Iterable[Verdict]) -> tuple[list[Verdict], list[str]]:
    """Verdicts that did not pass, and lines in the place of those that only repeat one another.

    Times that were not compared, for another machine's sake, take a line together; so do cases that were not compared
    for one and the same reason, where that is advisory.
    """
    from prunebench.baselines.comparison import case_of
    from prunebench.gate import Status, Tier

    def repeats(verdict: Verdict) -> tuple[str, str] | None:
        is_advice = verdict.status is Status.INCOMPARABLE and verdict.advisory and verdict.tier is not Tier.TIME
        return (verdict.check, verdict.measured) if is_advice else None

    verdicts = [verdict for verdict in verdicts if verdict.status is not Status.PASS]
    times_said = Counter(map(repeats, verdicts))
    alone: list[Verdict] = []
    alike: dict[tuple[str, str], list[str]] = {}
    elsewhere: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.tier is Tier.TIME and verdict.status is Status.INCOMPARABLE and verdict.advisory:
            elsewhere.setdefault(verdict.rule.removeprefix("advisory: "), []).append(verdict)
        elif (said := repeats(verdict)) is not None and times_said[said] > 1:
            alike.setdefault(said, []).append(case_of(verdict))
        else:
            alone.append(verdict)
    lines = [
        f"{Status.INCOMPARABLE} (advisory) {', '.join(cases)}: {check}: {why}" for (check, why), cases in alike.items()
    ]
    for why, times in elsewhere.items():
        cases = {case_of(verdict) for verdict in times}
        lines.append(f"{_counted(len(times), 'time')} of {_counted(len(cases), 'case')} not compared: {why}")
    return alone, lines


def passed_lines(verdicts: Sequence[Verdict], *, cases: int | None = None) -> list[str]:
    """Lines on how many verdicts passed, what the others are, and what drop in accuracy they would have failed."""
    from prunebench.gate import Status

    others = Counter(
        f"{verdict.status}{' (advisory)' if verdict.advisory else ''}"
        for verdict in verdicts
        if verdict.status is not Status.PASS
    )
    counted = f"{len(verdicts) - others.total()} of {_counted(len(verdicts), 'comparison')} passed"
    counted += f", {_counted(cases, 'case')}" if cases is not None else ""
    listed = ", ".join(f"{count} {status}" for status, count in others.items())
    return [f"{counted}; the others: {listed}" if others else counted, *least_sensitive(verdicts)]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def least_sensitive(verdicts: Iterable[Verdict]) -> list[str]:
    """A line on the accuracy comparison that only the largest drop would have failed, and one on what was not compared.

    Neither where there is no such.
    """
    from prunebench.baselines.comparison import case_of
    from prunebench.gate import Tier

    verdicts = list(verdicts)
    accuracies = [verdict for verdict in verdicts if EFFECT in verdict.evidence]
    compared = {case_of(verdict) for verdict in accuracies}
    missing = {case_of(verdict) for verdict in verdicts if verdict.tier is Tier.ACCURACY} - compared
    uncompared = [f"accuracy of {_counted(len(missing), 'case')} was not compared"] if missing else []
    if not accuracies:
        return uncompared
    least = max(accuracies, key=_effect)
    where = f"{case_of(least)}, {least.check}"
    if least.evidence[EFFECT] is None:
        line = f"accuracy: no drop, however large, would have failed everywhere; too few images: {where}"
    else:
        drop = least.smallest_effect
        line = f"accuracy: every comparison would have failed a true drop of {drop}; least sensitive: {where}"
    return [line, *uncompared]


def _effect(verdict: Verdict) -> float:
    effect = verdict.evidence[EFFECT]
    return float(effect) if isinstance(effect, int | float) else math.inf
