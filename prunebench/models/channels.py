"""Channels of a model that were removed for good: a list of those kept, and a model cut down to them.

The list is the recipe by which a shrunk model is built again: the original is built, then cut, then the weights fit.
It is JSON in the metadata of a .safetensors file: by module and side (`out`, `in`), how many channels there were and
which are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from prunebench.errors import ModelError
from prunebench.models.resnet import PaddingShortcut

METADATA = "prunebench.channels"
"""The key of the list in a file's metadata."""

GATES = 4
"""Rows that an LSTM has for each hidden unit: input, forget, cell and output gate, in this order."""

Side = Literal["out", "in"]


class Kept(BaseModel):
    """Channels of one side of a module: `of` so many, those at `indices` (rising) are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    of: int
    indices: Annotated[list[int], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_part(self) -> Self:
        rising = all(first < second for first, second in zip(self.indices, self.indices[1:], strict=False))
        if not (rising and self.indices[0] >= 0 and self.indices[-1] < self.of):
            raise ValueError(f"indices must rise and lie in 0 to {self.of - 1}")
        return self


Channels = dict[str, dict[Side, Kept]]
_CHANNELS: TypeAdapter[Channels] = TypeAdapter(Channels)


@dataclass(frozen=True)
class Places:
    """Places in a module where the channels of one side are: tensors, and settings that count them.

    Attributes:
        tensors: name, dimension, and how often the channels stand in it, one run after the other.
        counts: settings of the module that are the number of channels.
        starts: settings that are the index of a channel.
    """

    tensors: tuple[tuple[str, int, int], ...]
    counts: tuple[str, ...]
    starts: tuple[str, ...] = ()


def places(module: nn.Module, side: Side) -> Places | None:
    """Where the channels of a side are; None for a kind of module that cannot be cut there."""
    return _sides(module).get(side)


def _sides(module: nn.Module) -> dict[Side, Places]:
    first = ("weight", 0, 1), ("bias", 0, 1)
    if isinstance(module, _ConvNd):
        return _of_convolution(module)
    if isinstance(module, nn.Linear):
        return {"out": Places(first, ("out_features",)), "in": Places((("weight", 1, 1),), ("in_features",))}
    if isinstance(module, _BatchNorm):
        return {"out": Places((*first, ("running_mean", 0, 1), ("running_var", 0, 1)), ("num_features",))}
    if isinstance(module, nn.LSTM) and module.num_layers == 1 and not module.bidirectional and not module.proj_size:
        rows = tuple((name, 0, GATES) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"))
        units = Places((*rows, ("weight_hh_l0", 1, 1)), ("hidden_size",))
        return {"out": units, "in": Places((("weight_ih_l0", 1, 1),), ("input_size",))}
    if isinstance(module, PaddingShortcut):
        return {"out": Places((), ("out_channels",), ("before",))}
    return {}


def _of_convolution(module: _ConvNd) -> dict[Side, Places]:
    if module.groups == 1:
        out, in_ = int(module.transposed), int(not module.transposed)
        return {
            "out": Places((("weight", out, 1), ("bias", 0, 1)), ("out_channels",)),
            "in": Places((("weight", in_, 1),), ("in_channels",)),
        }
    if is_depthwise(module):
        return {"out": Places((("weight", 0, 1), ("bias", 0, 1)), ("out_channels", "in_channels", "groups"))}
    return {}


def is_depthwise(module: nn.Module) -> bool:
    """True for a convolution in which each output channel is made of one input channel of its own."""
    return isinstance(module, _ConvNd) and 1 < module.groups == module.in_channels == module.out_channels


def keep_channels_(model: nn.Module, channels: Channels) -> None:
    """Cut `model` down to the kept channels, in place; `kept_channels` then tells them.

    Raises:
        ModelError: the list is of another architecture. The model is then unchanged.
    """
    modules = dict(model.named_modules())
    cuts: list[tuple[nn.Module, Places, Kept]] = []
    for name, sides in channels.items():
        for side, kept in sides.items():
            where = places(modules[name], side) if name in modules else None
            if where is None:
                raise ModelError(f"it has no '{name}' that could lose {side} channels")
            if (width := getattr(modules[name], where.counts[0])) != kept.of:
                raise ModelError(f"'{name}' has {width:,} {side} channels, expected {kept.of:,}")
            cuts.append((modules[name], where, kept))
    for module, where, kept in cuts:
        for attribute, dimension, copies in where.tensors:
            if (tensor := getattr(module, attribute, None)) is not None:
                setattr(module, attribute, _cut(tensor, dimension, copies, kept))
        for count in where.counts:
            setattr(module, count, len(kept.indices))
        for start in where.starts:
            setattr(module, start, sum(index < getattr(module, start) for index in kept.indices))
    model.prunebench_channels = composed(kept_channels(model), channels)  # type: ignore[assignment]


def _cut(tensor: Tensor, dimension: int, copies: int, kept: Kept) -> Tensor:
    indices = torch.tensor([copy * kept.of + index for copy in range(copies) for index in kept.indices])
    values = tensor.detach().index_select(dimension, indices.to(tensor.device))
    return nn.Parameter(values, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values


def kept_channels(model: nn.Module) -> Channels:
    """The channels that a shrunk model kept of its original; empty for a model as it was built."""
    return getattr(model, "prunebench_channels", {})


def composed(first: Channels, second: Channels) -> Channels:
    """The list that comes to cutting by `first` and then by `second`, whose indices are of what `first` left."""
    both: Channels = {name: dict(sides) for name, sides in first.items()}
    for name, sides in second.items():
        for side, kept in sides.items():
            before = both.setdefault(name, {}).get(side)
            indices = [before.indices[index] for index in kept.indices] if before else kept.indices
            both[name][side] = Kept(of=before.of if before else kept.of, indices=indices)
    return both


def channels_metadata(model: nn.Module) -> dict[str, str]:
    """The metadata that a file of this model's weights needs, for `save_state`; empty for a model as it was built."""
    channels = kept_channels(model)
    return {METADATA: _CHANNELS.dump_json(channels).decode()} if channels else {}


def channels_of(metadata: Mapping[str, str]) -> Channels:
    """The list in a file's metadata; empty for none.

    Raises:
        ModelError: it is damaged.
    """
    try:
        return _CHANNELS.validate_json(metadata[METADATA]) if METADATA in metadata else {}
    except ValidationError as error:
        raise ModelError(f"its list of channels is damaged: {error.errors()[0]['msg']}") from error
