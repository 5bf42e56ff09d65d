"""Tasks by name: prunebench's own, installed packages', and a user's own objects."""

from __future__ import annotations

from pathlib import Path

from prunebench.errors import UnknownNameError, WorkloadError
from prunebench.storage.imports import entry_point_names, load_entry_point, load_object
from prunebench.tasks.classification import CLASSIFICATION
from prunebench.tasks.task import Task

OWN: dict[str, Task] = {CLASSIFICATION.name: CLASSIFICATION}
NEEDED = ("name", "metric", "kind", "check", "loss", "scores", "answers", "graded", "uncertainty", "guessing")
GROUP = "prunebench.tasks"
"""The entry-point group in which packages name tasks of theirs."""


def task_names() -> list[str]:
    """Prunebench's own tasks and those of installed packages."""
    return [*dict.fromkeys([*OWN, *entry_point_names(GROUP)])]


def find_task(name: str, *, folder: Path | None = None) -> Task:
    """The task called `name`, or the object `package.module:object`; `folder` is where modules are looked for.

    Raises:
        UnknownNameError: no such task.
        ImportedNameError: it cannot be imported.
        WorkloadError: what is called so is no task.
    """
    if name in OWN:
        return OWN[name]
    if name in entry_point_names(GROUP):
        found = load_entry_point(GROUP, name, kind="task")
    elif ":" in name:
        found = load_object(name, kind="task", folder=folder)
    else:
        raise UnknownNameError("task", name, task_names())
    if isinstance(found, type):
        found = found()
    if not isinstance(found, Task):
        missing = [each for each in NEEDED if not hasattr(found, each)]
        raise WorkloadError(f"'{name}' is no task: it has no {', '.join(missing)} (prunebench.Task)")
    return found
