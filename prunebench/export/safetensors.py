"""safetensors: the weights alone, for who has the model's code."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata as packages
from pathlib import Path

import torch
from torch import Tensor, nn

from prunebench.export.format import Exported
from prunebench.models import copied, load_state, load_state_, read_metadata, save_state
from prunebench.tasks import answering, ask


class Safetensors:
    """safetensors: parameters and buffers by name."""

    name, suffix = "safetensors", ".safetensors"

    def write(self, model: nn.Module, example: Tensor, path: Path, metadata: Mapping[str, str]) -> None:  # noqa: ARG002
        """Write the weights of `model`."""
        save_state(model.state_dict(), path, metadata=metadata)

    def open(self, path: Path, model: nn.Module) -> Exported:
        """Load a file into a copy of `model`.

        Raises:
            CheckpointError: absent, damaged, or of another architecture.
        """
        tensors, loaded = load_state(path), copied(model)
        load_state_(loaded, tensors, origin=str(path))

        def outputs(inputs: Tensor) -> Tensor:
            with answering(loaded, "fp32"):
                return ask(loaded, inputs)

        runtime = f"torch {torch.__version__}, safetensors {packages.version('safetensors')}"
        return Exported(metadata=read_metadata(path), tensors=tensors, outputs=outputs, runtime=runtime)


SAFETENSORS = Safetensors()
