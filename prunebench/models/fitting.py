"""Tensors by name made to fit a model's own names, where wrappers, prefixes and pruning tools changed them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

State = dict[str, Tensor]

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What DataParallel, `torch.compile` and their like put into the names of what they wrap, at any level."""

COUNTER = "num_batches_tracked"


def fitted(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[State, list[str]]:
    """`state` by the names of `own`, the model's, as far as that can be done without guessing, and what was done."""
    notes: list[str] = []
    given = dict(state)
    if given.keys() != own.keys():
        for change in (_unwrapped, _pruned, _without_prefix, _without_average, _with_counters):
            given = change(given, own, notes)
    casts = Counter(
        (_kind(tensor), _kind(own[name]))
        for name, tensor in given.items()
        if name in own and own[name].dtype != tensor.dtype
    )
    notes += [f"{before} weights made {after}" for before, after in casts]
    return given, notes


def differences(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Differences of `state` from the state of a model with `own`: names and shapes."""
    return [
        *(f"has no {name!r}" for name in own if name not in state),
        *(f"has {name!r}, which the model has not" for name in state if name not in own),
        *(
            f"has {name!r} of shape {tuple(state[name].shape)}, the model {tuple(tensor.shape)}"
            for name, tensor in own.items()
            if name in state and state[name].shape != tensor.shape
        ),
    ]


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _unwrapped(state: State, own: Mapping[str, Tensor], notes: list[str]) -> State:
    parts = {part for name in own for part in name.split(".")}
    removed = {part: None for name in state for part in name.split(".")[:-1] if part in WRAPPERS and part not in parts}
    renamed = {".".join(part for part in name.split(".") if part not in removed): state[name] for name in state}
    if not removed or len(renamed) < len(state):
        return state
    notes.append(f"{', '.join(repr(f'{part}.') for part in removed)} removed from names")
    return renamed


def _pruned(state: State, own: Mapping[str, Tensor], notes: list[str]) -> State:
    """Multiply each dense weight by the mask that `torch.nn.utils.prune` keeps: the model computes with the product."""
    merged, pairs = dict(state), 0
    for name, dense in state.items():
        base = name.removesuffix("_orig")
        mask = state.get(f"{base}_mask")
        if base == name or mask is None or base in state or name in own or mask.shape != dense.shape:
            continue
        merged[base] = merged.pop(name) * merged.pop(f"{base}_mask").to(dense.dtype)
        pairs += 1
    if pairs:
        notes.append(f"{pairs} pruned as their masks say")
    return merged


def _without_prefix(state: State, own: Mapping[str, Tensor], notes: list[str]) -> State:
    prefixes = Counter(name[: -len(known)] for name in state for known in own if name.endswith(f".{known}"))
    if not prefixes or any(name in own for name in state):
        return state
    prefix = prefixes.most_common(1)[0][0]
    notes.append(f"{prefix!r} removed from names")
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _without_average(state: State, own: Mapping[str, Tensor], notes: list[str]) -> State:
    """Drop the count that `torch.optim.swa_utils.AveragedModel` keeps of what it averaged."""
    if "n_averaged" not in state or "n_averaged" in own:
        return state
    notes.append("an averaged model")
    return {name: tensor for name, tensor in state.items() if name != "n_averaged"}


def _with_counters(state: State, own: Mapping[str, Tensor], notes: list[str]) -> State:
    """Add batch norm's count of batches where it is missing: torch keeps it since 0.4.1, evaluation never reads it."""
    missing = {name: torch.zeros_like(own[name]) for name in own if name.endswith(COUNTER) and name not in state}
    if missing:
        notes.append(f"{COUNTER} set to 0")
    return state | missing
