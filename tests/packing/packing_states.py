"""Tensors of every type with every kind of bits, for the tests of packed files."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from prunebench.packing.format import DTYPES

PATTERNS = ("small", "any bits", "one value", "signed zeros", "counting")


def filled(
    dtype: str, shape: tuple[int, ...], *, density: float = 1.0, pattern: str = "small", seed: int = 0
) -> Tensor:
    """A tensor of these bits; the others are all zero. Bools hold 0 and 1 alone, whatever the pattern."""
    generator = np.random.default_rng(seed)
    count, width = math.prod(shape), DTYPES[dtype].itemsize
    bits = generator.integers(0, 256, (count, width), dtype=np.uint8)
    if pattern == "small":
        bits[:, -1] %= 4
    elif pattern == "one value":
        bits[:] = bits[:1]
    elif pattern == "signed zeros":
        bits[:, :-1], bits[:, -1] = 0, 128
    elif pattern == "counting":
        bits[:] = np.arange(count * width).reshape(count, width) // width % 256
    if dtype == "bool":
        bits[:] = 1
    bits[generator.random(count) >= density] = 0
    return torch.from_numpy(bits.reshape(-1)).view(DTYPES[dtype]).reshape(shape)


def bits_of(tensor: Tensor) -> bytes:
    """Every bit of the values, in logical order."""
    plain = tensor.view(torch.uint8) if tensor.element_size() == 1 else tensor  # torch 2.9 copies no 4-bit floats
    return plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def mixed_state() -> dict[str, Tensor]:
    """A few thousand values in every layout and by every codec."""
    return {
        "conv.weight": filled("float32", (16, 8, 3, 3), density=0.2).contiguous(memory_format=torch.channels_last),
        "dense.weight": filled("float32", (40, 30)),
        "any": filled("bfloat16", (300,), pattern="any bits"),
        "double": filled("float64", (64,), density=0.5, pattern="signed zeros"),
        "mask": filled("bool", (1500,), density=0.1),
        "table": filled("int64", (10, 50), pattern="one value"),
        "steps": torch.tensor(17),
        "nothing": torch.zeros(0, 3),
    }
