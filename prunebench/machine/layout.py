"""Memory layout of a model's weights: as its convolutions are fastest. Answers change by rounding alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prunebench.machine.devices import evaluation_mode, model_device

SMALL = 8 * 8
"""Positions (height x width) of the largest input that a convolution on the CPU takes contiguous."""

SMALL_IN_BF16 = 4 * 4
"""The same under autocast to bfloat16."""


def lay_out_(model: nn.Module, inputs: Tensor) -> nn.Module:
    """Lay the weights of `model` out for inputs as these, (n, ...), in place, and return it.

    channels_last; but on the CPU a convolution over at most 8x8 positions stays contiguous, and a hook gives it a
    contiguous input, in bf16 over at most 4x4: oneDNN took up to twice as long for it in channels_last
    (docs/measurements/speed.md). That is so for kernels larger than 1x1 in one group, the others are left in
    channels_last. One input is run through the model to see the sizes.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    device = model_device(model)
    if device.type != "cpu":
        return model
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    small: list[nn.Conv2d] = []

    def note(module: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        if not inputs:  # given by name: no hook sees it, so it is left as it is
            return
        if inputs[0].shape[-2:].numel() <= SMALL and module.groups == 1 and max(module.kernel_size) > 1:
            small.append(module)

    notes = [module.register_forward_pre_hook(note) for module in convolutions]
    try:
        with evaluation_mode(model), torch.inference_mode():
            model(inputs[:1].to(device))
    finally:
        for hook in notes:
            hook.remove()
    for module in dict.fromkeys(small):  # once, also where it is used twice
        module.to(memory_format=torch.contiguous_format)
        module.register_forward_pre_hook(_contiguous)
    return model


def _contiguous(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    large = inputs[0].dim() == 4 and inputs[0].shape[-2:].numel() > SMALL_IN_BF16
    bf16 = torch.is_autocast_enabled("cpu")
    memory_format = torch.channels_last if bf16 and large else torch.contiguous_format
    return tuple(value.contiguous(memory_format=memory_format) for value in inputs)
