"""Errors of prunebench, as one tree. Every message names the thing, the value it got and what it would take.

    PrunebenchError
    ├── UnknownNameError    a run, layer, workload, model, ... that does not exist
    ├── ImportedNameError   a package.module:object that cannot be imported
    ├── MissingExtraError   a package that is not installed, of an extra of prunebench
    ├── WorkloadError       a workload, or a prunebench.toml, that cannot be used
    ├── PlanError           a sparsity plan that cannot be applied: a bad sparsity, a missing layer, NaN weights
    ├── ModelError          a model that cannot be copied, or does not answer images with scores
    ├── MaskError           masks that do not fit a model, or a pruned weight that is not zero
    ├── CheckpointError     a checkpoint that cannot be read, or of another architecture
    ├── DataError           a data set that cannot be used
    │   └── DataNotFoundError   no data set at all
    ├── ScanError           a sensitivity scan that cannot be made as asked
    ├── TrainingError       training that cannot start, or that diverged
    ├── ShrinkError         a model whose channels cannot be removed, or a missing torch-pruning
    ├── ThresholdError      a limit of the gate that is outside its range
    ├── RecordError         a record or baseline that cannot be read
    ├── HistoryError        a history of records, or a bisection of commits, that cannot be made
    │   └── SkippedCommitError  a commit that a bisection cannot measure
    ├── StudyError          a study that cannot be made, or that failed too often
    ├── ApprovalError       a record that must not become a baseline
    ├── PlotError           a plot that cannot be drawn: nothing to show, or a file that is no picture
    ├── ReportError         a report that cannot be made, or a form that nobody knows
    ├── ExportError         a model that cannot be exported, or a file that is no export
    ├── LatencyError        a comparison of times that cannot be made
    └── StorageError        a file that cannot be written or read: full disk, no permission

The command line turns each into one line and exit code 2. A `TypeError` or another exception that is not in this tree
is a defect of prunebench.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from prunebench.escaping import shown, terminal

MOST_NAMES = 20
"""In a message: of longer lists the first are enough to see what is meant."""


def percent_hint(value: float) -> str:
    """A hint for an error about a fraction in [0, 1] that was perhaps given in percent."""
    return f"; did you mean {float(value) / 100:g}?" if 1.5 <= value <= 100 else ""


def first_line(error: Exception) -> str:
    """One line on an exception that somebody else's code raised: its type, and the first line of its message."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


class PrunebenchError(Exception):
    """Base of every error that prunebench raises on purpose: one line, whatever the names in it hold."""

    def __init__(self, message: str) -> None:
        super().__init__(terminal(message))


class UnknownNameError(PrunebenchError):
    """A name that is not in a list of known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        more = f", ... ({len(names):,} in all)" if len(names) > MOST_NAMES else ""
        hint = did_you_mean(name, names)
        name = shown(repr(name), most=100)
        super().__init__(f"unknown {kind} {name}: expected one of {', '.join(names[:MOST_NAMES])}{more}{hint}")


def did_you_mean(name: str, names: Collection[str]) -> str:
    """A hint for an error: the one of `names` that `name` is a part of, between dots or after a slash, or misspells."""
    meant = _meant(name, names)
    return f"; did you mean {meant!r}?" if meant else ""


def _meant(name: str, names: Collection[str]) -> str | None:
    if not name or len(name) > 1000:  # comparing takes the product of the lengths
        return None
    parts = [each for each in names if f".{name}." in f".{each}." or each.endswith(f"/{name}")]
    if len(parts) == 1:
        return parts[0]
    ends = {each.removesuffix(".weight").rpartition(".")[2].lower(): each for each in names}
    for known in ({each.lower(): each for each in names}, ends):
        if close := difflib.get_close_matches(name.lower(), known, n=1):
            return known[close[0]]
    return None


class ImportedNameError(PrunebenchError):
    """A `package.module:object` that cannot be imported."""


class MissingExtraError(PrunebenchError):
    """A package that is not installed, of an extra of prunebench."""


class WorkloadError(PrunebenchError):
    """A workload, or a file that describes one, that cannot be used."""


class PlanError(PrunebenchError):
    """A sparsity plan that cannot be read or applied."""


class ModelError(PrunebenchError):
    """A model that cannot be copied, or does not answer images with scores."""


class MaskError(PrunebenchError):
    """Masks that do not fit a model, or a model that does not keep them."""


class CheckpointError(PrunebenchError):
    """A checkpoint that cannot be read, or that belongs to another architecture."""


class DataError(PrunebenchError):
    """A data set that is incomplete, damaged or not what it says."""


class DataNotFoundError(DataError):
    """No data set where one was looked for."""


class ScanError(PrunebenchError):
    """A sensitivity scan that cannot be made as it was asked for."""


class TrainingError(PrunebenchError):
    """Training that cannot start, or whose loss is no longer finite."""


class RecordError(PrunebenchError):
    """A record or baseline that cannot be read: damaged, edited, or of a newer schema."""


class HistoryError(PrunebenchError):
    """A history of records, or a bisection of commits, that cannot be made."""


class SkippedCommitError(HistoryError):
    """A commit that a bisection cannot measure: its command left no record that can be compared."""


class StudyError(PrunebenchError):
    """A study that cannot be made as it was asked for, or of which too many runs failed."""


class ApprovalError(PrunebenchError):
    """A record that must not become a baseline, or an approval that names nobody."""


class PlotError(PrunebenchError):
    """A plot that cannot be drawn: nothing to show, too much at once, or a file that is no picture."""


class ReportError(PrunebenchError):
    """A report that cannot be made: nothing to show, or a form that nobody knows."""


class ShrinkError(PrunebenchError):
    """A model whose pruned channels cannot be removed."""


class ExportError(PrunebenchError):
    """A model that cannot be exported, or a file that is no export."""


class LatencyError(PrunebenchError):
    """A comparison of times that cannot be made: a side that fails, or settings that make no sense."""


class ThresholdError(PrunebenchError):
    """A limit of the gate that is outside its range."""


class StorageError(PrunebenchError):
    """A file that cannot be written or read."""
