"""The protocol of an export format: how a file of it is written, and opened again to be checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported file, opened by the program that such files are for.

    Attributes:
        metadata: text by name, as it was written.
        tensors: the weights and statistics in the file, by their names there, on the CPU.
        outputs: gives outputs, float (n, ...), of inputs (n, ...) as the model gets them.
        runtime: that program, with its version.
    """

    metadata: Mapping[str, str]
    tensors: Mapping[str, Tensor]
    outputs: Callable[[Tensor], Tensor]
    runtime: str


@runtime_checkable
class Format(Protocol):
    """A form that models are exported in.

    Attributes:
        name: what it is asked for by.
        suffix: of its files, with the dot.
    """

    name: str
    suffix: str

    def write(self, model: nn.Module, example: Tensor, path: Path, metadata: Mapping[str, str]) -> None:
        """Write `model`, in evaluation mode on the CPU, whole or not at all; `example` is a batch of two inputs.

        Raises:
            ExportError: it cannot be written in this form.
        """
        ...

    def open(self, path: Path, model: nn.Module) -> Exported:
        """Open a file; `model` is a model of its architecture, for forms that hold weights alone.

        Raises:
            ExportError, CheckpointError: absent, damaged, or of another form.
        """
        ...
