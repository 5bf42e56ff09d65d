"""Tasks by name: prunebench's own, installed packages', and a user's own objects."""

from __future__ import annotations

from pathlib import Path

from prunebench.errors import WorkloadError
from prunebench.storage.imports import load_extension
from prunebench.tasks.classification import CLASSIFICATION
from prunebench.tasks.task import Task

OWN: dict[str, Task] = {CLASSIFICATION.name: CLASSIFICATION}
NEEDED = ("name", "metric", "kind", "check", "loss", "scores", "answers", "graded", "uncertainty", "guessing")
GROUP = "prunebench.tasks"
"""The entry-point group in which packages name tasks of theirs."""


def find_task(name: str, *, folder: Path | None = None) -> Task:
    """The task called `name`, or the object `package.module:object`; `folder` is where modules are looked for.

    Raises:
        UnknownNameError: no such task.
        ImportedNameError: it cannot be imported.
        WorkloadError: what is called so is no task.
    """
    if name in OWN:
        return OWN[name]
    found = load_extension(name, kind="task", group=GROUP, known=OWN, folder=folder)
    if not isinstance(found, Task):
        missing = [each for each in NEEDED if not hasattr(found, each)]
        raise WorkloadError(f"'{name}' is no task: it has no {', '.join(missing)} (prunebench.Task)")
    return found
