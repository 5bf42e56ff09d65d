"""Layers that share channels, by torch-pruning's dependency graph: the only file that knows that package."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from prunebench.errors import ShrinkError, first_line
from prunebench.models.channels import Side
from prunebench.models.outputs import output_of
from prunebench.models.resnet import PaddingShortcut

OUTPUT = "output"
"""The kind of the member that stands for the model's answers."""

PASSED = ("CONCAT", "SPLIT", "RESHAPE", "UNBIND", "EXPAND", "SLICE", "ELEMENTWISE")
"""Operations that hand channels on, as torch-pruning calls them."""


@dataclass(frozen=True)
class Member:
    """One side of a module that shares channels with others.

    Attributes:
        name: of the module; empty for what is none.
        kind: its class; `output` for the model's answers.
        indices: its channels.
        roots: for each of them, the channel of the group's first layer that it goes with.
    """

    name: str
    kind: str
    side: Side
    indices: Sequence[int]
    roots: Sequence[int]


class Dependencies:
    """Groups of layers that share channels, found by running `model` once; `example` is a batch of inputs (n, ...).

    Raises:
        ShrinkError: torch-pruning is not installed, or cannot follow the model.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        try:
            import torch_pruning  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ShrinkError(
                "torch-pruning tells which layers share channels: pip install 'prunebench[channels]'"
            ) from error
        self._names = {module: name for name, module in model.named_modules()}
        self._graph: Any = torch_pruning.DependencyGraph()
        paddings: dict[Any, tuple[str, int, int]] = {}
        hooks = [
            module.register_forward_hook(partial(_note_padding, paddings, name))
            for name, module in model.named_modules()
            if isinstance(module, PaddingShortcut)
        ]
        try:
            with warnings.catch_warnings(action="ignore"):
                # In a list, or it tries the examples of a batch as arguments.
                self._graph.build_dependency(
                    model.eval().requires_grad_(), [example], output_transform=output_of, verbose=False
                )
                self._follow(paddings)
                self._roots = list(self._found_roots())
        except Exception as error:  # its code and the model's may raise anything
            raise ShrinkError(
                f"torch-pruning cannot follow the layers of this {type(model).__name__}: {first_line(error)}"
            ) from error
        finally:
            for hook in hooks:
                hook.remove()

    def _follow(self, paddings: dict[Any, tuple[str, int, int]]) -> None:
        """Padding puts channels elsewhere; torch-pruning takes it for an operation that leaves them in their places."""
        for node in self._graph.module2node.values():
            if node.grad_fn in paddings:
                self._names[node.module], before, width = paddings[node.grad_fn]
                for source in node.inputs:
                    for edge in (each for each in source.dependencies if each.target is node):
                        edge.index_mapping[1] = partial(_shifted, before, range(width))
                    for edge in (each for each in node.dependencies if each.target is source):
                        edge.index_mapping[0] = partial(_shifted, -before, range(before, before + width))

    def _found_roots(self) -> Iterator[tuple[nn.Module, Callable[..., Any], list[int]]]:
        """A layer, its function and channels for each group. Narrow layers first: padding shares a part of the wide."""
        seen: dict[nn.Module, set[int]] = defaultdict(set)
        layers = [each for each in self._graph.module2node if isinstance(each, _ConvNd | nn.Linear | nn.LSTM)]
        for layer in sorted(layers, key=self._graph.get_out_channels):
            left = [index for index in range(self._graph.get_out_channels(layer)) if index not in seen[layer]]
            if left:
                group = self._graph.get_pruning_group(
                    layer, self._graph.get_pruner_of_module(layer).prune_out_channels, left
                )
                for edge, indices in group:
                    if self._graph.is_out_channel_pruning_fn(edge.handler):
                        seen[edge.target.module].update(indices)
                yield layer, group[0].dep.handler, left

    def groups(self) -> Iterator[tuple[int, Sequence[int]]]:
        """The groups by number, each with the channels of its first layer."""
        return ((number, channels) for number, (_, _, channels) in enumerate(self._roots))

    def members(self, group: int, channels: Sequence[int]) -> list[Member]:
        """Everything that goes with `channels` of the first layer of `group`."""
        module, handler, _ = self._roots[group]
        found = self._graph.get_pruning_group(module, handler, list(channels))
        targets = [(item, item.dep.target) for item in found]
        return [
            self._member(item) for item, node in targets if node.type.name not in PASSED or node.module in self._names
        ]

    def _member(self, item: Any) -> Member:
        node = item.dep.target
        return Member(
            name=self._names.get(node.module, ""),
            kind=OUTPUT if node.type.name == "OUTPUT" else type(node.module).__name__,
            side="out" if self._graph.is_out_channel_pruning_fn(item.dep.handler) else "in",
            indices=item.idxs,
            roots=item.root_idxs,
        )


def _note_padding(
    found: dict[Any, tuple[str, int, int]], name: str, module: PaddingShortcut, inputs: Any, output: Tensor
) -> None:
    found[output.grad_fn] = name, module.before, inputs[0].shape[1]


def _shifted(by: int, where: range, indices: Sequence[Any]) -> list[Any]:
    """The indices of torch-pruning that are in `where`, moved."""
    return [each._replace(idx=each.idx + by) for each in indices if each.idx in where]
