"""Consistency of a scan: what was measured once must be said alike wherever it is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import RecordError
from prunebench.tasks import unpacked

if TYPE_CHECKING:
    from prunebench.sensitivity.scan import Point, Scan


def scan_contradictions(scan: Scan) -> Iterator[str]:
    """Every contradiction of a scan, in words."""
    try:
        base = unpacked(scan.base_bits, correct=scan.base_correct, images=scan.images)
    except RecordError as error:
        yield f"base model: {error}"
        return
    yield from _sizes(scan)
    names = [f"layer {layer.name}" for layer in scan.layers]
    places = [f"{point.layer} at {point.sparsity:g}" for point in scan.points]
    yield from (f"{name} is there twice" for name, count in Counter([*names, *places]).items() if count > 1)
    for point, place in zip(scan.points, places, strict=True):
        yield from (f"{place}: {wrong}" for wrong in _point(point, scan, base))


def _sizes(scan: Scan) -> Iterator[str]:
    if not scan.layers:
        yield "it has no layers"
    for layer in scan.layers:
        if not layer.numel:
            yield f"{layer.name} of shape {layer.shape} has no elements"
        if layer.nonzeros > layer.numel:
            yield f"{layer.name} has {layer.nonzeros:,} nonzeros in {layer.numel:,} elements"
    others = scan.elements - sum(layer.numel for layer in scan.layers)
    kept = scan.nonzeros - sum(layer.nonzeros for layer in scan.layers)
    if not 0 <= kept <= others:
        yield f"{scan.nonzeros:,} nonzeros in {scan.elements:,} elements, {kept:,} in {others:,} outside the layers"


def _point(point: Point, scan: Scan, base: NDArray[np.bool_]) -> Iterator[str]:
    if point.layer not in {layer.name for layer in scan.layers}:
        yield "the model has no such layer"
    if point.correct_bits is None:
        if not point.correct <= point.images <= scan.images:
            yield f"{point.correct:,} right of {point.images:,} images, the scan has {scan.images:,}"
        return
    try:
        right = unpacked(point.correct_bits, correct=point.correct, images=scan.images)
    except RecordError as error:
        yield str(error)
        return
    lost, gained = int((base & ~right).sum()), int((~base & right).sum())
    if (point.lost, point.gained) != (lost, gained):
        yield f"{point.lost} lost and {point.gained} gained, its answers say {lost} and {gained}"
    percent = 100 * point.correct / scan.images
    if point.images != scan.images or max(abs(percent - x) for x in (point.accuracy, point.low, point.high)) > 1e-9:
        yield f"accuracy {point.accuracy:.4f} % of {point.images:,} images, its answers say {percent:.4f} %"
