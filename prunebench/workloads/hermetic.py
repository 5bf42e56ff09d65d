"""Parts that workloads share whose data need no download."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.data import Dataset
from prunebench.documented.floors import Floor
from prunebench.documented.runs import is_documented_run
from prunebench.errors import DataError
from prunebench.workloads.workload import LoadingProgress

if TYPE_CHECKING:
    from prunebench.records import RunRecord


def needs_no_data(name: str, load: Callable[[], Dataset]) -> Callable[[Path | None, LoadingProgress | None], Dataset]:
    """A loader of data that needs no path: who names one meant other data."""

    def loaded(path: Path | None, _progress: LoadingProgress | None) -> Dataset:
        if path is not None:
            raise DataError(
                f"workload '{name}' reads no data, got '{path}': name the workload it is for (cifar10), or none"
            )
        return load()

    return loaded


def quick_floor(percent: float) -> Callable[[RunRecord], Iterable[Floor]]:
    """The least accuracy of the best epoch, for documented runs by the recipe `quick` from a dense model of the recipe.

    From several seeds, each with its own dense model (docs/measurements/runs.md): the lowest of the five runs' lower
    limits, for all of them, because so few seeds do not tell the runs' spreads apart. `full` was not measured and
    has none.
    """

    def limits(record: RunRecord) -> Iterable[Floor]:
        # Another dense model may be worse to begin with.
        own = record.checkpoints.is_own and record.recipe == "quick"
        if own and record.finetuning and is_documented_run(record.run, record.run_digest):
            yield Floor(figure="accuracy_best", least=percent, rule=f"floor of {record.workload} {record.recipe}")

    return limits
