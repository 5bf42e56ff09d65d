"""Checkpoints in and out: safetensors, and PyTorch files read without running any code they may hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save, save_file
from torch import Tensor, nn

from prunebench.errors import CheckpointError, ModelError, StorageError
from prunebench.models.channels import METADATA, channels_of, keep_channels_
from prunebench.models.fitting import State, differences, fitted
from prunebench.models.parameters import copied
from prunebench.models.pickles import PICKLED_MODEL, is_pickled_model, read_pickled, stands_for
from prunebench.storage.files import replacing
from prunebench.storage.formats import is_safetensors, other_format

ENTRIES = (
    *("state_dict", "model_state_dict", "model", "net", "network", "params", "weights"),
    *("state_dict_ema", "model_ema", "ema_state_dict", "params_ema", "ema"),
)
"""Under which a checkpoint keeps its weights: what is taken first where several sets fit."""

PLAIN_ENTRIES = ("", "state_dict")
"""Taking these is not worth a note."""

DEPTH = 2


def load_state(path: Path) -> State:
    """The tensors of a checkpoint by parameter name, on the CPU.

    Reads safetensors, a plain PyTorch `state_dict`, and a dict that holds one, beside whatever else. Of a PyTorch file
    only tensors and plain values are unpickled: nothing in it can run code.

    Raises:
        CheckpointError: absent, truncated, not a checkpoint, a pickle that would run code, or several sets of weights.
    """
    states = _states_of(path)
    entry = next(iter(states))
    if len(states) > 1 and _rank(entry) == len(ENTRIES):
        raise CheckpointError(f"'{path}' holds tensors under {_listed(states)}: expected one state_dict")
    return states[entry]


def load_checkpoint_(model: nn.Module, path: str | Path) -> tuple[str, ...]:
    """Load a file into `model`, in place. Returns what was done to make it fit, in words; nothing for a plain one.

    Of several sets of weights in the file the first that fits is taken, the averaged ones after the others. Where the
    file is of a shrunk model, `model`, the original, is cut down to its channels first.

    Raises:
        CheckpointError: as `load_state` and `load_state_`. The model is then unchanged.
    """
    path = Path(path)
    states = _states_of(path)
    notes = cut_to_(model, path, states)
    own = model.state_dict()
    fitting = [entry for entry, state in states.items() if not differences(fitted(state, own)[0], own)]
    entry = next(iter(fitting or states))
    notes = (*notes, *load_state_(model, states[entry], origin=str(path)))
    others = [other for other in fitting if other != entry]
    if others or entry not in PLAIN_ENTRIES:
        instead = f", not {_listed(others)}" if others else ""
        notes = (f"from entry {entry!r}{instead}", *notes)
    return notes


def cut_to_(model: nn.Module, path: Path, states: Mapping[str, State] | None = None) -> tuple[str, ...]:
    """Cut `model` down to the channels of the shrunk model in a file, in place; of another file leave it as it is.

    Returns what was done, in words. `states` are those of the file, where they are read already.

    Raises:
        CheckpointError: the file's list or tensors do not fit the model, which is then unchanged; or it cannot be read.
    """
    states = states or _states_of(path)
    if not is_safetensors(path) or METADATA not in (metadata := _header(path)):
        return ()
    try:
        channels = channels_of(metadata)
        trial = copied(model)
        keep_channels_(trial, channels)
        load_state_(trial, states[""], origin=str(path))
        keep_channels_(model, channels)
    except ModelError as error:
        raise CheckpointError(f"'{path}' is a shrunk model of another architecture: {error}") from error
    removed = sum(kept.of - len(kept.indices) for sides in channels.values() for side, kept in sides.items()
                  if side == "out")  # fmt: skip
    return (f"shrunk by {removed:,} channels",)


def load_state_(model: nn.Module, state: Mapping[str, Tensor], *, origin: str) -> tuple[str, ...]:
    """Copy `state` into `model`, in place. Returns what was done to make it fit, in words. `origin` names it in errors.

    Names lose what wrappers and frameworks put before them; `weight_orig` and `weight_mask` become pruned weights;
    batch norm's counters may be missing; other types become the model's.

    Raises:
        CheckpointError: a tensor is missing, unexpected, of another shape, or not finite. The model is then unchanged.
    """
    own = model.state_dict()
    given, notes = fitted(state, own)
    if problems := differences(given, own):
        more = f" (and {len(problems) - 1} more differences)" if len(problems) > 1 else ""
        raise CheckpointError(f"'{origin}' is a checkpoint of another architecture: it {problems[0]}{more}")
    for name, tensor in given.items():
        if tensor.is_complex() and not own[name].is_complex():
            raise CheckpointError(f"'{origin}' holds {name!r} as {tensor.dtype}: expected {own[name].dtype}")
        stored = tensor.to(own[name].dtype)  # a finite float64 may overflow here, and a NaN becomes an integer
        as_given = tensor.double() if tensor.is_floating_point() else tensor  # not every type can be asked
        if not (torch.isfinite(as_given) & torch.isfinite(stored)).all():
            raise CheckpointError(f"'{origin}' has values in {name!r} that are not finite: expected finite weights")
    model.load_state_dict(given)
    return tuple(notes)


def save_state(state: Mapping[str, Tensor], path: str | Path, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors by name as safetensors, whole or not at all.

    Raises:
        CheckpointError: safetensors has not the type of one.
        StorageError: `path` cannot be written.
    """
    path = Path(path)
    tensors = storable(state)
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=dict(metadata) if metadata else None)
        except SafetensorError as error:  # how the library reports a full disk
            raise StorageError(f"cannot write '{path}': {error}") from error
        except KeyError as error:
            raise _unknown_type(error) from error


