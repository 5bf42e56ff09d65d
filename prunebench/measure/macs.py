"""Multiply-accumulates, counted by torch's own FLOP counter on a model that has shapes and no memory."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prunebench.models import prunable_parameters


def count_macs(model: nn.Module, image_shape: tuple[int, int, int]) -> dict[str, int]:
    """Multiply-accumulates of one image (channels, height, width) by the weight that does them.

    Convolution and linear layers only, as is usual; biases, batch norm and pooling are left out. Dense: a pruned
    weight counts like any other (a layer's MACs times its density is what a perfect sparse kernel would do).
    """
    shadow = copy.deepcopy(model).eval()
    try:
        counter = _count(shadow.to("meta"), image_shape)
    except RuntimeError:  # its path depends on values, which a meta tensor has not
        shadow = copy.deepcopy(model).cpu().eval()
        counter = _count(shadow, image_shape)
    by_module = counter.get_flop_counts()
    root = type(shadow).__name__
    return {
        name: sum(by_module.get(".".join((root, *name.split(".")[:-1])), {}).values()) // 2
        for name in prunable_parameters(model)
    }


def _count(model: nn.Module, image_shape: tuple[int, int, int]) -> FlopCounterMode:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(torch.zeros(1, *image_shape, device=next(model.parameters()).device))
    return counter
