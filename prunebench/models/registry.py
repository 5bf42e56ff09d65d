"""Models by name: prunebench's own, those of torchvision and timm, and builders of a user's own."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from prunebench.errors import ModelError, UnknownNameError, did_you_mean, first_line
from prunebench.models.resnet import resnet20, resnet56
from prunebench.models.vgg import VGG
from prunebench.models.vit import SmallViT
from prunebench.storage.imports import load_object

OWN: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {"resnet20": resnet20, "resnet56": resnet56, "vgg": VGG, "vit": SmallViT}
)
FORMS = "a name of prunebench's, torchvision:NAME, timm:NAME or package.module:builder"


def model_names() -> tuple[str, ...]:
    """The names of prunebench's own models, sorted."""
    return tuple(sorted(OWN))


def model_label(model: str, arguments: Mapping[str, Any] | None = None) -> str:
    """The name of a model in records: what builds it, and its arguments; prunebench's own without `prunebench:`."""
    given = ", ".join(f"{name}={value!r}" for name, value in sorted((arguments or {}).items()))
    return model.removeprefix("prunebench:") + (f"({given})" if given else "")


def build_model(model: str, arguments: Mapping[str, Any] | None = None, *, folder: Path | None = None) -> nn.Module:
    """A freshly initialised model; on `torch.device("meta")` it has shapes and no memory.

    Args:
        model: a name of prunebench's own (`vgg`, also `prunebench:vgg`), `torchvision:NAME`, `timm:NAME`, or
            `package.module:builder`, a class or function.
        arguments: what the builder is called with, by name.
        folder: where the builder's module is looked for first; else the current folder.

    Raises:
        UnknownNameError: no such model.
        ModelError: the builder cannot be imported, fails, or builds something else than a module.
    """
    source, colon, name = model.partition(":")
    if not colon:
        source, name = "prunebench", model
    builder = _builder(source, name, model, folder)
    try:
        module = builder(**dict(arguments or {}))
    except Exception as error:  # somebody else's code may raise anything
        raise ModelError(f"model '{model}' cannot be built: {first_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"model '{model}' is built as a {type(module).__name__}: expected a torch.nn.Module")
    return module


def _builder(source: str, name: str, model: str, folder: Path | None) -> Callable[..., nn.Module]:
    if source == "prunebench":
        if name not in OWN:
            raise UnknownNameError("model", name, OWN)
        return OWN[name]
    if source == "torchvision":
        models = _package("torchvision", model).models
        if name not in (known := models.list_models()):
            raise UnknownNameError("model of torchvision", name, known)
        builder: Callable[..., nn.Module] = models.get_model_builder(name)
        return lambda **arguments: builder(**{"weights": None, **arguments})
    if source == "timm":
        timm = _package("timm", model)
        if not timm.is_model(name):
            hint = did_you_mean(name, timm.list_models())
            raise ModelError(f"unknown model of timm {name!r}: see timm.list_models(){hint}")
        return lambda **arguments: timm.create_model(name, **arguments)
    found = load_object(model, kind="model", forms=FORMS, folder=folder)
    if not callable(found):
        raise ModelError(f"model '{model}' is a {type(found).__name__}: expected a class or function that builds one")
    return found  # type: ignore[no-any-return]


def _package(name: str, model: str) -> Any:
    """Import a package of models where it is used: torchvision brings torch's compiler, which takes seconds."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelError(f"model '{model}' needs {name}: pip install {name}") from error
    except RuntimeError as error:  # a torchvision built for another torch
        raise ModelError(f"model '{model}' needs {name}, which cannot be imported: {first_line(error)}") from error


def architecture_digest(model: nn.Module) -> str:
    """SHA-256 over each module's name, class and settings, and each parameter's name and shape, in order.

    Settings are the numbers, words and tuples of them that a module keeps under the name of a parameter of its
    constructor, such as `stride`. It is equal for equal architectures, whatever their weights and however torch words
    them; hooks and code are not part of it.
    """
    modules = [
        [name, f"{type(module).__module__}.{type(module).__qualname__}", _settings(module)]
        for name, module in model.named_modules()
    ]
    parameters = [[name, list(parameter.shape)] for name, parameter in model.named_parameters()]
    return hashlib.sha256(json.dumps([modules, parameters]).encode()).hexdigest()


def _settings(module: nn.Module) -> dict[str, Any]:
    kinds = [kind for kind in type(module).__mro__ if issubclass(kind, nn.Module)]  # LSTM itself takes *args
    names = {name for kind in kinds for name in inspect.signature(kind.__init__).parameters}
    return {name: value for name in sorted(names) if _is_plain(value := vars(module).get(name))}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(each is None or _is_plain(each) for each in value)
    return isinstance(value, (bool, int, float, str))
