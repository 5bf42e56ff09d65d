"""Export formats by name or by the suffix of a file, and the metadata that every exported file holds."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from prunebench.errors import ExportError
from prunebench.export.format import Format
from prunebench.export.onnx import ONNX
from prunebench.export.safetensors import SAFETENSORS
from prunebench.storage.imports import load_extension
from prunebench.workloads import DenseModel, Workload

GROUP = "prunebench.export_formats"
"""The entry-point group in which packages name formats of theirs."""

OWN: dict[str, Format] = {each.name: each for each in (ONNX, SAFETENSORS)}


def find_format(name: str) -> Format:
    """The format called `name`, or the object `package.module:object`.

    Raises:
        UnknownNameError: no such format.
        ImportedNameError: it cannot be imported.
        ExportError: what is called so is no format.
    """
    if name in OWN:
        return OWN[name]
    found = load_extension(name, kind="export format", group=GROUP, known=OWN)
    if not isinstance(found, Format):
        raise ExportError(f"'{name}' is no export format: it needs name, suffix, write(...) and open(...)")
    return found


def format_for(path: Path) -> Format:
    """The format of a file, by its suffix.

    Raises:
        ExportError: no format has it.
    """
    for known in OWN.values():
        if known.suffix == path.suffix.lower():
            return known
    suffixes = ", ".join(each.suffix for each in OWN.values())
    raise ExportError(f"cannot export to '{path}': its suffix must be one of {suffixes}, got '{path.suffix}'")


def metadata_of(workload: Workload, dense: DenseModel) -> dict[str, str]:
    """Texts that tell of what a file was exported; `state` is the digest that its check goes by."""
    return {
        "state": dense.digest,
        "model": workload.model or type(dense.model).__name__,
        "workload": workload.name,
        "weights": dense.origin,
        "exported_by": f"prunebench {metadata.version('prunebench')}",
    }
