"""GitHub Actions: annotations of a run, and the summary of a step. Nothing here prints."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from prunebench.baselines.comparison import case_of
from prunebench.errors import StorageError
from prunebench.escaping import annotation
from prunebench.gate import Status, Verdict, worst_first
from prunebench.report.sentences import sentence

ANNOTATIONS = 5


def workflow_commands(verdicts: Iterable[Verdict], *, limit: int = ANNOTATIONS) -> list[str]:
    """GitHub annotations of the worst few: `::error` for a failure, `::warning` for what was not judged."""
    levels = {Status.FAIL: "error", Status.INCOMPARABLE: "error", Status.NO_BASELINE: "warning"}
    levels[Status.INCONCLUSIVE] = "warning"
    worst = [verdict for verdict in worst_first(verdicts) if verdict.status in levels and not verdict.advisory]
    return [
        annotation(levels[verdict.status], title=f"{verdict.status} {case_of(verdict)}", message=sentence(verdict))
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
