"""Sizes as the documented report counts them, and as a disk does."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunebench.models import as_safetensors, check_model

MIB = 2**20
BITS = 32


def nonzeros(model: nn.Module) -> dict[str, int]:
    """Number of nonzero elements of every parameter by name; buffers (batch-norm statistics) are left out.

    Raises:
        ModelError: the model does not compute with its parameters as they are (`prunebench.models.check_model`).
    """
    parameters = check_model(model).named_parameters()
    return {name: int(torch.count_nonzero(parameter.detach())) for name, parameter in parameters}


def nominal_size_bits(model: nn.Module, *, bits: int = BITS) -> int:
    """Nonzero elements over all parameters, times `bits`.

    The documented report's size. It leaves out what it costs to store where the nonzeros are.
    """
    return bits * sum(nonzeros(model).values())


def file_size_bytes(state: Mapping[str, Tensor]) -> int:
    """Bytes of the checkpoint as a safetensors file, parameters and buffers, zeros stored like any other value."""
    return len(as_safetensors(state))
