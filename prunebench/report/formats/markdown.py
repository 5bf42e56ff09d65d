"""The report as Markdown, for a pull request's comment and the summary of a CI step.

Headline first, then what to do, then everything else folded. A code host takes so many characters and no more: what
does not fit is left out from the end, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from prunebench.escaping import markdown
from prunebench.report.content import Report, overview, sight_table
from prunebench.report.sentences import Finding, blocks
from prunebench.report.table import Table
from prunebench.report.versions import versions_lines, versions_table

LIMIT = 60_000
"""Characters. GitHub takes 65,536 in a comment (its REST API's error message of 2026) and 1 MiB in a step's summary."""

MARK = "<!-- prunebench report -->"
"""The first line, by which the comment that is to be edited is found again."""

ICONS = {"FAIL": "❌", "INCOMPARABLE": "⚠️", "NO_BASELINE": "⚠️", "INCONCLUSIVE": "❔", "PASS": "✅", "IMPROVED": "✅"}
FIRST = 20
"""Findings that are shown unfolded."""


class Markdown:
    """GitHub's Markdown."""

    name, suffix = "markdown", ".md"

    def render(self, report: Report) -> str:
        """The whole text, at most `LIMIT` characters."""
        headline, counted = report.headline, [each for each in report.findings if not each.advisory]
        parts = [
            MARK,
            f"## {ICONS[headline.status]} {markdown(report.title)}: {markdown(headline.text)}",
            markdown(headline.next_step),
            *_versions(report),
            *_findings(counted[:FIRST]),
            *(f"> {markdown(note)}" for note in report.notes),
            *_folded(f"{len(counted) - FIRST} more findings", _findings(counted[FIRST:])),
            *_folded("For information: nothing here decides", _findings([e for e in report.findings if e.advisory])),
            *_folded(f"All runs ({len(report.runs)})", _table(overview(report.runs))),
            *_folded("What could go unseen", [*map(markdown, report.unseen), *_table(sight_table(report.verdicts))]),
            "Checks: " + ", ".join(f"{count} {status}" for status, count in report.counts.items()) + ".",
        ]
        return _fitting([part for part in parts if part])


MARKDOWN = Markdown()


def _versions(report: Report) -> list[str]:
    if report.across is None:
        return []
    lines = "\n".join(map(markdown, versions_lines(report.across)))
    return [lines, *_folded("All versions", _table(versions_table(report.across)))]


def _findings(findings: Sequence[Finding]) -> list[str]:
    """One list item a finding, under its status."""
    parts = []
    for status, group in groupby(findings, key=lambda finding: finding.status):
        parts.append(f"**{ICONS[status]} {status}**")
        parts += map(_block, blocks(group))
    return parts


def _block(block: Sequence[Finding]) -> str:
    first = block[0]
    lines = [f"- **{markdown(first.where)}**: {' '.join(markdown(finding.text) for finding in block)}"]
    if first.next_step:
        lines.append(f"  {markdown(first.next_step)}")
    if first.command:
        lines.append(f"  <br><code>{markdown(first.command)}</code>")
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    if not table.rows:
        return []
    rules = ("---" if text else "---:" for text in table.is_text)
    rows = [table.headers, *table.rows]
    lines = [f"| {' | '.join(markdown(cell) for cell in row)} |" for row in rows]
    return ["\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]])]


def _folded(summary: str, parts: Iterable[str]) -> list[str]:
    parts = list(parts)
    return [f"<details><summary>{markdown(summary)}</summary>", *parts, "</details>"] if parts else []


def _fitting(parts: Sequence[str]) -> str:
    """The parts with an empty line between them; from the first on that does not fit, a sentence in their place."""
    kept: list[str] = []
    used = opened = 0
    for number, part in enumerate(parts):
        used += len(part) + 2
        if used > LIMIT:
            kept += ["</details>"] * opened
            kept.append(f"{len(parts) - number} more parts did not fit: the page has them all.")
            break
        opened += part.startswith("<details>") - (part == "</details>")
        kept.append(part)
    return "\n\n".join(kept) + "\n"
