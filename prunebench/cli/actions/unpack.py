"""Action of `prunebench unpack`."""

from __future__ import annotations

from pathlib import Path

from prunebench.cli.shell import say
from prunebench.models import save_state
from prunebench.packing import read_packed
from prunebench.storage.files import check_targets


def unpack(file: Path, output: Path) -> None:
    """Unpack a file as safetensors."""
    check_targets({"--output": output}, inputs=(file,))
    packed = read_packed(file)
    save_state(packed.tensors, output, metadata=packed.metadata)
    say(f"Unpacked: {output}, {len(packed.tensors)} tensors, weights {packed.digest[:12]}")