def as_safetensors(state: Mapping[str, Tensor]) -> bytes:
    """The bytes of the file that `save_state` writes.

    Raises:
        CheckpointError: safetensors has not the type of one.
    """
    try:
        return save(storable(state))
    except KeyError as error:
        raise _unknown_type(error) from error


def _unknown_type(error: KeyError) -> CheckpointError:
    """The error for a type that the library has not: it fails with the type as a missing key."""
    return CheckpointError(f"safetensors has no type for {error}: expected real numbers or complex64")


def storable(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors takes them: on the CPU, in logical order, weights that share memory each in full."""
    tensors: dict[str, Tensor] = {}
    taken = set()
    for name, tensor in state.items():
        stored = tensor.detach().cpu().contiguous()
        place = stored.untyped_storage().data_ptr()
        tensors[name] = stored.clone() if place in taken else stored
        taken.add(place)
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata that `save_state` wrote beside the tensors; empty for a safetensors file without any.

    Raises:
        CheckpointError: absent, damaged, or no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read '{path}' as safetensors: {error}") from error


def _header(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file that was read, by any name: the library takes UTF-8 names alone."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    metadata: dict[str, str] = header.get("__metadata__", {})
    return metadata


def _read_safetensors(path: Path) -> Any:
    try:
        loaded = load(path.read_bytes())  # not by path: the library takes UTF-8 names alone
        return dict(sorted(loaded.items()))  # its order is another each time
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read '{path}' as safetensors, it is damaged or truncated: {error}") from error


def _states_of(path: Path) -> dict[str, State]:
    """Every set of tensors by name in a file, by the entry that holds it ("" for the file itself), likeliest first."""
    if path.is_dir():
        raise CheckpointError(f"'{path}' is a folder: name the .safetensors, .pth or .pt file in it")
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at '{path}': expected a .safetensors, .pth or .pt file")
    safetensors = is_safetensors(path)
    if not safetensors and (other := other_format(path)):
        raise CheckpointError(f"'{path}' is {other}")
    loaded = _read_safetensors(path) if safetensors else read_pickled(path)
    if not isinstance(loaded, dict):
        raise CheckpointError(f"'{path}' holds {_kind(loaded)}: expected a state_dict, tensors by name")
    found = _states(loaded)
    if found.keys() <= {""} and any(map(is_pickled_model, (loaded, *dict.values(loaded)))):
        raise CheckpointError(f"'{path}' {PICKLED_MODEL}")
    if not found:
        entries = ", ".join(f"{name!r} ({_kind(value)})" for name, value in [*dict.items(loaded)][:5])
        raise CheckpointError(f"'{path}' holds {entries or 'nothing'}: expected a state_dict, tensors by name")
    states = {entry: found[entry] for entry in sorted(found, key=_rank)}
    odd = {entry: what for entry, state in states.items() if (what := _odd_tensor(state))}
    if odd.keys() == states.keys():
        raise CheckpointError(f"'{path}' holds {next(iter(odd.values()))}: expected plain tensors with values")
    return {entry: state for entry, state in states.items() if entry not in odd}


def _states(loaded: dict[Any, Any], entry: str = "", depth: int = 0) -> dict[str, State]:
    """Tensors by name in a dict and in the dicts below it, but those of an optimizer, whose parameters have numbers."""
    items = list(dict.items(loaded))  # not its own method: an unpickled OrderedDict may have been given another
    found: dict[str, State] = {}
    if own := {
        name: value for name, value in items if isinstance(name, str) and (isinstance(value, Tensor) or _unread(value))
    }:
        found[entry] = own
    for name, value in items:
        if isinstance(name, str) and isinstance(value, dict) and depth < DEPTH and not name.startswith("optim"):
            found |= _states(value, f"{entry}.{name}" if entry else name, depth + 1)
    return found


def _odd_tensor(state: State) -> str | None:
    """The first tensor of a state that holds no plain values, in words."""
    for name, value in state.items():
        if kind := _unread(value):
            return f"{name!r} as a {kind} tensor"
        kinds = {
            "nested": value.is_nested,
            "quantized": value.is_quantized,
            "meta": value.is_meta,
            str(value.layout): value.layout != torch.strided,
        }
        if kind := next((kind for kind, is_so in kinds.items() if is_so), None):
            return f"{name!r} as a {kind} tensor"
    return None


def _unread(value: object) -> str | None:
    """The kind of a tensor that torch does not let its restricted unpickler make; it depends on torch's version."""
    _, _, kind = (stands_for(value) or "").partition("torch._utils._rebuild_")
    return kind.removesuffix("_tensor").replace("_", " ") or None


def _rank(entry: str) -> int:
    name = entry.rpartition(".")[2]
    return ENTRIES.index(name) if name in ENTRIES else len(ENTRIES)


def _listed(entries: Iterable[str]) -> str:
    return ", ".join(map(repr, entries))


def _kind(value: object) -> str:
    return stands_for(value) or type(value).__name__
