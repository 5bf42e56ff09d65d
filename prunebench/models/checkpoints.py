"""Checkpoints in and out: safetensors, and PyTorch files read without running any code they may hold."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from prunebench.errors import CheckpointError, StorageError
from prunebench.files import replacing


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by parameter name, on the CPU.

    Reads safetensors, a plain PyTorch `state_dict`, and a dict that holds one under `state_dict` (the course's file).
    PyTorch files are read with `weights_only=True`: a pickle that would call anything else is refused, not run.

    Raises:
        CheckpointError: absent, truncated, not a checkpoint, or a pickle that would run code.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at '{path}': expected a .safetensors, .pth or .pt file")
    loaded = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(f"'{path}' holds {type(loaded).__name__}: expected a state_dict, tensors by name")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"'{path}' holds {type(value).__name__} under {name!r}: expected a state_dict, tensors by name"
            )
        kinds = {
            "nested": value.is_nested,
            "complex": value.is_complex(),
            "quantized": value.is_quantized,
            "meta": value.is_meta,
            str(value.layout): value.layout != torch.strided,
        }
        if kind := next((kind for kind, is_so in kinds.items() if is_so), None):
            raise CheckpointError(f"'{path}' holds '{name}' as a {kind} tensor: expected plain tensors with values")
    return dict(loaded)


def load_state_(model: nn.Module, state: Mapping[str, Tensor], *, origin: str) -> None:
    """Copy `state` into `model`, in place. `origin` names it in errors (a path, say).

    Raises:
        CheckpointError: a tensor is missing, unexpected, of another shape, or not finite. The model is then unchanged.
    """
    own = model.state_dict()
    problems = [f"has no '{name}'" for name in own if name not in state]
    problems += [f"has '{name}', which the model has not" for name in state if name not in own]
    problems += [
        f"has '{name}' of shape {tuple(state[name].shape)}, the model {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        more = f" (and {len(problems) - 1} more differences)" if len(problems) > 1 else ""
        raise CheckpointError(f"'{origin}' is a checkpoint of another architecture: it {problems[0]}{more}")
    for name, tensor in state.items():
        stored = tensor.to(own[name].dtype)  # a finite float64 may overflow here, and a NaN becomes an integer
        given = tensor.double() if tensor.is_floating_point() else tensor  # not every type can be asked
        if not (torch.isfinite(given) & torch.isfinite(stored)).all():
            raise CheckpointError(f"'{origin}' has values in '{name}' that are not finite: expected finite weights")
    model.load_state_dict(dict(state))


def save_state(state: Mapping[str, Tensor], path: Path, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors by name as safetensors, whole or not at all."""
    tensors = storable(state)
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=dict(metadata) if metadata else None)
        except SafetensorError as error:  # how the library reports a full disk
            raise StorageError(f"cannot write '{path}': {error}") from error


def storable(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As safetensors takes them: on the CPU, in logical order, weights that share memory each in full."""
    tensors: dict[str, Tensor] = {}
    taken = set()
    for name, tensor in state.items():
        stored = tensor.detach().cpu().contiguous()
        place = stored.untyped_storage().data_ptr()
        tensors[name] = stored.clone() if place in taken else stored
        taken.add(place)
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """What `save_state` wrote beside the tensors; empty for a safetensors file without any.

    Raises:
        CheckpointError: absent, damaged, or no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read '{path}' as safetensors: {error}") from error


def _is_safetensors(path: Path) -> bool:
    """By content: an eight-byte header length, then a JSON object."""
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError as error:
        raise CheckpointError(f"cannot read '{path}': {error.strerror or error}") from error


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read '{path}' as safetensors, it is damaged or truncated: {error}") from error


def _read_torch(path: Path) -> Any:
    try:
        with path.open("rb") as file:  # not the path: newer versions of torch choose the format by its suffix
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"refused to load '{path}': it is no plain state_dict (a pickle that could run code, or a damaged file); "
            "save it again as safetensors or as torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # torch.load raises RuntimeError, EOFError, KeyError, ... on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"cannot read '{path}', it is damaged, truncated or no checkpoint: {reason}") from error
