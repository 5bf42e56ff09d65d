"""Verdicts for a terminal: what happened, finding by finding, and what could have gone unseen. Nothing here prints."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from prunebench.baselines.comparison import case_of
from prunebench.escaping import terminal
from prunebench.gate import Status, Verdict
from prunebench.report.sentences import Finding, blocks, findings, headline, unseen
from prunebench.report.table import columns

NARROWEST, WIDEST = 60, 120
"""Of a text that wraps at the terminal's width."""
MOST = 6
"""So many sentences with one next step are shown; `--json` has all verdicts."""
COLOURS = {  # worst first
    Status.FAIL: "red",
    Status.INCOMPARABLE: "red",
    Status.NO_BASELINE: "yellow",
    Status.INCONCLUSIVE: "yellow",
    Status.PASS: "green",
    Status.IMPROVED: "green",
}

Paint = Callable[[str, str], str]
"""A word and a colour to the word as it is printed."""


def gate_lines(
    verdicts: Sequence[Verdict],
    *,
    records: Mapping[str, Path] | None = None,
    cases: int | None = None,
    advise: bool = True,
    paint: Paint = lambda word, _colour: word,
) -> list[str]:
    """The summary of a comparison, line by line: the headline, each finding, counts, and what may have gone unseen.

    Args:
        records: the files of the new records by case, for the command that approves one.
        cases: how many were compared; by default as many as the verdicts name.
        advise: say what to do too, as where a record could be approved.
        paint: colours the statuses.
    """
    head = headline(verdicts)
    lines = [*_titled(head.status, head.text, paint), *wrapped(head.next_step if advise else "", 2)]
    found = findings(verdicts, records=records)
    for block in blocks(finding for finding in found if not finding.advisory):
        lines += ["", *finding_lines(block, paint), *(next_lines(block[0]) if advise else ())]
    if noted := [finding for finding in found if finding.advisory]:
        lines += ["", "Noted, without a say in the result:"]
        for finding in noted[:MOST]:
            lines += wrapped(f"{finding.where}: {finding.text}", 2)
        lines += _more(len(noted) - MOST)
    lines += ["", *wrapped(_counts(verdicts, len({*map(case_of, verdicts)}) if cases is None else cases))]
    return [*lines, *(line for said in unseen(verdicts) if said not in head.text for line in wrapped(said))]


def failure_lines(verdicts: Iterable[Verdict], records: Mapping[str, Path]) -> list[str]:
    """Findings on `verdicts`, then each record, then what to do next."""
    found = blocks(findings(verdicts, records=records))
    lines = [line for block in found for line in finding_lines(block)]
    lines += [f"record: {terminal(path)}" for path in records.values()]
    return [*lines, *dict.fromkeys(line for block in found for line in next_lines(block[0]))]


def finding_lines(block: Sequence[Finding], paint: Paint = lambda word, _colour: word) -> list[str]:
    """Findings on the same cases: status and cases, then a sentence each."""
    lines = _titled(block[0].status, block[0].where, paint)
    for finding in block[:MOST]:
        lines += wrapped(finding.text, 2)
    return [*lines, *_more(len(block) - MOST)]


def next_lines(finding: Finding) -> list[str]:
    """Say what to do about a finding, with its command on a line of its own."""
    lines = wrapped(f"next: {finding.next_step}", 2) if finding.next_step else []
    return [*lines, *([f"    {terminal(finding.command)}"] if finding.command else [])]


def _counts(verdicts: Iterable[Verdict], cases: int) -> str:
    counts = Counter("only noted" if verdict.advisory else str(verdict.status) for verdict in verdicts)
    passed = counts.pop(Status.PASS, 0) + counts.pop(Status.IMPROVED, 0)
    others = f" The others: {', '.join(f'{count:,} {status}' for status, count in counts.items())}." if counts else ""
    plural = "" if cases == 1 else "s"
    return f"{passed:,} of {passed + counts.total():,} checks passed, {cases:,} case{plural}.{others}"


def _titled(status: Status, text: str, paint: Paint) -> list[str]:
    first, *rest = wrapped(f"{status}  {text}")
    return [paint(str(status), COLOURS[status]) + first.removeprefix(str(status)), *(f"  {line}" for line in rest)]


def wrapped(text: str, indent: int = 0) -> list[str]:
    """The text in lines of the terminal's width; a word is never broken, so that it can be copied."""
    width = max(NARROWEST, min(columns(), WIDEST)) - 2 - indent
    lines = textwrap.wrap(terminal(text), width, break_long_words=False, break_on_hyphens=False)
    return [" " * indent + terminal(line) for line in lines]


def _more(count: int) -> list[str]:
    return [f"  ... and {count:,} more: 'prunebench compare --json FILE' has all of them"] if count > 0 else []
