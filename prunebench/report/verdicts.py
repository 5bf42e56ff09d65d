"""Verdicts as text: each in a line, and what those that passed add up to. Nothing here prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prunebench.gate import Verdict

EFFECT = "smallest_effect_points"
"""Under this name the evidence of an accuracy comparison has the true drop that fails with the stated power."""


def verdict_lines(verdicts: Iterable[Verdict]) -> list[str]:
    """One line a verdict."""
    return [str(verdict) for verdict in verdicts]


def passed_lines(verdicts: Sequence[Verdict], *, cases: int | None = None) -> list[str]:
    """How many passed, and what drop in accuracy they would have failed."""
    from prunebench.gate import Status

    passed = sum(verdict.status is Status.PASS for verdict in verdicts)
    counted = f"{passed} of {len(verdicts)} comparisons passed"
    return [counted if cases is None else f"{counted}, {cases} cases", *least_sensitive(verdicts)]


def least_sensitive(verdicts: Iterable[Verdict]) -> list[str]:
    """A line on the accuracy comparison that only the largest drop would have failed; none where there is no such."""
    from prunebench.comparison import case_of

    accuracies = [verdict for verdict in verdicts if EFFECT in verdict.evidence]
    if not accuracies:
        return []
    least = max(accuracies, key=_effect)
    where = f"{case_of(least)}, {least.check}"
    if least.evidence[EFFECT] is None:
        return [f"accuracy: no drop, however large, would have failed everywhere; too few images: {where}"]
    return [
        f"accuracy: every comparison would have failed a true drop of {least.smallest_effect}; least sensitive: {where}"
    ]


def _effect(verdict: Verdict) -> float:
    effect = verdict.evidence[EFFECT]
    return float(effect) if isinstance(effect, int | float) else math.inf
