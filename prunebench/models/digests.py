"""Digests of a model's values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from torch import Tensor

from prunebench.errors import CheckpointError
from prunebench.machine.values import value_bytes


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, whatever the file format, device or memory format.

    Raises:
        CheckpointError: something in it is no tensor (what `get_extra_state` gives).
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        if not isinstance(state[name], Tensor):
            raise CheckpointError(f"'{name}' of the model's state is {type(state[name]).__name__}: expected a tensor")
        tensor = state[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(value_bytes(tensor).data)
    return digest.hexdigest()
