"""Answers of a model with one weight changed at a time, batch by batch, computing again only what the weight changes.

The model is traced into a graph. On the way through it, before the first operation that uses a weight, everything that
depends on the weight is run once for each of its changed versions, from the values computed so far. Those are dropped
after their last use, so that memory stays at one batch; where the same images are asked again and again, what the
layers are given may be kept for all of them (`activations`). A model that cannot be traced, or whose graph does not
answer as the model does, is run from its start each time.
"""

from __future__ import annotations

import contextlib
import copy
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, fx, nn

from prunebench.models import prunable_parameters
from prunebench.pruning.masks import with_zeros
from prunebench.sensitivity.activations import ActivationCache, CachedBatch

Recomputed = Literal["suffix", "whole"]


class Answered(NamedTuple):
    """Logits (n, classes) of one batch: of the model as it is (`layer` None), or with version `version` of a weight."""

    layer: str | None
    version: int
    logits: Tensor


class Recomputation(Protocol):
    """A way to get the answers."""

    kind: Recomputed

    def batch(
        self,
        images: Tensor,
        masks: Mapping[str, Sequence[Tensor]],
        *,
        base: bool = True,
        cached: CachedBatch | None = None,
    ) -> Iterator[Answered]:
        """Logits of the model with each weight in `masks` under each of its masks, and, if `base`, of it as it is.

        `images` are float (n, channels, height, width); a mask is bool, of the weight's shape and False where it is
        pruned. The model is in evaluation mode and ends as it was. What is `cached` of these images may be used and
        added to.
        """
        ...


def recomputation(model: nn.Module, probe: Tensor) -> Recomputation:
    """The best way there is for `model`, which is in evaluation mode.

    `probe` is a small batch of images, to which as many of noise are added, since a few real ones may be black. A graph
    that does not give the model's own logits on them, bit for bit, with half of each weight pruned and with none, is
    not used: of a model that changes in place what it needs again, or that computes with weights while it is traced.
    """
    noise = torch.rand(probe.shape, generator=torch.Generator().manual_seed(0)).to(probe)
    images, whole = torch.cat([probe, noise]), Whole(model)
    try:
        suffixes = Suffixes(model)
        halves = {name: [_every_other(weight)] for name, weight in prunable_parameters(model).items()}
        expected = {answer.layer: answer.logits for answer in whole.batch(images, halves)}
        if not _agree(expected, suffixes.batch(images, halves)):
            return whole
        suffixes.caches = _caches(suffixes, images, halves)
    except Exception:  # tracing runs the model's own code, which may raise anything
        return whole
    return suffixes


def _caches(suffixes: Suffixes, images: Tensor, masks: Mapping[str, Sequence[Tensor]]) -> bool:
    """Whether kept activations lead to the very logits, also where the images come in another order.

    Only what has a row an image here is kept from now on: elsewhere a batch may be as large as something else is.
    """
    if suffixes.changes_what_it_reads(images):
        return False
    cache, order = ActivationCache(len(images)), torch.arange(len(images), device=images.device)
    expected = {answer.layer: answer.logits for answer in suffixes.batch(images.flip(0), masks)}
    list(suffixes.batch(images, {}, cached=cache.of(order)))
    suffixes.cacheable.intersection_update(cache.rows)
    return _agree(expected, suffixes.batch(images.flip(0), masks, cached=cache.of(order.flip(0))))


def _agree(expected: Mapping[str | None, Tensor], answers: Iterator[Answered]) -> bool:
    return all(torch.equal(expected[answer.layer], answer.logits) for answer in answers)


def _every_other(weight: Tensor) -> Tensor:
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[::2] = True
    return mask.view(weight.shape)


