"""Devices and arithmetic: where a model computes, and with which precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch
from torch import nn

from prunebench.errors import ModelError, UnknownNameError

Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def resolve_device(name: str) -> torch.device:
    """The device called `name`: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto` for a GPU where there is one.

    Raises:
        UnknownNameError: torch does not know it, or this machine has none.
    """
    available = ["cpu"]
    if torch.cuda.is_available():
        available += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        available.append("mps")
    if name == "auto":
        return torch.device(available[1] if len(available) > 1 else "cpu")
    if name not in available:
        raise UnknownNameError("device", name, ["auto", *available])
    return torch.device(name)


def model_device(model: nn.Module) -> torch.device:
    """The device a model's parameters are on.

    Raises:
        ModelError: it has none.
    """
    for parameter in model.parameters():
        return parameter.device
    raise ModelError("the model has no parameters: expected weights to prune")


def wait_for(device: torch.device) -> None:
    """Return once `device` has done what it was given: a clock read before counts the launch alone."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextlib.contextmanager
def arithmetic(device: torch.device, precision: Precision) -> Iterator[None]:
    """Compute in `precision`: `fp32` is IEEE single precision (TF32 off on a GPU), `bf16` is autocast to bfloat16.

    Weights may change inside: autocast keeps no bf16 copies of them, which it would go on using until the block ends.
    """
    bf16 = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)
    with contextlib.ExitStack() as stack:
        stack.enter_context(bf16)
        if precision == "fp32" and device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False))
        yield
