"""Verdicts in plain sentences: what happened, how sure that is, what to do next. Every report says it in these words.

A sentence stands alone: a reader needs neither the docs nor the verdict's rule, which stays beside it as evidence.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prunebench.baselines.comparison import case_of, decisive
from prunebench.gate import Status, Tier, Verdict, worst_first
from prunebench.gate.deployment import SAME_MODEL
from prunebench.storage.files import RUN_FOLDER

EFFECT = "smallest_effect_points"
"""Under this name the evidence of an accuracy comparison has the true drop that fails with the stated power."""

SHOWN = 3
"""So many of a list are named, be it of cases or of differences."""


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
        return _some(self.cases)


def headline(verdicts: Sequence[Verdict]) -> Headline:
    """The sentence on all of `verdicts`: the worst that counts, or what the silence is worth."""
    counted = worst_first(decisive(verdicts))
    if not counted:
        return Headline(
            status=Status.INCOMPARABLE,
            text="Nothing was compared with a baseline.",
            next_step="Record a run, approve it with 'prunebench baseline approve', and compare the next one with it.",
        )
    cases: dict[Status, list[str]] = {}
    for verdict in counted:
        cases.setdefault(verdict.status, []).append(case_of(verdict))
    said = {status: _listed(sorted({*found})) for status, found in cases.items()}
    if failed := [verdict for verdict in counted if verdict.status is Status.FAIL]:
        tiers = {verdict.tier for verdict in failed}
        worse = "Worse than the baseline" if tiers & {Tier.ACCURACY, Tier.TIME} else "Not the same as the baseline"
        return Headline(
            status=Status.FAIL,
            text=f"{'Not as promised' if tiers == {Tier.FLOOR} else worse}: {_count(len(failed), 'check')} failed in "
            f"{said[Status.FAIL]}.",
            next_step="Begin with the first finding: mend it, or, if it is meant, do what it says.",
        )
    rest = " Nothing else got worse." if Status.PASS in cases else ""
    if Status.INCOMPARABLE in cases:
        return Headline(
            status=Status.INCOMPARABLE,
            text=f"Not compared: {said[Status.INCOMPARABLE]}. That is no pass.{rest}",
            next_step="The findings say what stands in the way.",
        )
    if Status.NO_BASELINE in cases:
        return Headline(
            status=Status.NO_BASELINE,
            text=f"New, without an approved baseline: {said[Status.NO_BASELINE]}.{rest}",
            next_step="Look at the figures, and approve them once.",
        )
    sensitivity = " ".join(unseen(verdicts)[:1])
    if Status.INCONCLUSIVE in cases:
        return Headline(
            status=Status.INCONCLUSIVE,
            text=f"Nothing is shown to be worse, but {_count(len(cases[Status.INCONCLUSIVE]), 'check')} could not "
            f"tell. {sensitivity}".rstrip(),
        )
    better = f" Better: {said[Status.IMPROVED]}." if Status.IMPROVED in cases else ""
    tiers = {verdict.tier for verdict in verdicts if verdict.status is not Status.INCOMPARABLE}
    said_so = "Nothing got worse." if Tier.ACCURACY in tiers else "Nothing that was compared got worse."
    if tiers <= {Tier.FLOOR}:
        said_so = "Sizes and floors are as promised. Nothing was compared with a baseline."
    return Headline(status=Status.PASS, text=f"{said_so}{better} {sensitivity}".rstrip())


def unseen(verdicts: Iterable[Verdict]) -> list[str]:
    """Sentences on what could have been missed: the drop that every comparison sees, and what was not compared."""
    verdicts = list(verdicts)
    accuracies = [verdict for verdict in verdicts if EFFECT in verdict.evidence]
    compared = {case_of(verdict) for verdict in accuracies}
    missing = {case_of(verdict) for verdict in verdicts if verdict.tier is Tier.ACCURACY} - compared
    sentences = []
    if accuracies:
        least = max(accuracies, key=_effect)
        where = f"{case_of(least)} ({_subject(least)})"
        if math.isinf(_effect(least)):
            sentences.append(f"Some comparisons have too few test images to find a drop of any size, as {where}.")
        else:
            drop, power = least.smallest_effect.removesuffix(" power").split(" points with ")
            sentences.append(
                f"A drop in accuracy of {drop} points or more would have been found everywhere, with a chance of "
                f"{power}. A smaller one may go unseen, most easily in {where}."
            )
    if missing:
        sentences.append(f"Accuracy was not compared in {_listed(sorted(missing))}.")
    return sentences


def findings(verdicts: Iterable[Verdict], *, records: Mapping[str, Path] | None = None) -> list[Finding]:
    """List what did not simply pass, worst first; verdicts that say the same of several cases are one finding.

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


