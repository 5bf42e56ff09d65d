"""Names for model builders, so that a run, a record and a command can say which architecture they mean."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from prunebench.errors import UnknownNameError
from prunebench.models.vgg import VGG

_BUILDERS: dict[str, Callable[[], nn.Module]] = {"vgg": VGG}


def register_model(name: str, builder: Callable[[], nn.Module]) -> None:
    """Make `builder` known as `name`; it takes nothing and returns a freshly initialised model.

    Raises:
        ValueError: `name` is taken by another builder (a record that says `name` would then mean two things).
    """
    if _BUILDERS.get(name, builder) is not builder:
        raise ValueError(f"model {name!r} is already registered with another builder: choose another name")
    _BUILDERS[name] = builder


def model_names() -> tuple[str, ...]:
    """The registered names, sorted."""
    return tuple(sorted(_BUILDERS))


def build_model(name: str) -> nn.Module:
    """A freshly initialised model; on `torch.device("meta")` it has shapes and no memory.

    Raises:
        UnknownNameError: no such model.
    """
    try:
        builder = _BUILDERS[name]
    except KeyError:
        raise UnknownNameError("model", name, _BUILDERS) from None
    return builder()
