"""Verdicts: what a check found, with its evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from prunebench.storage.documents import Shown


class Status(StrEnum):
    """Outcome of a comparison. One that could not be made is never a pass."""

    PASS = "PASS"
    FAIL = "FAIL"
    IMPROVED = "IMPROVED"
    INCONCLUSIVE = "INCONCLUSIVE"
    INCOMPARABLE = "INCOMPARABLE"
    NO_BASELINE = "NO_BASELINE"


class Tier(StrEnum):
    """The kind of evidence that a verdict rests on."""

    FLOOR = "floor"
    EXACT = "exact"
    ACCURACY = "accuracy"
    SIGNATURE = "signature"
    TIME = "time"


_SEVERITY = (
    Status.FAIL,
    Status.INCOMPARABLE,
    Status.NO_BASELINE,
    Status.INCONCLUSIVE,
    Status.PASS,
    Status.IMPROVED,
)

_TOLD_FIRST = (Tier.ACCURACY, Tier.FLOOR, Tier.EXACT, Tier.SIGNATURE, Tier.TIME)
"""By what a reader asks first; shortfalls of two tiers are not told in one unit."""

Figure = int | float | str | None

NOTHING = "none: nothing was compared"


@dataclass(frozen=True, kw_only=True)
class Verdict(Shown):
    """The outcome of one check, with its figures.

    Attributes:
        run: the run it is about.
        case: id of the case it is about.
        check: what was compared, in words.
        expected, measured: the two figures, ready to print.
        shortfall: how far the measured figure misses the limit, in the figure's own unit; above 0 fails. An exact
            comparison that holds is nowhere near its limit: minus infinity.
        rule: the limit and where it comes from.
        hint: how to look closer, for a check that failed.
        tier: what kind of evidence it rests on.
        evidence: the figures behind it, by name with the unit in the name; JSON can hold them.
        smallest_effect: the smallest change that this check could have seen, ready to print.
        advisory: to be shown and not to decide. Never set on a FAIL.
    """

    run: str
    check: str
    status: Status
    expected: str
    measured: str
    shortfall: float
    rule: str
    hint: str = ""
    case: str = ""
    tier: Tier = Tier.FLOOR
    evidence: Mapping[str, Figure] = field(default_factory=dict, hash=False)
    smallest_effect: str = ""
    advisory: bool = False

    def __str__(self) -> str:
        status = f"{self.status} (advisory)" if self.advisory else str(self.status)
        name = self.case or self.run
        text = f"{status} {name}: {self.check}: {self.measured}, expected {self.expected} ({self.rule})"
        return f"{text}; {self.hint}" if self.hint and self.status is Status.FAIL else text


def worst_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Failures first, advisory ones last; accuracies and sizes before signatures and times; then by the shortfall."""
    return sorted(
        verdicts,
        key=lambda verdict: (
            _SEVERITY.index(verdict.status),
            verdict.advisory,
            _TOLD_FIRST.index(verdict.tier),
            -verdict.shortfall,
        ),
    )


def different(
    case: str, run: str, check: str, differences: Iterable[str], *, tier: Tier = Tier.EXACT, advisory: bool = False
) -> Verdict:
    """A verdict of INCOMPARABLE, because of `differences` between the two sides."""
    return stated(
        case,
        run,
        check,
        Status.INCOMPARABLE,
        "the same on both sides",
        "; ".join(differences),
        rule="nothing that differs in this can be compared",
        tier=tier,
        advisory=advisory,
    )


def stated(
    case: str,
    run: str,
    check: str,
    status: Status,
    expected: str,
    measured: str,
    *,
    rule: str,
    tier: Tier = Tier.EXACT,
    advisory: bool = False,
) -> Verdict:
    """A verdict that rests on no figure but what was expected and what is there."""
    return Verdict(
        case=case,
        run=run,
        check=check,
        tier=tier,
        status=status,
        expected=expected,
        measured=measured,
        shortfall=1.0 if status is Status.FAIL else 0.0,
        rule=rule,
        evidence={"expected": expected, "measured": measured},
        smallest_effect=NOTHING if status is not Status.FAIL else "any contradiction",
        advisory=advisory,
    )
