"""Layers that share channels, by torch-pruning's dependency graph: the only file that knows that package."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from prunebench.errors import ShrinkError, first_line
from prunebench.models import Side
from prunebench.tasks.evaluation import output_of

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
            raise ShrinkError("shrinking needs torch-pruning: pip install 'prunebench[channels]'") from error
        self._names = {module: name for name, module in model.named_modules()}
        self._graph: Any = torch_pruning.DependencyGraph()
        try:
            with warnings.catch_warnings(action="ignore"):
                # In a list, or it tries the examples of a batch as arguments.
                self._graph.build_dependency(
                    model.eval().requires_grad_(), [example], output_transform=output_of, verbose=False
                )
                self._roots = [
                    (group[0].dep.target.module, group[0].dep.handler, len(group[0].idxs))
                    for group in self._graph.get_all_groups(root_module_types=(_ConvNd, nn.Linear, nn.LSTM))
                ]
        except Exception as error:  # its code and the model's may raise anything
            raise ShrinkError(
                f"torch-pruning cannot follow the layers of this {type(model).__name__}: {first_line(error)}"
            ) from error

    def groups(self) -> Iterator[tuple[int, int]]:
        """The groups by number, each with the number of channels of its first layer."""
        return ((number, width) for number, (_, _, width) in enumerate(self._roots))

    def members(self, group: int, channels: Sequence[int]) -> list[Member]:
        """Everything that goes with `channels` of the first layer of `group`."""
        module, handler, _ = self._roots[group]
        found = self._graph.get_pruning_group(module, handler, list(channels))
        return [self._member(item) for item in found if item.dep.target.type.name not in PASSED]

    def _member(self, item: Any) -> Member:
        node = item.dep.target
        return Member(
            name=self._names.get(node.module, ""),
            kind=OUTPUT if node.type.name == "OUTPUT" else type(node.module).__name__,
            side="out" if self._graph.is_out_channel_pruning_fn(item.dep.handler) else "in",
            indices=item.idxs,
            roots=item.root_idxs,
        )
