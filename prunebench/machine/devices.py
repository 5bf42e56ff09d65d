"""Devices and arithmetic: where a model computes, and with which precision."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

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


def eager() -> contextlib.AbstractContextManager[object]:
    """A context in which compiled models run as they were written: else every copy of a model is compiled again."""
    compiled = "torch._dynamo" in sys.modules  # importing it takes seconds
    return torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, run as it was before torch.compile; each module's mode is put back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with eager():
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def arithmetic(device: torch.device, precision: Precision) -> Iterator[None]:
    """Compute in `precision`: `fp32` is IEEE single precision, whatever the process allows; `bf16` is autocast.

    What autocast leaves in fp32 is IEEE too. Weights may change inside: autocast keeps no bf16 copies of them, which it
    would go on using until the block ends.
    """
    bf16 = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)
    # Without benchmark, cuDNN chooses one algorithm for one shape, whenever it is asked.
    settings = [(_attribute(torch.backends.cudnn, "benchmark"), False), *_ieee()]
    before = [(setting, setting.get()) for setting, _ in settings]
    try:
        for setting, value in settings:
            setting.set(value)
        with bf16, eager():
            yield
    finally:
        for setting, value in before:
            setting.set(value)


class SinglePrecision(TorchFunctionMode):
    """A context in which linear and convolution layers with these very weights compute in fp32, others autocast."""

    _LAYERS = frozenset({functional.linear, functional.conv1d, functional.conv2d, functional.conv3d})

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self._weights = weights

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch in the place of `func`."""
        used = args[1] if func in self._LAYERS and len(args) > 1 else None
        if not any(used is weight for weight in self._weights):
            return func(*args, **(kwargs or {}))
        given, *others = args
        with torch.autocast(given.device.type, enabled=False):
            return func(given.float(), *others, **(kwargs or {}))


class _Setting(NamedTuple):
    """A setting of the process."""

    get: Callable[[], Any]
    set: Callable[[Any], object]


def _attribute(owner: object, name: str) -> _Setting:
    return _Setting(partial(getattr, owner, name), partial(setattr, owner, name))


def _ieee() -> list[tuple[_Setting, Any]]:
    """Settings of the process, and values, that keep convolutions and matrix products in IEEE fp32, on any device.

    TF32 on a GPU is torch's default for convolutions. `torch.set_float32_matmul_precision`, common in training code,
    allows it for matrix products too, and on the CPU bfloat16.
    """
    backends: Any = torch.backends
    cuda = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
    cpu = (backends.mkldnn.conv, backends.mkldnn.rnn, backends.mkldnn.matmul)
    newer = [(_attribute(operation, "fp32_precision"), "ieee") for operation in (*cuda, *cpu)]
    # Whoever reads an older setting inside, as torch's own code does, gets an error where it contradicts the newer
    # ones. Older ones come first: they change newer ones. One that cannot be read already contradicts them.
    older = [
        (_attribute(backends.cudnn, "allow_tf32"), False),
        (_Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision), "highest"),
    ]
    return [*(entry for entry in older if _is_readable(entry[0])), *newer]


def _is_readable(setting: _Setting) -> bool:
    try:
        setting.get()
    except RuntimeError:
        return False
    return True


@contextlib.contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Numbers drawn inside, by the CPU and by `device`, follow from `seed`; those drawn after it are as without it."""
    # Only this GPU: by default all of them are asked for their state, which starts CUDA, in a run on the CPU too.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _mps_state_kept(device):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield


@contextlib.contextmanager
def _mps_state_kept(device: torch.device) -> Iterator[None]:
    state = torch.mps.get_rng_state() if device.type == "mps" else None
    try:
        yield
    finally:
        if state is not None:
            torch.mps.set_rng_state(state)
