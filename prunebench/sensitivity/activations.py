"""Activations on the way through a model, kept for every image: what is asked of the same images later starts there."""

from __future__ import annotations

import torch
from torch import Tensor, fx

MOST_BYTES = 512 * 2**20
"""Of all that is kept. Of 10,000 images and this VGG: what enters its seventh convolution and its classifier, in bf16
its fifth convolution too; with what one batch takes, a scan stays under 1 GiB."""


class ActivationCache:
    """What nodes of a graph gave for some of `images` images. The first that come are kept, as long as they fit into
    `most` bytes.
    """

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
        """Whether it holds what `node` gave for all of the batch."""
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
