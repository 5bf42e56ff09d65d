"""Verdicts for a code host: Markdown, annotations, and where GitHub Actions wants them. Nothing here prints."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.errors import StorageError
from prunebench.escaping import annotation, markdown

if TYPE_CHECKING:
    from prunebench.gate import Verdict

ANNOTATIONS = 5
_ICONS = {"FAIL": "❌", "INCOMPARABLE": "⚠️", "NO_BASELINE": "⚠️", "INCONCLUSIVE": "❔", "PASS": "✅", "IMPROVED": "✅"}


def markdown_summary(verdicts: Iterable[Verdict], *, notes: Sequence[str] = (), title: str = "prunebench gate") -> str:
    """Counts, then a table of all that did not pass, worst first, then the number of passed checks by case."""
    from prunebench.baselines.comparison import case_of
    from prunebench.gate import Status, worst_first
    from prunebench.report.verdicts import least_sensitive, notable

    ordered = worst_first(verdicts)
    counts = Counter(verdict.status for verdict in ordered)
    passed = [verdict for verdict in ordered if verdict.status is Status.PASS]
    shown, together = notable(ordered)
    total = ", ".join(f"{count} {status}" for status, count in counts.items())
    lines = [f"## {title}", "", total or "nothing compared"]
    lines += ["", *map(markdown, [*least_sensitive(ordered), *together])]
    if shown:
        lines += ["", "| | case | check | measured | expected | rule | smallest effect seen |", "|" + "---|" * 7]
        lines += [_row(verdict) for verdict in shown]
    if passed:
        by_case = Counter(case_of(verdict) for verdict in passed)
        lines += ["", f"<details><summary>{len(passed)} checks passed</summary>", ""]
        lines += [f"- {markdown(case)}: {count}" for case, count in sorted(by_case.items())]
        lines += ["", "</details>"]
    lines += ["", *(f"> {markdown(note)}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def workflow_commands(verdicts: Iterable[Verdict], *, limit: int = ANNOTATIONS) -> list[str]:
    """GitHub annotations of the worst few: `::error` for a failure, `::warning` for what was not judged."""
    from prunebench.baselines.comparison import case_of
    from prunebench.gate import Status, worst_first

    levels = {Status.FAIL: "error", Status.INCOMPARABLE: "error", Status.NO_BASELINE: "warning"}
    levels[Status.INCONCLUSIVE] = "warning"
    worst = [verdict for verdict in worst_first(verdicts) if verdict.status in levels and not verdict.advisory]
    return [
        annotation(levels[verdict.status], title=f"{verdict.status} {case_of(verdict)}", message=str(verdict))
        for verdict in worst[:limit]
    ]


def in_github_actions(environment: Mapping[str, str] = os.environ) -> bool:
    """True in a step of GitHub Actions, where annotations are read."""
    return environment.get("GITHUB_ACTIONS") == "true"


def append_step_summary(text: str, environment: Mapping[str, str] = os.environ) -> None:
    """Add Markdown to the summary of a GitHub Actions step, where `GITHUB_STEP_SUMMARY` is set.

    Raises:
        StorageError: the file it names cannot be written.
    """
    if not (target := environment.get("GITHUB_STEP_SUMMARY")):
        return
    try:
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise StorageError(f"cannot write the step summary '{target}': {error.strerror or error}") from error


def _row(verdict: Verdict) -> str:
    from prunebench.baselines.comparison import case_of

    status = f"{_ICONS[verdict.status]} {verdict.status}"
    if verdict.advisory:
        status = f"{verdict.status} (advisory)"
    cells = [status, case_of(verdict), verdict.check, verdict.measured, verdict.expected, verdict.rule]
    cells.append(verdict.smallest_effect)
    return f"| {' | '.join(map(markdown, cells))} |"
