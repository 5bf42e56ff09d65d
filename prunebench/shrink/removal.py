"""Removal of pruned channels: which may go, and a copy of the model without them.

A channel may go where three things hold. Every layer that makes it has nothing but zeros there, weights and bias. Every
layer that reads it gets exact zeros there, which an example shows: a batch norm or a bias in between makes a constant
of zeros, and next to a padded border no bias of the next layer can stand for that. And the model without the channel,
computed in double precision, gives the same answers.
"""

from __future__ import annotations

import copy
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from prunebench.errors import ModelError
from prunebench.machine.devices import evaluation_mode
from prunebench.models import (
    Channels,
    Kept,
    channels_metadata,
    check_model,
    copied,
    keep_channels_,
    places,
    save_state,
)
from prunebench.models.channels import GATES, is_depthwise
from prunebench.models.dependencies import OUTPUT, Dependencies, Member
from prunebench.tasks.evaluation import ask

SAME = {torch.float64: 1e-10, torch.float32: 1e-5}
"""Largest difference of answers, of the largest answer, that rounding makes."""

EXAMPLES = 8
"""Test images that show what each layer reads."""

CELL = 2
"""The gate of an LSTM that a hidden unit's value is made by: where it is zero, the unit is."""


@dataclass(frozen=True)
class StillMasked:
    """Pruned channels of a layer that could not be removed, and why."""

    layer: str
    channels: int
    reason: str


@dataclass(frozen=True, order=True)
class Objection:
    """A reason against removing a channel: its rank, the lowest counts; what the layer `by` has to do with it."""

    rank: int
    text: str
    by: str = ""


@dataclass(frozen=True)
class Shrunk:
    """A model without its pruned channels.

    Attributes:
        model: a copy, of plain modules; `prunebench.models.kept_channels` tells what it kept of the original.
        masked: what could not be removed, and stays as zeros.
    """

    model: nn.Module
    masked: tuple[StillMasked, ...]

    def save(self, path: str | Path) -> None:
        """Write the weights and the list of kept channels as safetensors, whole or not at all.

        `prunebench.load_checkpoint_` cuts the original model down by that list and loads the weights.
        """
        save_state(self.model.state_dict(), path, metadata=channels_metadata(self.model))


def shrunk(model: nn.Module, example: Tensor) -> Shrunk:
    """A copy of `model` without its pruned channels; `example` is a batch of inputs (n, ...), of real data if possible.

    Pruned channels are those of convolutions, linear layers and LSTMs that hold nothing but zeros, bias included, as
    `prune_` leaves them by granularity `channel`. Layers that share channels, as in residual sums, lose those that are
    zero in all of them.

    Raises:
        ModelError: the model cannot be pruned or copied, or fails on the example.
        ShrinkError: torch-pruning is missing, or cannot follow the model.
    """
    model = check_model(model)
    own, example = copied(model).cpu().eval(), example.cpu()
    graph = Dependencies(copy.deepcopy(own), example)
    search = _Search(own, example, graph)
    for group, channels in graph.groups():
        search.remove(group, channels)
    made = copied(model)
    keep_channels_(made, search.cut)
    return Shrunk(model=made, masked=search.still_masked())