class Whole:
    """Every version from the start."""

    kind: Recomputed = "whole"

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._weights = dict(model.named_parameters())

    def batch(
        self,
        images: Tensor,
        masks: Mapping[str, Sequence[Tensor]],
        *,
        base: bool = True,
        cached: CachedBatch | None = None,
    ) -> Iterator[Answered]:
        """As `Recomputation.batch`."""
        del cached  # every version is run from the images
        for name, versions in masks.items():
            for version, mask in enumerate(versions):
                with _pruned(self._weights[name], mask):
                    logits = self._model(images.clone())  # which the model may change in place
                yield Answered(name, version, logits)
        if base:
            yield Answered(None, 0, self._model(images.clone()))


class Suffixes:
    """Only what follows the changed weight.

    Attributes:
        weights: the parameters by name that can be changed: all of them.
        cacheable: the nodes whose values may be kept for later: what enters layers that can be pruned.
        caches: whether it uses what is cached.

    Raises:
        Exception: whatever tracing raises on a model whose path depends on its input.
    """

    kind: Recomputed = "suffix"
    caches: bool = True

    def __init__(self, model: nn.Module) -> None:
        # A copy with the same tensors: tracing leaves what it computes with in a model that keeps what it computes.
        shared: dict[int, Any] = {id(one): one for one in (*model.parameters(), *model.buffers())}
        traced = fx.symbolic_trace(copy.deepcopy(model, shared))
        self._interpreter = fx.Interpreter(traced, garbage_collect_values=False)
        self._nodes = list(traced.graph.nodes)
        self.weights = dict(model.named_parameters())
        modules = dict(model.named_modules(remove_duplicate=False))
        self._suffixes = {name: self._after(self._users(weight, modules)) for name, weight in self.weights.items()}
        self._sources = {name: _sources(nodes) for name, nodes in self._suffixes.items()}
        self.cacheable = {
            node for name in prunable_parameters(model) for node in self._sources[name] if node.op.startswith("call")
        }
        self._beside = {name: self._needed_by(nodes) for name, nodes in self._suffixes.items()}
        self._starts: dict[fx.Node, list[str]] = {}
        for name, nodes in self._suffixes.items():
            if nodes:
                self._starts.setdefault(nodes[0], []).append(name)
        self._last_uses = _last_uses(self._nodes)
        self._suffix_last_uses = {name: _last_uses(nodes) for name, nodes in self._suffixes.items()}

    def batch(
        self,
        images: Tensor,
        masks: Mapping[str, Sequence[Tensor]],
        *,
        base: bool = True,
        cached: CachedBatch | None = None,
    ) -> Iterator[Answered]:
        """As `Recomputation.batch`, in the order of the model's layers; the model as it is comes last."""
        cached = cached if self.caches else None
        values: dict[fx.Node, Any] = {}
        unused = [name for name in masks if not self._suffixes[name]]
        ahead = set(masks).difference(unused)
        whole = base or bool(unused)
        needed = self._needed(ahead, cached, whole=whole)

        def compute(node: fx.Node) -> None:
            if node in values or node not in needed:
                return
            if cached and cached.knows(node):
                values[node] = cached.value(node)
            else:
                values[node] = self._computed(node, values, images)
                if cached and node in self.cacheable:
                    cached.keep(node, values[node])

        for node in self._nodes:
            if not (ahead or whole):
                return
            for name in (name for name in self._starts.get(node, []) if name in masks):
                for beside in self._beside[name]:
                    compute(beside)
                for version, mask in enumerate(masks[name]):
                    with _pruned(self.weights[name], mask):
                        logits = self._run(self._suffixes[name], values, self._suffix_last_uses[name])
                    yield Answered(name, version, logits)
                ahead.remove(name)
            compute(node)
            for used in self._last_uses.get(node, ()):
                values.pop(used, None)
        logits = values[self._nodes[-1]]
        for name in unused:
            yield from (Answered(name, version, logits) for version in range(len(masks[name])))
        if base:
            yield Answered(None, 0, logits)

    def changes_what_it_reads(self, images: Tensor) -> bool:
        """Whether a value is read after something changed it in place, and so is not what its node gave."""
        values: dict[fx.Node, Any] = {}
        given: dict[fx.Node, Tensor] = {}
        for node in self._nodes:
            read = given.keys() & set(node.all_input_nodes)
            if not all(torch.equal(given[source], values[source]) for source in read):
                return True
            values[node] = self._computed(node, values, images)
            if isinstance(values[node], Tensor):
                given[node] = values[node].clone()
        return False

    def _needed(self, ahead: set[str], cached: CachedBatch | None, *, whole: bool) -> set[fx.Node]:
        """What the suffixes of the layers `ahead`, and the model's own answer if `whole`, need that is not cached.

        Without a cache all there is: an operation that changes its input in place may be read by nobody.
        """
        if not cached:
            return set(self._nodes)
        needed: set[fx.Node] = set()
        open_ = [node for name in ahead for node in self._sources[name]]
        open_ += self._nodes[-1:] if whole else []
        while open_:
            node = open_.pop()
            if node not in needed:
                needed.add(node)
                open_ += [] if cached.knows(node) else node.all_input_nodes
        return needed

    def _run(
        self, nodes: Sequence[fx.Node], before: dict[fx.Node, Any], last_uses: Mapping[fx.Node, Sequence[fx.Node]]
    ) -> Tensor:
        own: dict[fx.Node, Any] = {}
        values = ChainMap(own, before)
        for node in nodes:
            own[node] = self._value(node, values)
            for used in last_uses.get(node, ()):
                own.pop(used, None)  # what was there before is still needed
        result: Tensor = own[nodes[-1]]
        return result

    def _computed(self, node: fx.Node, values: Mapping[fx.Node, Any], images: Tensor) -> Any:
        return images.clone() if node.op == "placeholder" else self._value(node, values)  # it may be changed in place

    def _value(self, node: fx.Node, values: Any) -> Any:
        self._interpreter.env = values
        args, kwargs = self._interpreter.fetch_args_kwargs_from_env(node)
        return getattr(self._interpreter, node.op)(node.target, args, kwargs)

    def _users(self, weight: nn.Parameter, modules: Mapping[str, nn.Module]) -> set[fx.Node]:
        """The nodes that read the weight themselves."""
        users = set()
        for node in self._nodes:
            if node.op == "call_module" and any(weight is own for own in modules[str(node.target)].parameters()):
                users.add(node)
            elif node.op == "get_attr":
                owner, _, attribute = str(node.target).rpartition(".")
                if getattr(modules[owner], attribute, None) is weight:  # the copy alone has constants
                    users.add(node)
        return users

    def _after(self, users: set[fx.Node]) -> list[fx.Node]:
        """`users` and every node that depends on one of them, in the order of the graph."""
        depending = set(users)
        for node in self._nodes:
            if any(source in depending for source in node.all_input_nodes):
                depending.add(node)
        return [node for node in self._nodes if node in depending]

    def _needed_by(self, suffix: list[fx.Node]) -> list[fx.Node]:
        """What comes after the first use of the weight without depending on it, and is read by what does: branches."""
        later = self._nodes[self._nodes.index(suffix[0]) :] if suffix else []
        needed = _sources(suffix)
        for node in reversed(later):
            if node in needed:
                needed.update(node.all_input_nodes)
        return [node for node in later if node in needed]


def _sources(suffix: Sequence[fx.Node]) -> set[fx.Node]:
    """What is read by `suffix` and not part of it."""
    return {source for node in suffix for source in node.all_input_nodes} - set(suffix)


def _last_uses(nodes: Sequence[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """By node, the values that nothing after it in `nodes` reads."""
    last = {source: node for node in nodes for source in node.all_input_nodes}
    uses: dict[fx.Node, list[fx.Node]] = {}
    for source, node in last.items():
        uses.setdefault(node, []).append(source)
    return uses


@contextlib.contextmanager
def _pruned(weight: nn.Parameter, mask: Tensor) -> Iterator[None]:
    """The weight with zeros where the mask is False; put back afterwards. Swaps the storage: no copy back."""
    kept = weight.data
    weight.data = with_zeros(kept, mask)
    try:
        yield
    finally:
        weight.data = kept
