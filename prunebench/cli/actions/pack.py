"""Action of `prunebench pack`."""

from __future__ import annotations

from pathlib import Path

from prunebench import packing
from prunebench.cli.shell import say
from prunebench.measure import MIB
from prunebench.models import load_state, read_metadata
from prunebench.storage.files import check_targets
from prunebench.storage.formats import is_safetensors


def pack(checkpoint: Path, output: Path) -> None:
    """Pack a checkpoint."""
    check_targets({"--output": output}, inputs=(checkpoint,))
    state = load_state(checkpoint)
    metadata = read_metadata(checkpoint) if is_safetensors(checkpoint) else None
    packed = len(packing.pack(state, output, metadata=metadata))
    values = sum(tensor.nbytes for tensor in state.values())
    percent = f", {100 * packed / values:.2f} %" if values else ""
    say(f"Packed: {output}, {packed / MIB:.3f} MiB of {values / MIB:.3f}{percent}")
