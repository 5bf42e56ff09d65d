"""Action of `prunebench sizes`."""

from __future__ import annotations

from pathlib import Path

from prunebench.baselines.collected import read_any
from prunebench.baselines.shelf import Baseline
from prunebench.cli.shell import show
from prunebench.errors import RecordError
from prunebench.measure import MIB
from prunebench.models import load_state
from prunebench.packing import BREAK_EVEN, DENSE, Weight, sizes_from_counts, sizes_of
from prunebench.records import RunRecord
from prunebench.report.table import Table


def sizes(sources: tuple[Path, ...]) -> None:
    """Show sizes in each format."""
    found = [_of_record(path) if path.suffix.lower() == ".json" else sizes_of(load_state(path)) for path in sources]
    names = [path.stem if len(sources) == len({each.stem for each in sources}) else str(path) for path in sources]
    rows = [
        [name, f"{100 * BREAK_EVEN[name]:.1f}" if name in BREAK_EVEN else ""]
        + [cell for each in found for cell in _cells(each, name)]
        for name in max(found, key=len)
    ]
    headers = ["format", "break-even density, %", *(f"{name}, {unit}" for name in names for unit in ("MiB", "%"))]
    show(Table(rows=rows, headers=headers))


def _cells(found: dict[str, int], name: str) -> list[str]:
    return [f"{found[name] / MIB:.3f}", f"{100 * found[name] / found[DENSE]:.2f}"] if name in found else ["-", "-"]


def _of_record(path: Path) -> dict[str, int]:
    found = read_any(path)
    record = found.record if isinstance(found, Baseline) else found
    if not isinstance(record, RunRecord):
        raise RecordError(f"'{path}' holds no sizes: expected the record of a run")
    weights = [Weight(elements=layer.numel, nonzeros=layer.nonzeros, rows=layer.shape[0]) for layer in record.layers]
    return sizes_from_counts(weights, dense=record.pruned_file_bytes, nominal=record.pruned_size_bits // 8)