class _Search:
    """The channels that may go, found group by group.

    Attributes:
        cut: what is kept, so far.
    """

    def __init__(self, model: nn.Module, example: Tensor, graph: Dependencies) -> None:
        self.cut: Channels = {}
        self._model = model
        self._graph = graph
        self._modules = dict(model.named_modules())
        self._zero = {name: zero.tolist() for name, each in self._modules.items()
                      if (zero := zero_channels(each)) is not None}  # fmt: skip
        self._read = {name: read.tolist() for name, read in largest_inputs(model, example).items()}
        self._reasons: dict[str, dict[int, Objection]] = defaultdict(dict)
        self._example, self._answers = _in_double(model, example)

    def remove(self, group: int, channels: Sequence[int]) -> None:
        """Remove what may go of the channels of one group."""
        refused: dict[int, Objection] = {}
        everything = members = self._graph.members(group, channels)
        while channels and (objections := self._objections(members)):
            refused |= objections
            channels = [channel for channel in channels if channel not in objections]
            members = self._graph.members(group, channels) if channels else []
        if channels:
            cut = self._with(members)
            if problem := self._problem(cut):
                refused |= dict.fromkeys(channels, Objection(6, problem))
            else:
                self.cut = cut
        for member in (each for each in everything if each.side == "out"):
            self._reasons[member.name] |= {
                index: refused[root]
                for index, root in zip(member.indices, member.roots, strict=True)
                if root in refused
            }

    def _objections(self, members: Sequence[Member]) -> dict[int, Objection]:
        """Reasons against removing channels of a group's first layer, by channel; the weightiest of each."""
        found: dict[int, Objection] = {}
        if not any(member.side == "in" or self._is_depthwise(member) for member in members):
            members = [*members, Member("", OUTPUT, "out", members[0].indices, members[0].roots)]
        for member in members:
            for index, root in zip(member.indices, member.roots, strict=True):
                if (objection := self._objection(member, index)) is not None:
                    found[root] = min(objection, found.get(root, objection))
        if not found and (whole := next((each for each in members if self._is_whole(each)), None)) is not None:
            found[members[0].roots[0]] = Objection(5, "{} keeps one channel", whole.name)
        return found

    def _objection(self, member: Member, index: int) -> Objection | None:
        """A reason against removing a channel of a member; None for none."""
        if member.kind == OUTPUT:
            return Objection(0, "the model's answers")
        if not member.name:
            return Objection(2, f"tied to a {member.kind.lower()} of the model's own")
        if (where := places(self._modules[member.name], member.side)) is None:
            return Objection(1, f"tied to {{}} ({member.kind}), which cannot lose single channels", member.name)
        if index >= getattr(self._modules[member.name], where.counts[0]):
            return Objection(1, "tied to {} in a way that torch-pruning does not follow", member.name)
        if member.side == "in":
            read = self._read[member.name][index] if member.name in self._read else math.nan
            constant = "a constant, not zeros, reaches {}: a bias or a batch norm makes it"
            return None if read == 0 else Objection(4, constant, member.name)
        zero = self._zero.get(member.name)
        return None if zero is None or zero[index] else Objection(3, "shared with {}: weights there", member.name)

    def _is_depthwise(self, member: Member) -> bool:
        return member.name in self._modules and is_depthwise(self._modules[member.name])

    def _is_whole(self, member: Member) -> bool:
        return len(member.indices) >= len(self._indices(member))

    def _indices(self, member: Member) -> Sequence[int]:
        """The channels that a member has left."""
        if (kept := self.cut.get(member.name, {}).get(member.side)) is not None:
            return kept.indices
        where = places(self._modules[member.name], member.side)
        assert where is not None, "such a member was objected to"
        return range(getattr(self._modules[member.name], where.counts[0]))

    def _with(self, members: Sequence[Member]) -> Channels:
        """The cut so far, with the channels of `members` removed too."""
        cut = {name: dict(sides) for name, sides in self.cut.items()}
        for member in members:
            before, gone = self._indices(member), set(member.indices)
            of = kept.of if (kept := self.cut.get(member.name, {}).get(member.side)) else len(before)
            left = Kept(of=of, indices=[index for index in before if index not in gone])
            cut.setdefault(member.name, {})[member.side] = left
        return cut

    def _problem(self, cut: Channels) -> str:
        """Say what would go wrong with the model cut down like this; empty for nothing."""
        trial = copy.deepcopy(self._model)
        try:
            keep_channels_(trial, cut)
            answers = _answers(trial.to(self._answers.dtype), self._example)
        except ModelError:
            return "without them the model fails"
        if answers.shape != self._answers.shape:
            return "without them the model answers in another shape"
        difference, largest = (float(each.abs().max()) for each in (answers - self._answers, self._answers))
        same = difference <= SAME[self._answers.dtype] * largest
        return "" if same else f"without them the answers change by up to {difference:.2g}"

    def still_masked(self) -> tuple[StillMasked, ...]:
        """The pruned channels that stay, by layer and reason."""
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name, zero in self._zero.items():
            kept = self.cut.get(name, {}).get("out")
            for index in kept.indices if kept else range(len(zero)):
                if zero[index]:
                    reason = self._reasons[name].get(index, _UNFOLLOWED)
                    found[name, reason.text].append(reason.by)
        return tuple(
            StillMasked(name, len(layers), text.format(_named(layers))) for (name, text), layers in found.items()
        )


_UNFOLLOWED = Objection(7, "torch-pruning does not follow where they go")


def _named(layers: Sequence[str]) -> str:
    """The layer that is named most, and how many others are."""
    (first, _), *others = Counter(layers).most_common()
    return f"'{first}'" + (f" and {len(others)} more" if others else "")


def zero_channels(module: nn.Module) -> Tensor | None:
    """The output channels of a layer that are zero whatever it reads, bool (channels,); None for other modules.

    A hidden unit of an LSTM stays zero where its cell gate has no weights and no bias.
    """
    if not isinstance(module, _ConvNd | nn.Linear | nn.LSTM) or (where := places(module, "out")) is None:
        return None
    width = getattr(module, where.counts[0])
    zero = torch.ones(width, dtype=torch.bool)
    for attribute, dimension, copies in where.tensors:
        tensor = getattr(module, attribute, None)
        if isinstance(tensor, Tensor) and (copies == GATES or not isinstance(module, nn.LSTM)):
            rows = tensor.detach().transpose(0, dimension).reshape(copies, width, -1)
            zero &= (rows[CELL if copies == GATES else 0] == 0).all(dim=1)
    return zero


def largest_inputs(model: nn.Module, example: Tensor) -> dict[str, Tensor]:
    """The largest absolute value that each layer reads from each of its input channels, (channels,), by its name.

    Raises:
        ModelError: the model fails on the example.
    """
    found: dict[str, Tensor] = {}

    def note(name: str, channel: int, module: nn.Module, inputs: Any) -> None:  # noqa: ARG001
        values = inputs[0].detach().transpose(channel, -1).reshape(-1, inputs[0].shape[channel]).abs().amax(dim=0)
        found[name] = torch.maximum(values, found[name]) if name in found else values

    hooks = [
        module.register_forward_pre_hook(partial(note, name, 1 if isinstance(module, _ConvNd) else -1))
        for name, module in model.named_modules()
        if places(module, "in")
    ]
    try:
        _answers(model, example)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _answers(model: nn.Module, example: Tensor) -> Tensor:
    with evaluation_mode(model), torch.no_grad():
        return ask(model, example)


def _in_double(model: nn.Module, example: Tensor) -> tuple[Tensor, Tensor]:
    """The example and the model's answers in double precision; in single where the model's code allows no other."""
    try:
        inputs = example.double() if example.is_floating_point() else example
        return inputs, _answers(copy.deepcopy(model).double(), inputs)
    except ModelError:
        return example, _answers(model, example)
