"""Masks: which elements of each weight are kept. Choosing them is `selection`; zeroing by a plan is `prune`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from prunebench.errors import MaskError, UnknownNameError
from prunebench.models import check_model, load_state, save_state, state_digest, unwrapped

# A pruned element times zero, as integers, is the bits of +0.0 whatever was there, also -1.0, NaN or infinity. Measured
# three times as fast as `masked_fill_` of the inverse.
_INTEGERS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


def zero_pruned_(weight: Tensor, mask: Tensor) -> None:
    """Set `weight` to zero where `mask`, of its shape, is False, also where it is NaN or infinite."""
    weight.detach().view(_INTEGERS[weight.element_size()]).mul_(mask)


def with_zeros(weight: Tensor, mask: Tensor) -> Tensor:
    """A copy of `weight`, laid out as it is, with zeros where `mask`, of its shape, is False."""
    return weight.detach().view(_INTEGERS[weight.element_size()]).mul(mask).view(weight.dtype)


class Masks(Mapping[str, Tensor]):
    """Bool masks by parameter name: True where an element is kept, False where it is pruned.

    Raises:
        MaskError: a mask is not a bool tensor.
    """

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        for name, mask in masks.items():
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
                got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
                raise MaskError(f"mask of '{name}' must be a bool tensor, got {got}")
        self._masks = dict(masks)

    @classmethod
    def of_zeros(cls, model: nn.Module, names: Mapping[str, object] | None = None) -> Masks:
        """The masks that `model` already obeys: False where a weight is exactly zero.

        Raises:
            ModelError: a weight is computed from others, or has no values (`prunebench.models.check_model`).
            UnknownNameError: `names` holds one that is no parameter of the model.
        """
        parameters = dict(check_model(model).named_parameters())
        chosen = names if names is not None else {name: p for name, p in parameters.items() if p.dim() >= 2}
        for name in chosen:
            if name not in parameters:
                raise UnknownNameError("parameter", name, parameters)
        return cls({name: parameters[name].detach() != 0 for name in chosen})

    @classmethod
    def load(cls, path: Path) -> Masks:
        """Read masks that `save` wrote."""
        return cls(load_state(path))

    def save(self, path: Path) -> None:
        """Write as safetensors, whole or not at all."""
        save_state(self._masks, path)

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def to(self, device: torch.device) -> Masks:
        """The same masks on `device`."""
        return Masks({name: mask.to(device) for name, mask in self._masks.items()})

    def sparsity(self, name: str) -> float:
        """Fraction of the elements of `name` that are pruned."""
        return 1 - self.density(name)

    def density(self, name: str) -> float:
        """Fraction of the elements of `name` that are kept."""
        mask = self._masks[name]
        return int(mask.sum()) / mask.numel()

    @property
    def digest(self) -> str:
        """SHA-256 over names, shapes and values."""
        return state_digest(self._masks)

    def apply_(self, model: nn.Module) -> None:
        """Set every pruned element of `model` to zero, also where it is NaN or infinite.

        Raises:
            MaskError: the model has no such parameter, or one of another shape.
        """
        self.check_fits(model)  # before the first weight is changed
        parameters = dict(unwrapped(model).named_parameters())
        for name, mask in self._masks.items():
            zero_pruned_(parameters[name], mask)

    def check(self, model: nn.Module) -> None:
        """Check that every pruned element of `model` is zero.

        Raises:
            MaskError: one is not; names the parameter, how many, and the first. Or as `check_fits`.
        """
        self.check_fits(model)
        parameters = dict(unwrapped(model).named_parameters())
        for name, mask in self._masks.items():
            weight = parameters[name].detach()
            revived = (weight != 0) & ~mask
            if revived.any():
                first = tuple(int(i) for i in revived.nonzero()[0])
                value = float(weight[first])
                raise MaskError(
                    f"'{name}' has {int(revived.sum())} pruned elements that are not zero, the first at {first} is "
                    f"{value:.3g}: masks must be applied after every change of the weights"
                )

    def check_fits(self, model: nn.Module) -> None:
        """Check that `model` has a parameter of its shape for every mask.

        Raises:
            MaskError: the model has no such parameter, or one of another shape.
        """
        parameters = dict(unwrapped(model).named_parameters())
        for name, mask in self._masks.items():
            if name not in parameters:
                raise MaskError(f"the model has no parameter '{name}' for its mask")
            shape = parameters[name].shape
            if shape != mask.shape:
                raise MaskError(f"mask of '{name}' has shape {tuple(mask.shape)}, the weight {tuple(shape)}")
