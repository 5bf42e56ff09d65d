"""Footnotes of plots: which weights and data the numbers are of."""

from __future__ import annotations

from collections.abc import Iterable

from prunebench.records import RunRecord, case_id


def record_source(record: RunRecord) -> str:
    """The case and the weights of one record."""
    return f"{case_id(record)}: pruned weights {record.checkpoints.pruned[:12]} from {record.checkpoints.origin}"


def checkpoint_sources(records: Iterable[RunRecord]) -> list[str]:
    """A line a dense checkpoint."""
    lines = {
        f"{record.checkpoints.origin}: weights {record.checkpoints.dense[:12]}; {record.data.name} "
        f"{record.data.digest[:12]}, {record.dense_accuracy.images:,} test images"
        + (f"; best epoch chosen on {record.finetuning.selected_on} images" if record.finetuning else "")
        for record in records
    }
    return sorted(lines)
