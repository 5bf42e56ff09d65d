"""Verdicts in plain sentences: what happened, how sure that is, what to do next. Every report says it in these words.

A sentence stands alone: a reader needs neither the docs nor the verdict's rule, which stays beside it as evidence.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prunebench.baselines.comparison import case_of, decisive
from prunebench.gate import Status, Tier, Verdict, worst_first
from prunebench.storage.files import RUN_FOLDER

EFFECT = "smallest_effect_points"
"""Under this name the evidence of an accuracy comparison has the true drop that fails with the stated power."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The one thing to know: a status, a sentence, what to do next."""

    status: Status
    text: str
    next_step: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One or more verdicts that say the same, in a sentence.

    Attributes:
        cases: ids; more than one where several say it for one reason.
        status: of all of them.
        advisory: shown, and decides nothing.
        text: what was found, in full sentences.
        next_step: what to do about it; empty where there is nothing.
        command: what `next_step` ends with, ready to be typed; empty where it ends without.
        verdicts: the evidence.
    """

    cases: Sequence[str]
    status: Status
    advisory: bool
    text: str
    next_step: str
    command: str
    verdicts: Sequence[Verdict]

    @property
    def where(self) -> str:
        """The cases in a few words."""
        return self.cases[0] if len(self.cases) == 1 else f"{len(self.cases)} cases"


def headline(verdicts: Sequence[Verdict]) -> Headline:
    """The sentence on all of `verdicts`: the worst that counts, or what the silence is worth."""
    counted = worst_first(decisive(verdicts))
    if not counted:
        return Headline(
            status=Status.INCOMPARABLE,
            text="Nothing was compared with a baseline.",
            next_step="Record a run, approve it with 'prunebench baseline approve', and compare the next one with it.",
        )
    by_status = Counter(verdict.status for verdict in counted)
    cases = {status: {case_of(verdict) for verdict in counted if verdict.status is status} for status in by_status}
    if Status.FAIL in by_status:
        where = _listed(sorted(cases[Status.FAIL]))
        failed = _count(by_status[Status.FAIL], "check")
        return Headline(
            status=Status.FAIL,
            text=f"Worse than before: {failed} failed in {where}.",
            next_step="Begin with the first finding: mend it, or approve it if it is meant.",
        )
    if Status.INCOMPARABLE in by_status:
        return Headline(
            status=Status.INCOMPARABLE,
            text=f"Not known: {_listed(sorted(cases[Status.INCOMPARABLE]))} could not be compared. "
            "Nothing else got worse.",
            next_step="A comparison that could not be made is no pass: the findings say what differs.",
        )
    if Status.NO_BASELINE in by_status:
        return Headline(
            status=Status.NO_BASELINE,
            text=f"New: {_listed(sorted(cases[Status.NO_BASELINE]))} has no approved baseline. Nothing else got worse.",
            next_step="Look at the figures, and approve them once.",
        )
    sensitivity = " ".join(unseen(counted)[:1])
    if Status.INCONCLUSIVE in by_status:
        return Headline(
            status=Status.INCONCLUSIVE,
            text=f"Nothing is shown to be worse. {_count(by_status[Status.INCONCLUSIVE], 'check')} could not tell. "
            + sensitivity,
        )
    better = f" {_listed(sorted(cases[Status.IMPROVED]))} got better." if Status.IMPROVED in by_status else ""
    return Headline(status=Status.PASS, text=f"Nothing got worse.{better} {sensitivity}".rstrip())


def unseen(verdicts: Iterable[Verdict]) -> list[str]:
    """Sentences on what could have been missed: the drop that every comparison sees, and what was not compared."""
    verdicts = list(verdicts)
    accuracies = [verdict for verdict in verdicts if EFFECT in verdict.evidence]
    compared = {case_of(verdict) for verdict in accuracies}
    missing = {case_of(verdict) for verdict in verdicts if verdict.tier is Tier.ACCURACY} - compared
    sentences = []
    if accuracies:
        least = max(accuracies, key=_effect)
        where = f"{case_of(least)}: {_subject(least)}"
        if math.isinf(_effect(least)):
            sentences.append(f"There are too few test images to see a drop of any size, first in {where}.")
        else:
            drop, power = least.smallest_effect.removesuffix(" power").split(" points with ")
            sentences.append(
                f"A drop in accuracy of {drop} points would have been seen everywhere (with a chance of {power}). "
                f"A smaller one may go unseen, first in {where}."
            )
    if missing:
        sentences.append(f"The accuracy of {_listed(sorted(missing))} was not compared.")
    return sentences


def findings(verdicts: Iterable[Verdict], *, records: Mapping[str, Path] | None = None) -> list[Finding]:
    """What did not simply pass, worst first; verdicts that say the same of several cases are one finding.

    `records` are the files of the new records by case, for the command that approves one.
    """
    groups: dict[tuple[object, ...], list[Verdict]] = {}
    for verdict in worst_first(verdicts):
        if verdict.status is not Status.PASS:
            groups.setdefault(_what_is_said(verdict), []).append(verdict)
    found = []
    for group in groups.values():
        first, cases = group[0], list(dict.fromkeys(map(case_of, group)))
        found.append(
            Finding(
                cases=cases,
                status=first.status,
                advisory=first.advisory,
                text=_together(group) if len(group) > 1 else sentence(first),
                next_step=next_step(first),
                command=command_for(first, cases=cases, records=records),
                verdicts=group,
            )
        )
    return found


def _what_is_said(verdict: Verdict) -> tuple[object, ...]:
    """A key that verdicts share which only repeat one another: advice for one and the same reason."""
    if verdict.advisory and verdict.status is Status.INCOMPARABLE:
        return (verdict.tier, verdict.rule if verdict.tier is Tier.TIME else (verdict.check, verdict.measured))
    if verdict.status is Status.NO_BASELINE:
        return (verdict.status, case_of(verdict))
    return (verdict.tier, case_of(verdict), verdict.check)


def _together(group: Sequence[Verdict]) -> str:
    first = group[0]
    cases = _count(len({case_of(verdict) for verdict in group}), "case")
    if first.tier is Tier.TIME:
        return f"Times were not compared in {cases}: this is another machine ({_machines(first)})."
    if first.status is Status.NO_BASELINE:
        return f"Nobody has approved a baseline for {_count(len(group), 'figure')} of this case yet."
    return f"{_capital(first.check)}: this cannot be compared in {cases}: {_changes(first.measured)}."


def sentence(verdict: Verdict) -> str:
    """What a verdict found, in one or two sentences."""
    if verdict.status in (Status.NO_BASELINE, Status.INCOMPARABLE):
        return _not_compared(verdict)
    by_tier = {
        Tier.FLOOR: _floor,
        Tier.EXACT: _exact,
        Tier.ACCURACY: _seeds if "baseline_seeds" in verdict.evidence else _paired,
        Tier.SIGNATURE: _signature,
        Tier.TIME: _time,
    }
    return by_tier[verdict.tier](verdict)


def next_step(verdict: Verdict) -> str:
    """What to do about a verdict, before `command_for` it; empty where there is nothing to do."""
    hint = f"{_capital(verdict.hint)}." if verdict.hint and not verdict.hint.startswith("if this is") else ""
    if verdict.advisory:
        return ""
    if verdict.status is Status.FAIL and verdict.tier is Tier.FLOOR:
        promise = "A floor is a promise, which no approval changes: mend what fell, or change the promise."
        return f"Counts follow from the sparsities. {hint}" if verdict.rule.startswith("exact") else promise
    if verdict.status is Status.INCOMPARABLE and verdict.check == VANISHED:
        return "Run it again; if it is gone for good, remove its baseline:"
    return {
        Status.FAIL: f"{hint} Mend it; if it is meant, commit, run again, and approve it:".lstrip(),
        Status.INCOMPARABLE: "Record both sides under the same conditions; if the difference is meant, approve it:",
        Status.NO_BASELINE: "Look at the figures, and approve them once:",
        Status.INCONCLUSIVE: hint,
    }.get(verdict.status, "")


def command_for(verdict: Verdict, *, cases: Sequence[str] = (), records: Mapping[str, Path] | None = None) -> str:
    """The command that `next_step` ends with; empty where it ends without.

    `records` are the files of the new records by case.
    """
    cases, records = cases or [case_of(verdict)], records or {}
    only = ",".join(cases)
    if not next_step(verdict).endswith(":"):
        return ""
    if verdict.check == VANISHED:
        return shlex.join(["prunebench", "baseline", "remove", "--only", only])
    path = records.get(cases[0]) if len(cases) == 1 else None
    words = ["prunebench", "baseline", "approve", str(path or RUN_FOLDER), "--only", only]
    words += ["--incomparable", only] if verdict.status is Status.INCOMPARABLE else []
    return f"{shlex.join(words)} --reason '...'"


VANISHED = "vanished case"


def _not_compared(verdict: Verdict) -> str:
    if verdict.status is Status.NO_BASELINE:
        return "Nobody has approved a baseline for this yet, so there is nothing to compare it with."
    if verdict.check == VANISHED:
        return "It has a baseline, but nothing was measured this time."
    if verdict.tier is Tier.TIME and _ELSEWHERE in verdict.rule:
        return f"{_capital(verdict.check)} were not compared: this is another machine ({_machines(verdict)})."
    return f"{_capital(verdict.check)}: this cannot be compared: {_changes(verdict.measured)}."


_ELSEWHERE = "advisory: another machine ("


def _machines(verdict: Verdict) -> str:
    """What differs between two machines, without the figures."""
    differences = verdict.rule.removeprefix(_ELSEWHERE).removesuffix(")").split("; ")
    return _changes("; ".join(differences))


def _floor(verdict: Verdict) -> str:
    figure, rule = _capital(verdict.check), f" ({verdict.rule})" if verdict.rule else ""
    return f"{figure}: {verdict.measured}. It has to be {verdict.expected}{rule}."


def _exact(verdict: Verdict) -> str:
    figure = _capital(_subject(verdict))
    if verdict.status is Status.PASS:
        return f"{figure}: {verdict.measured}."
    if verdict.status is Status.INCONCLUSIVE:
        return (
            f"The same machine did not compute the same bytes again: {verdict.measured}. That is no fault by itself; "
            "something in between changed."
        )
    return f"{figure} changed from {verdict.expected} to {verdict.measured}. It should not change at all."


def _signature(verdict: Verdict) -> str:
    if verdict.check == "training as it was done" and verdict.status is Status.FAIL:
        return f"Fine-tuning did other things than the baseline's: {_changes(verdict.measured)}."
    figure = f"{_capital(verdict.check)}: {verdict.measured}"
    if verdict.status is Status.PASS:
        return f"{figure}, like the baseline's."
    return f"{figure}. That is not like the baseline's, {verdict.expected} ({verdict.rule})."


def _paired(verdict: Verdict) -> str:
    evidence, subject = verdict.evidence, _capital(_subject(verdict))
    before, after, drop = (float(evidence[key] or 0) for key in ("baseline_percent", "new_percent", "drop_points"))
    lost, gained, images = (int(evidence[key] or 0) for key in ("b_only_baseline_right", "c_only_new_right", "images"))
    upper, margin = float(evidence["drop_upper_points"] or 0), float(evidence["margin_points"] or 0)
    if evidence["identical_predictions"]:
        return f"{subject}: {after:.2f} %, every answer the same as before."
    way = "fell" if drop > 0 else "rose"
    moved = f"{subject} {way} by {abs(drop):.2f} points, from {before:.2f} to {after:.2f} %" if drop else (
        f"{subject} is {after:.2f} %, as before"
    )  # fmt: skip
    counts = f"of {images:,} images {lost:,} were right and are wrong now, {gained:,} the other way"
    sure = f"{100 * (1 - float(evidence['alpha'] or 0)):g} %"
    if verdict.status is Status.FAIL:
        return f"{moved}: {counts}. Chance alone does this {_odds(float(evidence['p_holm'] or 0))}."
    if verdict.status is Status.IMPROVED:
        return f"{moved}: {counts}."
    if verdict.status is Status.PASS:
        return f"{moved}: {counts}. The true drop is under {max(upper, 0):.2f} points ({sure} sure)."
    return (
        f"{moved}: {counts}. That is not enough to call it worse; the true drop may be up to {upper:.2f} points "
        f"({sure} sure), and a drop fails from {margin:.2f}."
    )


def _seeds(verdict: Verdict) -> str:
    evidence = verdict.evidence
    drop = float(evidence["drop_points"] or 0)
    way = "fell" if drop > 0 else "rose"
    means = (
        f"from {float(evidence['baseline_mean_percent'] or 0):.2f} to {float(evidence['new_mean_percent'] or 0):.2f} %"
    )
    return (
        f"{_capital(_subject(verdict))} {way} by {abs(drop):.2f} points, {means}; from seed to seed it scatters by "
        f"{float(evidence['spread_points'] or 0):.2f} (standard deviation, {evidence['new_seeds']} new seeds)."
    )


def _time(verdict: Verdict) -> str:
    evidence = verdict.evidence
    ratio, what = evidence.get("ratio"), verdict.check.removeprefix("seconds, ")
    old, new = float(evidence["baseline_median_seconds"] or 0), float(evidence["new_median_seconds"] or 0)
    if verdict.status is Status.PASS or not isinstance(ratio, int | float):
        return f"The time of {what}: {new:.3g} s, {old:.3g} s before."
    times = f"{ratio:.2f} times as long" if ratio >= 1 else f"{1 / ratio:.2f} times less"
    said = f"The time of {what} is {times} as before: {old:.3g} s then, {new:.3g} s now."
    return said if verdict.status is not Status.INCONCLUSIVE else f"{said} The samples do not tell whether that stays."


def _subject(verdict: Verdict) -> str:
    """The checked thing, to stand in a sentence."""
    return {
        "accuracy of the base model": "accuracy of the model before pruning",
        "accuracy of the pruned model": "accuracy of the pruned model",
        "nonzeros": "number of nonzero weights",
    }.get(verdict.check, _in_scan(verdict))


def _in_scan(verdict: Verdict) -> str:
    layer, at, sparsity = verdict.check.rpartition(" at ")
    if at and verdict.run.startswith("scan-"):
        return f"accuracy with {layer} pruned to sparsity {sparsity}"
    return verdict.check


def _odds(p: float) -> str:
    if p < 1e-6:
        return "less than once in a million times"
    times = 1 / p
    digits = 10 ** max(0, math.floor(math.log10(times)) - 1)
    return f"about once in {math.floor(times / digits) * digits:,} times"


def _changes(text: str) -> str:
    """A list of differences, for people: `torch 2.9 -> 2.14; cores 2 -> 4` with words for the arrow."""
    return text.replace(" -> ", " became ").rstrip(".")


def _effect(verdict: Verdict) -> float:
    effect = verdict.evidence[EFFECT]
    return float(effect) if isinstance(effect, int | float) else math.inf


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {_count(len(names) - 1, 'other case')}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
