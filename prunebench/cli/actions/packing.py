"""Actions of `prunebench pack`, `unpack` and `sizes`."""

from __future__ import annotations

from pathlib import Path

from prunebench.baselines.collected import read_any
from prunebench.baselines.shelf import Baseline
from prunebench.cli.shell import say, show
from prunebench.errors import RecordError
from prunebench.measure import MIB
from prunebench.models import load_state, read_metadata, save_state, state_digest
from prunebench.packing import BREAK_EVEN, DENSE, Weight, read_packed, sizes_from_counts, sizes_of
from prunebench.packing import pack as pack_state
from prunebench.records import RunRecord
from prunebench.report.table import Table
from prunebench.storage.files import check_targets
from prunebench.storage.formats import is_safetensors


def pack(checkpoint: Path, output: Path) -> None:
    """Pack a checkpoint."""
    check_targets({"--output": output}, inputs=(checkpoint,))
    state = load_state(checkpoint)
    metadata = read_metadata(checkpoint) if is_safetensors(checkpoint) else None
    packed = len(pack_state(state, output, metadata=metadata))
    values = sum(tensor.nbytes for tensor in state.values())
    say(f"Packed: {output}, {_mib(packed)} MiB of {_mib(values)}; weights {state_digest(state)[:12]}")


def unpack(file: Path, output: Path) -> None:
    """Unpack a file as safetensors."""
    check_targets({"--output": output}, inputs=(file,))
    packed = read_packed(file)
    save_state(packed.tensors, output, metadata=packed.metadata)
    say(f"Unpacked: {output}, {len(packed.tensors)} tensors; weights {packed.digest[:12]}")


def sizes(sources: tuple[Path, ...]) -> None:
    """Show sizes in each format."""
    found = [_of_record(path) if path.suffix.lower() == ".json" else sizes_of(load_state(path)) for path in sources]
    names = [path.name if len(sources) == len({each.name for each in sources}) else str(path) for path in sources]
    formats = max(found, key=len)
    rows = [
        [name, f"{100 * BREAK_EVEN[name]:.1f}" if name in BREAK_EVEN else ""]
        + [cell for each in found for cell in _cells(each, name)]
        for name in formats
    ]
    headers = ["format", "break-even density, %", *(part for name in names for part in (f"{name}, MiB", "% of dense"))]
    show(Table(rows=rows, headers=headers))


def _cells(found: dict[str, int], name: str) -> list[str]:
    return [_mib(found[name]), f"{100 * found[name] / found[DENSE]:.2f}"] if name in found else ["-", "-"]


def _mib(size: int) -> str:
    return f"{size / MIB:.3f}"


def _of_record(path: Path) -> dict[str, int]:
    found = read_any(path)
    record = found.record if isinstance(found, Baseline) else found
    if not isinstance(record, RunRecord):
        raise RecordError(f"'{path}' holds no sizes: expected the record of a run")
    weights = [Weight(elements=layer.numel, nonzeros=layer.nonzeros, rows=layer.shape[0]) for layer in record.layers]
    return sizes_from_counts(weights, dense=record.pruned_file_bytes, nominal=record.pruned_size_bits // 8)