def blocks(found: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one status on the same cases that end in the same advice, together."""
    together: dict[tuple[object, ...], list[Finding]] = {}
    for finding in found:
        key = (finding.status, finding.advisory, *finding.cases, finding.next_step, finding.command)
        together.setdefault(key, []).append(finding)
    return [*together.values()]


def _what_is_said(verdict: Verdict) -> tuple[object, ...]:
    """A key that verdicts share which only repeat one another."""
    if verdict.status is Status.INCOMPARABLE:
        if verdict.tier is Tier.TIME:
            return (verdict.status, verdict.tier, verdict.rule if _ELSEWHERE in verdict.rule else verdict.measured)
        return (verdict.status, verdict.advisory, verdict.check, verdict.measured)
    if verdict.status is Status.NO_BASELINE:
        return (verdict.status, verdict.check if verdict.check == "baseline" else case_of(verdict))
    if verdict.status is Status.INCONCLUSIVE and verdict.advisory:
        return (verdict.status, verdict.tier)
    if verdict.status is Status.INCONCLUSIVE and verdict.tier is Tier.EXACT:
        return (verdict.status, verdict.check, verdict.measured)
    return (verdict.status, case_of(verdict), verdict.tier, verdict.check)


def _together(group: Sequence[Verdict]) -> str:
    """One text for verdicts that repeat one another."""
    first = group[0]
    if first.status is Status.NO_BASELINE and first.check != "baseline":
        points = [verdict.check.removeprefix("new point: ") for verdict in group]
        return f"New points of this scan, which nobody has approved yet: {_some(points)}."
    if first.status is Status.INCONCLUSIVE and first.advisory:
        where = f"{_subject(first)} of {case_of(first)}"
        if first.tier is Tier.TIME:
            ratio = float(first.evidence["ratio"] or 0)
            return f"Some times grew, at most {ratio:.2f} times ({where}). The samples do not tell whether that stays."
        drop = float(first.evidence["drop_points"] or 0)
        return f"Accuracy moved, but by no more than chance explains: at most {drop:.2f} points down ({where})."
    return "Times were not compared: " + _why_no_times(first) if first.tier is Tier.TIME else sentence(first)


def sentence(verdict: Verdict) -> str:
    """Say in one or two sentences what a verdict found."""
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
    """Say what to do about a verdict, before `command_for` it; empty where there is nothing to do."""
    hint = f"{_capital(verdict.hint)}." if verdict.hint and not verdict.hint.startswith("if this is") else ""
    if verdict.advisory:
        return ""
    if verdict.status is Status.FAIL and verdict.tier is Tier.FLOOR:
        return f"{_mend(verdict)} {hint}".rstrip()
    if verdict.check == VANISHED:
        return "Run it again; if it is gone for good, remove its baseline:"
    if verdict.check == UNUSABLE and verdict.measured.startswith("record"):
        return "Mend the run, and run it again."
    return {
        Status.FAIL: f"{hint} Mend it; if it is meant, commit, run again, and approve it:".lstrip(),
        Status.INCOMPARABLE: "Undo the difference, and run again; if it is meant, commit, run again, and approve it:",
        Status.NO_BASELINE: "Look at the figures, and approve them once:",
        Status.INCONCLUSIVE: hint or "Find out what changed since the baseline was approved.",
    }.get(verdict.status, "")


def _mend(verdict: Verdict) -> str:
    if verdict.rule.startswith(SAME_MODEL):
        return "Mend what makes the file: the weights are the same, and the answers have to be."
    if verdict.rule.startswith("exact"):
        return "Look at what was pruned: the counts follow from the run's sparsities."
    return (
        "A floor is a promise, which no approval changes. Mend what fell, or change the promise where it stands: "
        "in prunebench.toml or the workload's source."
    )


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
    paths = {path for case in cases if (path := records.get(case))}
    folders = [path.parent for path in paths if len(paths) > 1 or path.parent.name == RUN_FOLDER.name]
    path = next(iter([*folders, *paths]), RUN_FOLDER)  # of a folder the newest record, which is the one run again
    words = ["prunebench", "baseline", "approve", str(path), "--only", only]
    words += ["--incomparable", only] if verdict.status is Status.INCOMPARABLE else []
    return f"{shlex.join(words)} --reason '...'"


VANISHED = "vanished case"
UNUSABLE = "record and baseline"
_OTHER_WEIGHTS = {
    "accuracy, same dense weights": "Accuracy was not compared: the dense model is not the baseline's",
    "curves, same base weights": "The scans were not compared: the model is not the baseline's",
}
_ELSEWHERE = "advisory: another machine ("


def _not_compared(verdict: Verdict) -> str:
    check, measured = verdict.check, verdict.measured
    kind, _, point = check.partition(" point: ")
    figure = f"The point {point}" if point else _capital(_subject(verdict))
    if verdict.tier is Tier.TIME:
        return f"The time of {check.removeprefix('seconds, ')} was not compared: {_why_no_times(verdict)}"
    if verdict.tier is Tier.EXACT and verdict.evidence.get("unit"):
        return f"{figure}: {measured} now, {verdict.expected} before. The dense models differ, so no wonder."
    said = {
        "baseline": "Nobody has approved a baseline yet, so there was nothing to compare with.",
        "new": f"{figure} is new: nobody has approved it yet.",
        "vanished": f"{figure} is in the baseline, but was not scanned this time.",
        VANISHED: "There is a baseline, but nothing was measured this time.",
        UNUSABLE: f"Nothing could be compared. The {measured}.",
        "same experiment": f"This is not the experiment that the baseline is of: {_changes(measured)}.",
    }
    if check in _OTHER_WEIGHTS:
        return _other_weights(verdict)
    return said.get(kind, f"{figure} was not compared: {_changes(measured)}.")


def _why_no_times(verdict: Verdict) -> str:
    if _ELSEWHERE not in verdict.rule:
        return f"{verdict.measured}."
    return f"this is another machine ({_changes(verdict.rule.removeprefix(_ELSEWHERE).removesuffix(')'))})."


def _other_weights(verdict: Verdict) -> str:
    """Other weights, and, where one recipe made both, what is known of the machines and of floors."""
    weights, one_recipe, rest = verdict.measured.partition("; one recipe; ")
    notes = rest.split("; ") if rest else []
    machine = [note for note in notes if " -> " in note]
    sentences = [f"{_OTHER_WEIGHTS[verdict.check]} ({_changes(weights)})"]
    if one_recipe:
        sentences.append(f"One recipe trained both, on two machines ({_changes('; '.join(machine))})")
    sentences += [_capital(note) for note in notes if note not in machine]
    return ". ".join(sentences) + "."


def _floor(verdict: Verdict) -> str:
    if verdict.rule.startswith("exact"):
        where = verdict.check.removeprefix("nonzeros of ")
        return f"In {where} {verdict.measured} weights are kept; the sparsities leave exactly {verdict.expected}."
    figure, _, unit = verdict.check.rpartition(", ")
    rule = f" ({verdict.rule})" if verdict.rule else ""
    return f"{_capital(figure)}: {verdict.measured} {unit}. Promised: {verdict.expected}{rule}."


def _exact(verdict: Verdict) -> str:
    figure, unit = _capital(_subject(verdict)), verdict.evidence.get("unit")
    if verdict.status is Status.PASS:
        return f"{figure}: {verdict.measured}."
    if verdict.status is Status.INCONCLUSIVE:
        other = verdict.measured.replace("other ", "")
        return (
            f"The machine is the same, but these are not, byte for byte: {other}. That is no fault by itself; "
            "something in between changed."
        )
    if unit == "digest":
        return f"{verdict.check.partition(',')[0].capitalize()} are not the baseline's, though the dense weights are."
    old, new = verdict.expected.split(", "), verdict.measured.split(", ")
    pairs = [(before.rpartition(" "), after.rpartition(" ")) for before, after in zip(old, new, strict=False)]
    if len(old) == len(new) and all(before[0] == after[0] for before, after in pairs):
        changes = ", ".join(f"{before[0]} {before[2]} became {after[2]}" for before, after in pairs)
    else:
        changes = f"{verdict.expected} became {verdict.measured}"
    return f"{figure} changed: {changes}{f' {unit}' * (unit != 'fractions')}. Any change fails."


def _signature(verdict: Verdict) -> str:
    if verdict.check == "training as it was done" and verdict.status is Status.FAIL:
        return f"Fine-tuning was not done as for the baseline: {_changes(verdict.measured)}."
    figure = f"{_capital(verdict.check)}: {verdict.measured}"
    if verdict.status is Status.PASS:
        return f"{figure}, like the baseline's."
    old, _, factor = verdict.expected.partition(" within ")
    said = f"{figure}, in the baseline {old}: more than {factor} apart"
    measured = "fine-tuning does something else" if verdict.status is Status.FAIL else (
        "that limit was not measured on this workload, so it decides nothing alone"
    )  # fmt: skip
    return f"{said}; {measured}."


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
    counts = f"of {images:,} images, {lost:,} were right and are wrong now, {gained:,} the other way round"
    sure = f"{100 * (1 - float(evidence['alpha'] or 0)):g} %"
    if verdict.status is Status.FAIL:
        return f"{moved}: {counts}. Chance alone would do this {_odds(float(evidence['p_holm'] or 0))}."
    if verdict.status is Status.IMPROVED:
        return f"{moved}: {counts}."
    if verdict.status is Status.PASS:
        return f"{moved}: {counts}. The true drop is under {max(upper, 0):.2f} points ({sure} sure)."
    return (
        f"{moved}: {counts}. That may be chance, or a true drop of up to {max(upper, 0):.2f} points ({sure} sure): "
        f"too few images to tell. A drop fails from {margin:.2f} points, if chance does not explain it."
    )


def _seeds(verdict: Verdict) -> str:
    evidence = verdict.evidence
    drop = float(evidence["drop_points"] or 0)
    way = "fell" if drop > 0 else "rose"
    means = (
        f"from {float(evidence['baseline_mean_percent'] or 0):.2f} to {float(evidence['new_mean_percent'] or 0):.2f} %"
    )
    spread, allowed = (float(evidence[key] or 0) for key in ("spread_points", "allowance_points"))
    told = {
        Status.FAIL: f"Seeds alone explain at most {allowed:.2f} points.",
        Status.INCONCLUSIVE: "The seeds are too few, or scatter too much, to tell.",
    }.get(verdict.status, "")
    return (
        f"{_capital(_subject(verdict))} {way} by {abs(drop):.2f} points, {means}; from seed to seed it scatters by "
        f"{spread:.2f} points (standard deviation, {evidence['new_seeds']} new seeds). {told}".rstrip()
    )


def _time(verdict: Verdict) -> str:
    evidence = verdict.evidence
    if "latency_ratio" in evidence:
        figure = verdict.check.partition(",")[0]
        return f"{_capital(figure)}: {verdict.measured} times as fast as dense, {verdict.expected} before."
    ratio, what = evidence.get("ratio"), verdict.check.removeprefix("seconds, ")
    old, new = float(evidence["baseline_median_seconds"] or 0), float(evidence["new_median_seconds"] or 0)
    if verdict.status is Status.PASS or not isinstance(ratio, int | float):
        return f"The time of {what}: {new:.3g} s, {old:.3g} s before."
    longer = (
        f"{what} takes {ratio:.2f} times as long as before"
        if ratio >= 1
        else f"{what} takes {1 / ratio:.2f} times less time"
    )
    said = f"{_capital(longer)}: {old:.3g} s then, {new:.3g} s now."
    return said if verdict.status is not Status.INCONCLUSIVE else f"{said} The samples do not tell whether that stays."


def _subject(verdict: Verdict) -> str:
    """The checked thing, to stand in a sentence."""
    return {
        "accuracy of the base model": "accuracy of the model before pruning",
        "accuracy of the pruned model": "accuracy of the pruned model",
        "nonzeros": "number of nonzero weights",
        "elements of all parameters": "number of all parameters",
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
    """A list of differences, for people: `torch 2.9 -> 2.14; cores 2 -> 4` with words for the arrow, the first few."""
    parts = [_DIGESTS.sub(r"\1 \2 became \3", part) for part in text.rstrip(".").split("; ")]
    return _some([part.replace(" -> ", " became ") for part in parts], separator="; ")


_DIGESTS = re.compile(r"(.+) digest (\w{1,8})\w* -> (\w{1,8})\w*")


def _some(texts: Sequence[str], *, separator: str = ", ") -> str:
    """The first few, and how many more there are."""
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return separator.join(texts[:SHOWN]) + more


def _effect(verdict: Verdict) -> float:
    effect = verdict.evidence[EFFECT]
    return float(effect) if isinstance(effect, int | float) else math.inf


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {_count(len(names) - 1, 'other case')}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
