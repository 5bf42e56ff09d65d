"""Footnotes of plots: which weights and data the numbers are of."""

from __future__ import annotations

from collections.abc import Iterable

from prunebench.records import RunRecord, case_id


def record_source(record: RunRecord) -> str:
    """The case and the weights of one record."""
    return f"{case_id(record)}: pruned weights {record.checkpoints.pruned[:12]} from {record.checkpoints.origin}"


def checkpoint_sources(records: Iterable[RunRecord]) -> list[str]:
    """A line a dense checkpoint."""
    return dense_sources(
        (
            record.checkpoints.origin,
            record.checkpoints.dense,
            record.data.name,
            record.data.digest,
            record.dense_accuracy.images,
            record.finetuning.selected_on if record.finetuning else None,
        )
        for record in records
    )


def dense_sources(found: Iterable[tuple[str, str, str, str, int, str | None]]) -> list[str]:
    """A line for each origin and digest of weights, name and digest of data, test images, and images chosen on."""
    return [
        f"{origin}: weights {dense[:12]}; {data} {digest[:12]}, {images:,} test images"
        + (f"; best epoch chosen on {chosen_on} images" if chosen_on else "")
        for origin, dense, data, digest, images, chosen_on in sorted(set(found), key=str)
    ]
