"""Rows of a study: all that its results, plots and exports read of a record, one a run; and the table that keeps them.

Reading a record takes milliseconds, a row microseconds. The table is never trusted over the records: a row counts
while its record has the size and the time of change that it had then. Lines are only added, each after a line break,
so that one that was cut short spoils no other; of a record's lines the last counts, and what has none is read again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from prunebench.errors import StorageError
from prunebench.records import RunRecord
from prunebench.storage.files import write_text

VERSION = 1
"""Of what the columns mean: tables of another are read from the records again."""

Stamp = tuple[int, int]
"""Bytes of a record's file, and the nanosecond at which it was changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """The figures of a run that did not fail.

    Accuracies are in percent, `change` in points, sizes in bits and MiB. `correct` and `correct_bits` are of the
    `test_answers` of the model that is kept, as `prunebench.records.Accuracy` has them. `seconds` are of pruning,
    training and evaluating, `seconds_pruning` of once.
    """

    created: str
    revision: str | None
    dirty: bool | None
    prunebench_revision: str | None
    run_name: str
    accuracy_dense: float
    accuracy_pruned: float
    accuracy_best: float | None
    accuracy_last: float | None
    change: float | None
    test_answers: int
    best_epoch: int | None
    epochs: int
    trained_images: int
    final_loss: float | None
    finetuning: str | None
    elements: int
    nonzeros: int
    size_percent: float
    dense_size_bits: int
    pruned_size_bits: int
    file_mib: float | None
    compression: float
    speed_up: float
    latency_ratio: float | None
    seconds_pruning: float
    seconds_training: float
    seconds: float
    model: str
    data_name: str
    data: str
    origin: str
    dense: str
    pruned: str
    masks: str
    torch: str
    cpu: str
    correct: int
    correct_bits: str

    @property
    def accuracy(self) -> float:
        """Percent of the model that is kept."""
        return 100 * self.correct / self.test_answers


NAMES = tuple(field.name for field in fields(RunRow))
_VALUES = attrgetter(*NAMES)
_HEADER = json.dumps([VERSION, *NAMES]).encode("ascii")


def row_of(record: RunRecord) -> RunRow:
    """The row of a record."""
    tuned, timings, kept = record.finetuning, record.timings, record.kept_accuracy
    macs = sum(layer.macs for layer in record.layers)
    return RunRow(
        created=record.created,
        revision=record.revision,
        dirty=record.dirty,
        prunebench_revision=record.prunebench_revision,
        run_name=record.run,
        accuracy_dense=record.dense_accuracy.percent,
        accuracy_pruned=record.pruned_accuracy.percent,
        accuracy_best=tuned.best.percent if tuned else None,
        accuracy_last=tuned.last.percent if tuned else None,
        change=record.change_after_finetuning,
        test_answers=kept.images,
        best_epoch=tuned.best_epoch if tuned else None,
        epochs=len(tuned.losses) if tuned else 0,
        trained_images=tuned.signature.images if tuned else 0,
        final_loss=tuned.losses[-1] if tuned else None,
        finetuning=json.dumps(tuned.settings, sort_keys=True) if tuned else None,
        elements=record.elements,
        nonzeros=sum(record.nonzeros.values()),
        size_percent=record.size_percent,
        dense_size_bits=record.dense_size_bits,
        pruned_size_bits=record.pruned_size_bits,
        file_mib=record.file_mib,
        compression=record.dense_size_bits / max(record.pruned_size_bits, 1),
        # MACs of the dense model over each layer's MACs times its density.
        speed_up=macs / max(sum(layer.macs * layer.nonzeros / layer.numel for layer in record.layers), 1.0),
        latency_ratio=record.latency.ratio if record.latency else None,
        seconds_pruning=min(timings.prune),
        seconds_training=sum(timings.epochs),
        seconds=sum((*timings.prune, *timings.evaluate, *timings.epochs)),
        model=record.model,
        data_name=record.data.name,
        data=record.data.digest,
        origin=record.checkpoints.origin,
        dense=record.checkpoints.dense,
        pruned=record.checkpoints.pruned,
        masks=record.masks_digest,
        torch=str(record.environment.get("torch", "")),
        cpu=str(record.environment.get("cpu", "")),
        correct=kept.correct,
        correct_bits=kept.correct_bits,
    )


def record_stamps(folder: Path) -> dict[str, Stamp]:
    """The records that are in a folder, by id."""
    found: dict[str, Stamp] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".json"):
                with contextlib.suppress(FileNotFoundError):  # replaced or removed meanwhile
                    found[entry.name.removesuffix(".json")] = _stamp(entry.stat())
    return found


def read_rows(table: Path, stamps: Mapping[str, Stamp]) -> dict[str, RunRow]:
    """The rows of a table whose records are as they were, by id."""
    found: dict[str, RunRow] = {}
    with contextlib.suppress(OSError), table.open("rb") as lines:
        if next(lines, b"").rstrip(b"\n") != _HEADER:
            return {}
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):  # cut short
                id_, size, changed, *values = json.loads(line.decode("ascii"))
                if stamps.get(id_) == (size, changed):
                    shared: list[Any] = [sys.intern(value) if type(value) is str else value for value in values]
                    found[id_] = RunRow(**dict(zip(NAMES, shared, strict=True)))
    return found


def add_rows(table: Path, rows: Mapping[str, RunRow], stamps: Mapping[str, Stamp]) -> None:
    """Add rows to a table; begin it where there is none, or one of other columns.

    Where they cannot be written nothing is lost: they are read from the records again.
    """
    text = "".join(f"\n{json.dumps([id_, *stamps[id_], *_VALUES(row)])}" for id_, row in rows.items())
    with contextlib.suppress(OSError, StorageError):
        if not _is_ours(table):
            write_text(table, _HEADER.decode() + text)
            return
        with table.open("ab", buffering=0) as file:  # one write: two processes do not mix their lines
            file.write(text.encode("ascii"))


def add_row(table: Path, id_: str, row: RunRow, *, record: Path) -> None:
    """Add the row of a record that was just written."""
    add_rows(table, {id_: row}, {id_: _stamp(record.stat())})


def _is_ours(table: Path) -> bool:
    try:
        with table.open("rb") as file:
            return file.readline().rstrip(b"\n") == _HEADER
    except OSError:
        return False


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns
