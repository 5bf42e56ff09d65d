"""Devices and arithmetic: where a model computes, and with which precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

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
    """Compute in `precision`: `fp32` is IEEE single precision, whatever the process allows; `bf16` is autocast.

    Weights may change inside: autocast keeps no bf16 copies of them, which it would go on using until the block ends.
    """
    bf16 = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)
    # Without benchmark, cuDNN chooses one algorithm for one shape, whenever it is asked.
    settings = [(torch.backends.cudnn, "benchmark", False), *(_ieee_settings(device) if precision == "fp32" else [])]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in settings]
    try:
        for owner, name, value in settings:
            setattr(owner, name, value)
        with bf16:
            yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _ieee_settings(device: torch.device) -> list[tuple[Any, str, Any]]:
    """What keeps convolutions and matrix products in IEEE fp32: settings of the process as (owner, name, value).

    TF32 on a GPU is torch's default for convolutions. `torch.set_float32_matmul_precision`, common in training code,
    allows it for matrix products too, and on the CPU bfloat16.
    """
    backends = torch.backends
    if hasattr(backends, "fp32_precision"):  # torch 2.9; the older settings raise where a newer one was made
        if device.type == "cpu":
            operations = [backends.mkldnn.conv, backends.mkldnn.matmul, backends.mkldnn.rnn]  # type: ignore[attr-defined]
        else:
            operations = [backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul]  # type: ignore[attr-defined]
        return [(operation, "fp32_precision", "ieee") for operation in operations]
    return [(backends.cudnn, "allow_tf32", False), (backends.cuda.matmul, "allow_tf32", False)]


@contextlib.contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Numbers drawn inside, by the CPU and by `device`, follow from `seed`; those drawn after it are as without it."""
    # Only this GPU: by default all of them are asked for their state, which starts CUDA, in a run on the CPU too.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type != "cpu":
            torch.manual_seed(seed)
        yield
