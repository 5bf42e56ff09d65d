"""Values of a tensor as bytes, whatever its type, device and strides."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def value_bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """The bytes of the values in logical order, (elements times bytes of one)."""
    flat: NDArray[np.uint8] = as_integers(tensor.detach().cpu()).contiguous().reshape(-1).view(torch.uint8).numpy()
    return flat


def as_integers(tensor: Tensor) -> Tensor:
    """The memory of `tensor`, seen as integers: these torch copies in each version, not all types of small floats."""
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.view(integers.get(tensor.element_size(), tensor.dtype))
