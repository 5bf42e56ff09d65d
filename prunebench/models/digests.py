"""What a model is, in one line: its values, and what it computes from an image beside them."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunebench.errors import CheckpointError, ModelError

_HOOKS = frozenset({"_forward_hooks", "_forward_pre_hooks"})
_BOOKKEEPING = frozenset(vars(nn.Module())) - _HOOKS
"""What every module has: parameters and buffers are taken by name, its mode is set by whoever runs it."""

Seen = dict[int, tuple[int, Any]]
"""By address, each with its number, and kept from being freed: nothing is described twice, whatever refers to it."""

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)
_VERSIONED = frozenset({"torch", "builtins", *sys.stdlib_module_names})
"""Whose code is not read: their versions are part of every fingerprint."""


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, whatever the file format, device or memory format.

    Raises:
        CheckpointError: something in it is no tensor (what `get_extra_state` gives).
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        if not isinstance(state[name], Tensor):
            raise CheckpointError(f"'{name}' of the model's state is {type(state[name]).__name__}: expected a tensor")
        tensor = state[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def forward_digest(model: nn.Module) -> str:
    """SHA-256 over what `state_digest` leaves out and answers depend on.

    That is the modules with their settings, how weights lie in memory, buffers (those that no checkpoint holds too),
    attributes, hooks, and classes that are neither torch's nor Python's: their code, the functions, classes and objects
    it names, and what they hold for all their objects. What is reached through another module (`helpers.scale(x)`)
    counts by its name alone, and so do loggers and what neither has attributes nor can be pickled (a lock).

    Raises:
        ModelError: what the model holds refers to itself too deeply to be followed.
    """
    strides = [list(parameter.stride()) for parameter in model.parameters()]
    buffers = state_digest(dict(model.named_buffers()))
    seen: Seen = {}
    try:
        modules = [[name, _of_module(module, seen)] for name, module in model.named_modules()]
    except RecursionError as error:
        raise ModelError(
            "what the model's objects hold is nested too deeply to tell it from other models: expected settings, not "
            "chains of objects; keep those out of its attributes and of what its code names"
        ) from error
    return hashlib.sha256(json.dumps([str(model), strides, buffers, modules]).encode()).hexdigest()


def _of_module(module: nn.Module, seen: Seen) -> Any:
    attributes = {name: value for name, value in vars(module).items() if name not in _BOOKKEEPING}
    for hooks in _HOOKS:  # their keys are numbers that depend on how many hooks the process has made
        attributes[hooks] = list(attributes[hooks].values())
    seen[id(module)] = len(seen), module
    return [_of_class(type(module), seen), _described(attributes, seen)]


def _of_class(kind: type, seen: Seen) -> Any:
    return [_name(kind), *(_described(found, seen) for each in kind.__mro__ for found in _own(each))]


def _own(kind: type) -> Iterator[Any]:
    """Functions of a class, also those of Python's own protocols, and what else all its objects share."""
    if _is_versioned(kind):
        return
    for name, found in sorted(vars(kind).items()):
        function = getattr(found, "__func__", getattr(found, "fget", found))
        if isinstance(function, FunctionType):
            yield function
        elif not (name.startswith("__") or isinstance(found, MemberDescriptorType | GetSetDescriptorType)):
            yield [name, found]


def _described(value: Any, seen: Seen) -> Any:
    """`value` as JSON takes it, the same in every process: no addresses, no order of sets."""
    if id(value) in seen:
        return ["again", seen[id(value)][0]]
    if not isinstance(value, _PLAIN):  # constants are shared as Python pleases
        seen[id(value)] = len(seen), value
    return _parts(value, seen)


@functools.singledispatch
def _parts(value: Any, seen: Seen) -> Any:
    if hasattr(value, "__qualname__"):  # a function that is not written in Python, but may stand before one that is
        return [_name(value), _described(getattr(value, "__wrapped__", None), seen)]
    return [_of_class(type(value), seen), _described(_state(value), seen)]


@_parts.register(type(None) | bool | int | float | complex | str | bytes | torch.dtype | torch.device)
def _(value: Any, _: Seen) -> Any:
    return repr(value)


@_parts.register
def _(value: Tensor, _: Seen) -> Any:
    if value.is_meta:  # what a hook was given while multiply-accumulates were counted
        return [str(value.dtype), list(value.shape)]
    return state_digest({"": value})


@_parts.register
def _(value: np.ndarray, _: Seen) -> Any:
    return [str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]


@_parts.register
def _(value: nn.Module, seen: Seen) -> Any:
    return [str(value), _of_module(value, seen)]


@_parts.register
def _(value: Mapping, seen: Seen) -> Any:  # type: ignore[type-arg]
    return [[_described(key, seen), _described(item, seen)] for key, item in value.items()]


@_parts.register
def _(value: type, seen: Seen) -> Any:
    return _of_class(value, seen)


@_parts.register(list | tuple | deque)
def _(value: Any, seen: Seen) -> Any:
    return [_described(item, seen) for item in value]


@_parts.register(AbstractSet)
def _(value: Any, seen: Seen) -> Any:
    # Each as if it were the only one: which of them comes first differs from process to process.
    return sorted(json.dumps(_described(item, dict(seen))) for item in value)


@_parts.register
def _(value: ModuleType, _: Seen) -> Any:
    return value.__name__


@_parts.register
def _(value: logging.Logger, _: Seen) -> Any:  # it leads to every other, and to what their handlers keep
    return value.name


@_parts.register
def _(value: MethodType, seen: Seen) -> Any:
    return [_described(part, seen) for part in (value.__func__, value.__self__)]


@_parts.register
def _(value: functools.partial, seen: Seen) -> Any:  # type: ignore[type-arg]
    return [_described(part, seen) for part in (value.func, value.args, value.keywords)]


@_parts.register
def _(value: FunctionType, seen: Seen) -> Any:
    if _is_versioned(value):
        return _name(value)
    named = ((name, value.__globals__.get(name)) for name in sorted(_names(value.__code__)))
    followed = {name: found for name, found in named if not isinstance(found, ModuleType)}
    cells = [cell.cell_contents for cell in value.__closure__ or ()]
    parts = (cells, value.__defaults__, value.__kwdefaults__, followed)
    return [_described(value.__code__, seen), *(_described(part, seen) for part in parts)]


@_parts.register
def _(value: CodeType, seen: Seen) -> Any:
    return [value.co_code.hex(), value.co_names, value.co_varnames, _described(value.co_consts, seen)]


def _is_versioned(value: type | FunctionType) -> bool:
    return str(value.__module__).partition(".")[0] in _VERSIONED


def _state(value: Any) -> Any:
    """What an object holds: its attributes, or else what it would be pickled as."""
    slots = [name for kind in type(value).__mro__ for name in _slots(kind) if hasattr(value, name)]
    if hasattr(value, "__dict__") or slots:
        return {**getattr(value, "__dict__", {}), **{name: getattr(value, name) for name in slots}}
    try:
        return value.__reduce_ex__(4)
    except Exception:  # it cannot be pickled, and says so as it likes
        return None


def _slots(kind: type) -> list[str]:
    if _is_versioned(kind):  # what they keep there may be a hash, which is another in every process
        return []
    return [name for name, found in vars(kind).items() if isinstance(found, MemberDescriptorType)]


def _names(code: CodeType) -> set[str]:
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', None)}.{value.__qualname__}"
