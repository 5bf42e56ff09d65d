"""Prunable parameters of a model, and checks that it can be pruned at all."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized
from torch.optim.swa_utils import AveragedModel
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from prunebench.errors import ModelError, first_line

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Types of weights that can be ordered and computed with; what is measured is measured in float32."""


def prunable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The floating-point weights of two or more dimensions by name, in the model's order.

    That is every convolution and linear weight, and no bias or batch-norm parameter: those hold 0.04 % of the VGG's
    elements, and a zeroed batch-norm scale removes a channel, which is another granularity.
    """
    return {
        name: parameter
        for name, parameter in unwrapped(model).named_parameters()
        if parameter.dim() >= 2 and parameter.is_floating_point()
    }


def as_array(weight: Tensor) -> NDArray[np.float32]:
    """The values of a weight as a numpy array of its shape, in memory of the CPU."""
    found: NDArray[np.float32] = weight.detach().float().cpu().numpy()
    return found


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside `torch.compile`, DataParallel, DistributedDataParallel or AveragedModel; else `model` itself.

    Raises:
        ModelError: it is no module, but a state_dict, say.
    """
    while isinstance(model, nn.Module):
        wraps = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel | AveragedModel)
        inside = model.module if wraps else getattr(model, "_orig_mod", None)
        if not isinstance(inside, nn.Module):
            return model
        model = inside
    if isinstance(model, Mapping):
        raise ModelError("the model is a state_dict: expected a torch.nn.Module, into which load_state_dict puts it")
    got = f"the class {model.__name__}" if isinstance(model, type) else f"of type {type(model).__name__}"
    raise ModelError(f"the model is {got}: expected a torch.nn.Module")


def check_values(model: nn.Module) -> nn.Module:
    """The module inside the wrappers of `model`, if it has parameters and each of them values.

    Raises:
        ModelError: there is none, one is on `meta`, or one is of a Lazy module before its first batch.
    """
    model = unwrapped(model)
    for name, tensor in _tensors(model):
        if is_lazy(tensor):
            raise ModelError(f"'{name}' has no shape before the first batch: expected a model that was run once")
        if tensor.is_meta:
            raise ModelError(f"'{name}' is on the meta device, where it has no values: expected one with its weights")
    if not any(True for _ in model.parameters()):
        raise ModelError("the model has no parameters: expected weights to prune")
    return model


def check_model(model: nn.Module) -> nn.Module:
    """The module inside the wrappers of `model`, if its weights can be pruned and counted as what it computes with.

    Raises:
        ModelError: as `check_values`; a ScriptModule, or one that quantises its weights; a weight that is computed from
            others before each pass; one that is sparse, quantised, complex, of less than 16 bits or of a class of its
            own; elements or parameters that share memory.
    """
    model = check_values(model)
    for name, module in model.named_modules():
        for said in _against_module(module):
            raise ModelError(f"'{name}' {said}" if name else f"the model {said}")
    at: dict[tuple[torch.device, int], str] = {}
    for name, tensor in _tensors(model):
        for said in _against_tensor(tensor):
            raise ModelError(f"'{name}' {said}")
        if isinstance(tensor, nn.Parameter) and tensor.numel():
            first = at.setdefault((tensor.device, tensor.data_ptr()), name)
            if first != name:
                raise ModelError(f"'{first}' and '{name}' share memory: expected one parameter under both names")
    return model


def copied(model: nn.Module) -> nn.Module:
    """A copy of `model` that shares no tensor with it.

    Raises:
        ModelError: something that it holds cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:  # what the model holds may raise anything
        raise ModelError(f"the model cannot be copied: {_kept(model) or first_line(error)}") from error


def _kept(model: nn.Module) -> str:
    """A message on a tensor that some operation gave, which torch does not copy; empty for none."""
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                where = f"'{name}.{attribute}'" if name else f"'{attribute}'"
                return f"{where} was computed from weights in an earlier pass: expected none, or one that is detached"
    return ""


def in_float32(model: nn.Module) -> tuple[nn.Module, str]:
    """`model` itself where its weights are float32, else a copy whose weights and buffers are, and what they were.

    Raises:
        ModelError: it cannot be copied, or a weight is beyond the range of float32.
    """
    types = {weight.dtype for weight in model.parameters() if weight.is_floating_point()} - {torch.float32}
    if not types:
        return model, ""
    own = copied(model).float()
    for (name, weight), before in zip(own.named_parameters(), model.parameters(), strict=True):
        if not torch.equal(weight.isfinite(), before.isfinite()):
            raise ModelError(f"'{name}' has values beyond the range of torch.float32, got {before.dtype}")
    return own, f"weights were {' and '.join(sorted(map(str, types)))}"


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return chain(model.named_parameters(), model.named_buffers())


def _against_module(module: nn.Module) -> Iterator[str]:
    if isinstance(module, torch.jit.ScriptModule):
        yield "is a ScriptModule: expected the torch.nn.Module that it was made from"
    if {"quantized", "qat"}.intersection(type(module).__module__.split(".")):
        yield f"is a {type(module).__name__} of {type(module).__module__}: expected a model that is not quantised"
    for name in module.parametrizations if is_parametrized(module) else ():  # type: ignore[union-attr]
        yield f"computes its '{name}' before each pass: make it final first, by parametrize.remove_parametrizations"
    for name, value in vars(module).items():
        # torch.nn.utils' prune, weight_norm and spectral_norm compute one from weight_orig, weight_g, ... and keep it.
        computed = isinstance(value, Tensor) and name.startswith(("weight", "bias", "in_proj"))
        if computed and any(parameter.startswith(f"{name}_") for parameter in module._parameters):
            yield (
                f"computes its '{name}' before each pass: make it final first, by prune.remove, remove_weight_norm or "
                "remove_spectral_norm of torch.nn.utils"
            )


def _against_tensor(tensor: Tensor) -> Iterator[str]:
    if tensor.layout != torch.strided:
        yield f"is a sparse tensor ({tensor.layout}): expected a dense one, which .to_dense() makes"
    elif tensor.is_quantized:
        yield "is a quantised tensor: expected one of floats, which .dequantize() makes"
    elif is_traceable_wrapper_subclass(tensor):
        yield f"is a {type(tensor).__name__}: expected a plain tensor"
    elif not isinstance(tensor, nn.Parameter):
        return
    elif tensor.is_complex():
        yield f"is {tensor.dtype}: expected real weights, as torch.view_as_real makes of them"
    elif tensor.is_floating_point() and tensor.dtype not in FLOATS:
        yield f"is {tensor.dtype}: expected one of {', '.join(map(str, FLOATS))}, which .float() makes"
    elif any(length > 1 and not stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True)):
        yield "is an expanded tensor, of elements that share memory: expected one of its own, as .clone() makes"
