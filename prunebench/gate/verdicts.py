"""Verdicts: what a check found, with its evidence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Outcome of a comparison. One that could not be made is never a pass."""

    PASS = "PASS"
    FAIL = "FAIL"
    IMPROVED = "IMPROVED"
    INCONCLUSIVE = "INCONCLUSIVE"
    INCOMPARABLE = "INCOMPARABLE"
    NO_BASELINE = "NO_BASELINE"


_SEVERITY = (
    Status.FAIL,
    Status.INCOMPARABLE,
    Status.NO_BASELINE,
    Status.INCONCLUSIVE,
    Status.PASS,
    Status.IMPROVED,
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one check found.

    Attributes:
        run: the run it is about.
        check: what was compared, in words.
        expected, measured: the two figures, ready to print.
        shortfall: how far the measured figure misses the limit, in the figure's own unit; above 0 fails. An exact
            comparison that holds is nowhere near its limit: minus infinity.
        rule: the limit and where it comes from.
        hint: how to look closer, for a check that failed.
    """

    run: str
    check: str
    status: Status
    expected: str
    measured: str
    shortfall: float
    rule: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.status} {self.run}: {self.check}: {self.measured}, expected {self.expected} ({self.rule})"
        return f"{text}; {self.hint}" if self.hint and self.status is Status.FAIL else text


def worst_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Failures first, then by how near the limit they came."""
    return sorted(verdicts, key=lambda verdict: (_SEVERITY.index(verdict.status), -verdict.shortfall))
