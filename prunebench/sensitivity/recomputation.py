"""Answers of a model with one weight changed at a time, batch by batch, computing again only what the weight changes.

The model is traced into a graph. On the way through it, before the first operation that reads a weight, the rest of the
graph is run once for each of the weight's changed versions, from the values computed so far. Those are dropped after
their last use, so that memory stays at one batch. A model that cannot be traced, or whose graph does not answer as the
model does, is run from its start each time.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, fx, nn

from prunebench.models import output_of, prunable_parameters
from prunebench.pruning.masks import with_zeros

Recomputed = Literal["suffix", "whole"]


Zeros = Tensor | Mapping[str, Tensor]
"""A mask of one weight; or of all parameters that lose something with it, by name."""


def zeros_of(name: str, zeros: Zeros) -> Mapping[str, Tensor]:
    """Masks by parameter name."""
    return {name: zeros} if isinstance(zeros, Tensor) else zeros


class Answered(NamedTuple):
    """Logits (n, classes) of one batch: of the model as it is (`layer` None), or with version `version` of a weight."""

    layer: str | None
    version: int
    logits: Tensor


class Recomputation(Protocol):
    """A way to get the answers."""

    kind: Recomputed

    def batch(self, images: Tensor, masks: Mapping[str, Sequence[Zeros]], *, base: bool = True) -> Iterator[Answered]:
        """Logits of the model with each weight in `masks` under each of its masks, and, if `base`, of it as it is.

        `images` are float (n, channels, height, width); a mask is bool, of the weight's shape and False where it is
        pruned. Other parameters that lose something with it have masks beside it (`Zeros`). The model is in evaluation
        mode and ends as it was.
        """
        ...


def recomputation(model: nn.Module, probe: Tensor, layers: Collection[str] | None = None) -> Recomputation:
    """The best way there is for `model`, in evaluation mode, to change the weights `layers`, or any prunable one.

    `probe` is a small batch of images, to which as many of noise are added, since a few real ones may be black. A graph
    that does not give the model's own logits on them, bit for bit, with half of each weight pruned and with none, is
    not used: of a model that changes in place what it needs again, or that computes with weights while it is traced.
    """
    layers = prunable_parameters(model) if layers is None else layers
    whole = WholeModel(model)
    try:
        suffixes = Suffixes(model, layers)
        images, halves = with_noise(probe), every_other(model, layers)
        if agree(whole.batch(images, halves), suffixes.batch(images, halves)):
            return suffixes
    except Exception:  # tracing runs the model's own code, which may raise anything
        return whole
    return whole


def with_noise(images: Tensor) -> Tensor:
    """The images and as many of noise, always the same."""
    return torch.cat([images, torch.rand(images.shape, generator=torch.Generator().manual_seed(0)).to(images)])


def every_other(model: nn.Module, layers: Collection[str]) -> dict[str, list[Tensor]]:
    """By name a mask that prunes half of the weight."""
    masks = {
        name: torch.zeros_like(model.get_parameter(name), dtype=torch.bool, memory_format=torch.contiguous_format)
        for name in layers
    }
    for mask in masks.values():
        mask.view(-1)[::2] = True
    return {name: [mask] for name, mask in masks.items()}


def agree(expected: Iterator[Answered], found: Iterator[Answered]) -> bool:
    """True where both hold the same logits, in whatever order."""
    logits = {(answer.layer, answer.version): answer.logits for answer in expected}
    return all(torch.equal(logits[answer.layer, answer.version], answer.logits) for answer in found)


class WholeModel:
    """Every version from the start."""

    kind: Recomputed = "whole"

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def batch(self, images: Tensor, masks: Mapping[str, Sequence[Zeros]], *, base: bool = True) -> Iterator[Answered]:
        """Logits as `Recomputation.batch` gives them, each version run from the start."""
        for name, versions in masks.items():
            for version, mask in enumerate(versions):
                with _pruned(self._model, zeros_of(name, mask)):
                    logits = self._logits(images)
                yield Answered(name, version, logits)
        if base:
            yield Answered(None, 0, self._logits(images))

    def _logits(self, images: Tensor) -> Tensor:
        return output_of(self._model(images.clone()))  # which the model may change in place


class Suffixes(fx.Interpreter):
    """Only what follows the changed weight, one of `layers` or any prunable one.

    Attributes:
        traced: the model as a graph.
        nodes: of that, in the order they are run.
        starts: by layer, the place in `nodes` of the first that reads its weight; of one that is never read, the last.

    Raises:
        Exception: whatever tracing raises on a model whose path depends on its input.
    """

    kind: Recomputed = "suffix"

    def __init__(self, model: nn.Module, layers: Collection[str] | None = None) -> None:
        self._model = model
        # A copy with the same tensors: tracing leaves what it computes with in a model that keeps what it computes.
        shared: dict[int, Any] = {id(one): one for one in (*model.parameters(), *model.buffers())}
        layers = prunable_parameters(model) if layers is None else layers
        tracer = _Tracer(layers)
        graph = tracer.trace(copy.deepcopy(model, shared))
        self.traced = fx.GraphModule(tracer.root, graph)
        super().__init__(self.traced)
        self.nodes = list(self.graph.nodes)
        first = {id(read): at for at, node in reversed([*enumerate(self.nodes)]) for read in self._read(node)}
        self.starts = {name: first.get(id(model.get_parameter(name)), len(self.nodes) - 1) for name in layers}

    def batch(
        self,
        images: Tensor,
        masks: Mapping[str, Sequence[Zeros]],
        *,
        base: bool = True,
        values: dict[fx.Node, Any] | None = None,
    ) -> Iterator[Answered]:
        """Logits as `Recomputation.batch` gives them, in the order of the graph; the model as it is comes last.

        `values` are those of nodes that need not be computed, None where nobody reads them; all others are put there.
        """
        values = {} if values is None else values
        starts = {name: self.start(name, versions) for name, versions in masks.items()}
        for name in sorted(masks, key=starts.__getitem__):
            before = self.nodes[: starts[name]]
            self._run(before, images, values)
            for version, mask in enumerate(masks[name]):
                with _pruned(self._model, zeros_of(name, mask)):
                    outputs = self.run(images.clone(), initial_env={node: values[node] for node in before})
                yield Answered(name, version, output_of(outputs))
        if base:
            yield Answered(None, 0, output_of(self.run(images.clone(), initial_env=values)))

    def start(self, name: str, versions: Sequence[Zeros]) -> int:
        """The place in `nodes` of the first that reads a weight with zeros in any of `versions`."""
        changed = {each for version in versions for each in zeros_of(name, version)}
        return min(int(at) for layer, at in self.starts.items() if layer in changed or layer == name)

    def _run(self, nodes: Sequence[fx.Node], images: Tensor, values: dict[fx.Node, Any]) -> None:
        """Put the values of `nodes`, the first of the graph, to `values`, and drop those that no later one reads."""
        self.env, self.args_iter = values, iter([images.clone()])  # which the model may change in place
        for node in nodes:
            if node not in values:
                values[node] = self.run_node(node)
            values.update(dict.fromkeys(self.user_to_last_uses.get(node, ())))

    def _read(self, node: fx.Node) -> list[Any]:
        """The tensors of the model that a node reads itself."""
        if node.op == "call_module":
            return list(self.fetch_attr(str(node.target)).parameters())
        return [self.fetch_attr(str(node.target))] if node.op == "get_attr" else []


class _Tracer(fx.Tracer):
    """Looks into a module only where one of `layers` is in it: the fewer nodes, the less is spent on each."""

    def __init__(self, layers: Collection[str]) -> None:
        super().__init__()
        self._layers = layers

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        inside = any(name.startswith(f"{module_qualified_name}.") for name in self._layers)
        return not inside or super().is_leaf_module(m, module_qualified_name)


@contextlib.contextmanager
def _pruned(model: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """The parameters with zeros where their masks are False; put back afterwards. Swaps the storage: no copy back."""
    parameters = {name: model.get_parameter(name) for name in masks}
    kept = {name: parameter.data for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        parameter.data = with_zeros(kept[name], masks[name])
    try:
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = kept[name]
