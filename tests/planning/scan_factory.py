"""Scans made by hand: layers of given shapes, accuracies by a curve, no model."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from prunebench.documented.runs import RUNS
from prunebench.planning import Curves, Inventory
from prunebench.sensitivity import Point, Scan, ScannedLayer

IMAGES = 10_000
GRID = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

VGG_CHANNELS = ((64, 3), (128, 64), (256, 128), (256, 256), (512, 256), (512, 512), (512, 512), (512, 512))
VGG_SHAPES: dict[str, tuple[int, ...]] = dict(
    zip(RUNS["run1"].sparsity, [*((*channels, 3, 3) for channels in VGG_CHANNELS), (10, 512)], strict=True)
)
VGG_ELEMENTS = 9_228_362
VGG_IMAGE_SIDES = (32, 32, 16, 16, 8, 8, 4, 4)


def make_scan(
    shapes: Mapping[str, tuple[int, ...]],
    accuracies: Mapping[str, Mapping[float, float]],
    *,
    base: float = 90.0,
    nonzeros: Mapping[str, int] | None = None,
    macs: Mapping[str, int] | None = None,
    others: int = 0,
    model: str = "vgg",
) -> Scan:
    """A scan; accuracies in percent by layer and sparsity, of `IMAGES` images; `others`: elements outside."""
    layers = [
        ScannedLayer(
            name=name,
            shape=list(shape),
            nonzeros=(nonzeros or {}).get(name, math.prod(shape)),
            macs=(macs or {}).get(name, math.prod(shape)),
        )
        for name, shape in shapes.items()
    ]
    points = [
        _point(layer.name, sparsity, accuracies[layer.name][sparsity], base=base)
        for layer in layers
        if layer.name in accuracies
        for sparsity in sorted(accuracies[layer.name])
    ]
    right = round(base * IMAGES / 100)
    return Scan(
        created="2026-01-01T00:00:00+00:00",
        model=model,
        model_digest="0" * 64,
        data="made up",
        data_digest="1" * 64,
        origin="made up",
        criterion="magnitude",
        precision="fp32",
        mode="exact",
        recomputed="suffix",
        seed=0,
        batch_size=500,
        confidence=1.0,
        elements=sum(layer.numel for layer in layers) + others,
        nonzeros=sum(layer.nonzeros for layer in layers) + others,
        images=IMAGES,
        guessing=10.0,
        base_correct=right,
        base_bits=base64.b64encode(np.packbits(np.arange(IMAGES) < right).tobytes()).decode(),
        layers=layers,
        points=points,
        seconds=1.0,
        environment={"torch": "none"},
    )


def make_curves(
    accuracies: Mapping[str, Mapping[float, float]],
    *,
    numel: int = 100,
    base: float = 90.0,
    nonzeros: Mapping[str, int] | None = None,
) -> Curves:
    """Curves of layers of (10, numel / 10) elements each."""
    shapes = dict.fromkeys(accuracies, (10, numel // 10))
    return Curves.of_scan(make_scan(shapes, accuracies, base=base, nonzeros=nonzeros))


def vgg_scan(
    sparsities: Sequence[float] = (*GRID, 0.95, 0.98),
    fall: Callable[[int, float], float] = lambda position, sparsity: (
        (60, 40, 36, 26, 16, 14, 6, 3, 1)[position] * sparsity**6 * 2
    ),
) -> Scan:
    """The VGG's shapes with made-up curves, which fall by `fall(position, sparsity)` points; earlier layers by more."""
    accuracies = {
        name: {s: max(10.0, round(89.63 - fall(position, s), 2)) for s in sparsities}
        for position, name in enumerate(VGG_SHAPES)
    }
    inner = sum(math.prod(shape) for shape in VGG_SHAPES.values())
    macs = {
        name: math.prod(shape) * side * side
        for (name, shape), side in zip(VGG_SHAPES.items(), (*VGG_IMAGE_SIDES, 1), strict=True)
    }
    return make_scan(VGG_SHAPES, accuracies, base=89.63, macs=macs, others=VGG_ELEMENTS - inner)


def make_inventory(*shapes: tuple[int, ...], nonzeros: Sequence[int] | None = None, others: int = 0) -> Inventory:
    """Layers called a, b, c, ... ; `others` are elements outside them."""
    names = "abcdefghijklmnopqrstuvwxyz"[: len(shapes)]
    counts = dict(zip(names, nonzeros, strict=True)) if nonzeros is not None else None
    return Inventory.of_scan(make_scan(dict(zip(names, shapes, strict=True)), {}, nonzeros=counts, others=others))


def _point(layer: str, sparsity: float, accuracy: float, *, base: float) -> Point:
    correct, right = round(accuracy * IMAGES / 100), round(base * IMAGES / 100)
    return Point(
        layer=layer,
        sparsity=sparsity,
        images=IMAGES,
        correct=correct,
        lost=max(0, right - correct),
        gained=max(0, correct - right),
        accuracy=accuracy,
        low=accuracy,
        high=accuracy,
    )
