"""Bytes that a model moves for one input: a proxy of its energy, beside multiply-accumulates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from prunebench.machine.devices import evaluation_mode, model_device


def bytes_moved(model: nn.Module, example: Tensor) -> int:
    """Bytes of one input's way: what each innermost module reads, its weights and buffers, and what it writes.

    As if nothing stayed in a cache, and zeros were stored like any other value. Operations outside of modules, such as
    the sum of a residual block, are left out. On a processor moving a value takes far more energy than multiplying it
    (Horowitz, Computing's energy problem, ISSCC 2014).

    Args:
        example: a batch of inputs (n, ...), of which the first is taken.
    """
    moved = 0

    def note(module: nn.Module, inputs: Any, outputs: Any) -> None:
        nonlocal moved
        held = [*module.parameters(), *module.buffers(), *tree_leaves(inputs), *tree_leaves(outputs)]
        moved += sum(each.numel() * each.element_size() for each in held if isinstance(each, Tensor))

    hooks = [each.register_forward_hook(note) for each in model.modules() if not [*each.children()]]
    try:
        with evaluation_mode(model), torch.no_grad():
            model(example[:1].to(model_device(model)))
    finally:
        for hook in hooks:
            hook.remove()
    return moved
