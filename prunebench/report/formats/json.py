"""The report for machines: headline, findings, figures and verdicts, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from prunebench.report.content import Report, command, figures


class Json:
    """JSON."""

    name, suffix = "json", ".json"

    def render(self, report: Report) -> str:
        """The whole file; figures by their names with the unit."""
        content = {
            "title": report.title,
            "created": report.created,
            "headline": asdict(report.headline),
            "counts": report.counts,
            "unseen": report.unseen,
            "findings": [asdict(finding) for finding in report.findings],
            "runs": [
                {
                    "case": section.case,
                    "status": section.status,
                    "figures": figures(section.record),
                    "command": command(section.record),
                }
                for section in report.runs
            ],
            "scans": [{"case": section.case, "status": section.status} for section in report.scans],
            "notes": report.notes,
            **({"across": report.across.content} if report.across else {}),
        }
        return json.dumps(content, indent=1, default=str) + "\n"


JSON = Json()
