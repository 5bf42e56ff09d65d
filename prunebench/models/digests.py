"""Digests of a model's values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor

from prunebench.errors import CheckpointError


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, whatever the file format, device or memory format.

    Raises:
        CheckpointError: something in it is no tensor (what `get_extra_state` gives).
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        if not isinstance(state[name], Tensor):
            raise CheckpointError(f"'{name}' of the model's state is {type(state[name]).__name__}: expected a tensor")
        tensor = state[name].detach().cpu()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(as_integers(tensor).contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def as_integers(tensor: Tensor) -> Tensor:
    """The memory of `tensor`, seen as integers: these torch copies in each version, not all types of small floats."""
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.view(integers.get(tensor.element_size(), tensor.dtype))
