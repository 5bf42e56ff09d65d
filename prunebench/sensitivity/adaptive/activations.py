"""Activations on the way through a model, kept for every image: what is asked of the same images later starts there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from prunebench.sensitivity.recomputation import (
    Answered,
    Recomputation,
    Suffixes,
    Zeros,
    agree,
    every_other,
    with_noise,
)

MOST_BYTES = 512 * 2**20
"""Of all that is kept. Of 10,000 images and this VGG: what enters its seventh convolution and its classifier, in bf16
its fifth convolution too; with what one batch takes, a scan stays under 1 GiB."""


class Remembering:
    """Answers as `way` gives them, from what it keeps in `cache` of images that were asked before.

    Nothing is kept where `way` runs the model from its start, nor where a few images, `probe`, do not lead to the very
    logits when they come in another order.

    Attributes:
        kept: the nodes whose values are kept: what is read by what follows a layer that can be pruned.
    """

    def __init__(self, way: Recomputation, model: nn.Module, probe: Tensor, cache: ActivationCache) -> None:
        self._way, self._cache = way, cache
        self.kept: set[fx.Node] = set()
        if isinstance(way, Suffixes):
            self._sources = {start: _sources(way.nodes, start) for start in {*way.starts.values()}}
            images, halves = with_noise(probe), every_other(model, way.starts)
            watching = _Watching(way.traced)
            watching.run(images.clone())
            if not watching.changed:
                self.kept = {node for nodes in self._sources.values() for node in nodes if node.op.startswith("call")}
                self.kept = self.kept if self._is_exact(images, halves) else set()

    def batch(
        self, images: Tensor, masks: Mapping[str, Sequence[Zeros]], *, base: bool, which: Tensor
    ) -> Iterator[Answered]:
        """Logits as `Recomputation.batch` gives them; `which` (n,) are the images' indices among all."""
        if not (isinstance(self._way, Suffixes) and self.kept):
            return self._way.batch(images, masks, base=base)
        cached = self._cache.of(which)
        needed: set[fx.Node] = set()
        starts = {self._way.start(name, versions) for name, versions in masks.items()}
        open_ = [node for start in starts for node in self._sources[start]] + self._way.nodes[-1:] * base
        while open_:
            node = open_.pop()
            if node not in needed:
                needed.add(node)
                open_ += [] if cached.knows(node) else node.all_input_nodes
        known = {
            node: cached.value(node) if node in needed else None
            for node in self._way.nodes
            if node not in needed or cached.knows(node)
        }
        return self._way.batch(images, masks, base=base, values=_Values(known, self.kept, cached))

    def _is_exact(self, images: Tensor, masks: Mapping[str, Sequence[Zeros]]) -> bool:
        """True where what was kept leads to the very logits, also where the images come in another order.

        Only what has a row an image here is kept from now on: elsewhere a batch may be as large as something else is.
        """
        order = torch.arange(len(images), device=images.device)
        all_, self._cache = self._cache, ActivationCache(len(images))
        list(self.batch(images, {}, base=True, which=order))
        self.kept &= self._cache.rows.keys()
        found = self.batch(images.flip(0), masks, base=True, which=order.flip(0))
        try:
            return agree(self._way.batch(images.flip(0), masks), found)
        finally:
            self._cache = all_


class _Values(dict[fx.Node, Any]):
    """Values of nodes of one batch; what is put here later for those in `kept` goes to `cached` too."""

    def __init__(self, known: dict[fx.Node, Any], kept: set[fx.Node], cached: CachedBatch) -> None:
        super().__init__(known)
        self._kept, self._cached = kept, cached

    def __setitem__(self, node: fx.Node, value: Any) -> None:
        if node in self._kept:
            self._cached.keep(node, value)
        super().__setitem__(node, value)


def _sources(nodes: Sequence[fx.Node], start: int) -> set[fx.Node]:
    """Nodes before `start` that are read from there on."""
    return {source for node in nodes[start:] for source in node.all_input_nodes}.difference(nodes[start:])


class _Watching(fx.Interpreter):
    """Runs a graph; `changed` tells whether a value was read after something changed it in place."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.changed = False
        self._given: dict[fx.Node, tuple[Tensor, Tensor]] = {}

    def run_node(self, n: fx.Node) -> Any:
        read = (self._given[source] for source in n.all_input_nodes if source in self._given)
        self.changed = self.changed or not all(torch.equal(value, copy) for value, copy in read)
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self._given[n] = value, value.clone()
        return value


class ActivationCache:
    """Values of nodes of a graph for some of `images` images: the first that come, while they fit into `most` bytes."""

    def __init__(self, images: int, most: int = MOST_BYTES) -> None:
        self.images = images
        self.left = most
        self.rows: dict[fx.Node, _Rows] = {}

    def of(self, batch: Tensor) -> CachedBatch:
        """The part that is about the images at the indices `batch` (n,)."""
        return CachedBatch(self, batch)


class CachedBatch:
    """The part of a cache that is about one batch of n images."""

    def __init__(self, cache: ActivationCache, batch: Tensor) -> None:
        self._cache, self._batch = cache, batch

    def keep(self, node: fx.Node, value: object) -> None:
        """Keep `value`, what `node` gave: if it is a tensor (n, ...), and there is room for that of all images."""
        if not isinstance(value, Tensor) or not value.dim() or len(value) != len(self._batch):
            return
        cache = self._cache
        if node not in cache.rows:
            size = cache.images * value[0].numel() * value.element_size()
            if size > cache.left:
                return
            cache.left -= size
            cache.rows[node] = _Rows(cache.images, value)
        cache.rows[node].write(self._batch, value)

    def knows(self, node: fx.Node) -> bool:
        """True where it holds what `node` gave for all of the batch."""
        return node in self._cache.rows and self._cache.rows[node].hold(self._batch)

    def value(self, node: fx.Node) -> Tensor:
        """A copy of that, laid out in memory as it was."""
        return self._cache.rows[node].read(self._batch)


class _Rows:
    """A row an image, its elements in the order they lie in memory."""

    def __init__(self, images: int, example: Tensor) -> None:
        example = _dense(example)
        self._shape, self._strides = example.shape[1:], example.stride()[1:]
        self._elements = example.new_empty((images, example[0].numel()))
        self._known = torch.zeros(images, dtype=torch.bool, device=example.device)

    def write(self, batch: Tensor, value: Tensor) -> None:
        elements = self._elements.shape[1]
        self._elements[batch] = _dense(value).as_strided((len(batch), elements), (elements, 1))
        self._known[batch] = True

    def hold(self, batch: Tensor) -> bool:
        return bool(self._known[batch].all())

    def read(self, batch: Tensor) -> Tensor:
        rows = self._elements[batch]
        return rows.as_strided((len(batch), *self._shape), (rows.shape[1], *self._strides))


def _dense(value: Tensor) -> Tensor:
    """Without gaps, image after image."""
    channels_last = value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last)
    return value if channels_last else value.contiguous()
