"""Synthetic scans: three layers at three sparsities, answers as one likes them, made in microseconds."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record_factory import digest

from prunebench.sensitivity import Point, Scan, ScannedLayer
from prunebench.storage.documents import render

IMAGES = 10_000
LAYERS = {
    "backbone.conv0.weight": [64, 3, 3, 3],
    "backbone.conv1.weight": [64, 64, 3, 3],
    "classifier.weight": [10, 64],
}
SPARSITIES = (0.5, 0.7, 0.9)
PLACES = [(layer, sparsity) for layer in LAYERS for sparsity in SPARSITIES]
ENVIRONMENT: dict[str, str | int] = {
    "torch": "2.0",
    "device": "cpu",
    "cpu": "a processor",
    "cpu_capability": "AVX2",
    "threads": 2,
}

Place = tuple[str, float]
Right = NDArray[np.bool_]


def base_right(images: int = IMAGES) -> Right:
    """The first 7 % are wrong."""
    return np.arange(images) >= 7 * images // 100


def place_right(place: Place, images: int = IMAGES) -> Right:
    """The more is pruned the more is wrong; other images in each layer."""
    right = base_right(images)
    start = (1 + list(LAYERS).index(place[0])) * images // 5
    right[start : start + int(place[1] ** 4 * images / 10)] = False
    return right


def packed(right: Right) -> str:
    return base64.b64encode(np.packbits(right).tobytes()).decode("ascii")


def make_point(place: Place, right: Right, base: Right, *, answered: int | None = None) -> Point:
    """Of answers to all images; with `answered`, as though only so many of them were asked."""
    percent = 100 * int(right.sum()) / len(right)
    counted = slice(answered)
    slack = 0.0 if answered is None else 2.0
    return Point(
        layer=place[0],
        sparsity=place[1],
        images=len(right[counted]),
        correct=int(right[counted].sum()),
        lost=int((base & ~right)[counted].sum()),
        gained=int((~base & right)[counted].sum()),
        accuracy=percent,
        low=percent - slack,
        high=percent + slack,
        correct_bits=packed(right) if answered is None else None,
    )


def make_scan(
    changed: dict[Place, Right] | None = None,
    *,
    base: Right | None = None,
    places: list[Place] | None = None,
    answered: int | None = None,
    images: int = IMAGES,
    **changes: Any,
) -> Scan:
    """The usual scan, with the answers of some points `changed`, or only some points in it."""
    base = base_right(images) if base is None else base
    answers = {place: place_right(place, images) for place in (PLACES if places is None else places)} | (changed or {})
    numels = {name: int(np.prod(shape)) for name, shape in LAYERS.items()}
    fields: dict[str, Any] = {
        "created": "2026-01-02T03:04:05+00:00",
        "model": "vgg",
        "model_digest": digest("dense"),
        "data": "digits",
        "data_digest": digest("digits"),
        "origin": "dense.safetensors",
        "criterion": "magnitude",
        "precision": "fp32",
        "mode": "exact" if answered is None else "adaptive",
        "recomputed": "suffix",
        "seed": 0,
        "batch_size": 500,
        "confidence": 1.0 if answered is None else 0.95,
        "elements": sum(numels.values()),
        "nonzeros": sum(numels.values()),
        "images": images,
        "guessing": 10.0,
        "base_correct": int(base.sum()),
        "base_bits": packed(base),
        "layers": [
            ScannedLayer(name=name, shape=shape, nonzeros=numels[name], macs=9 * numels[name])
            for name, shape in LAYERS.items()
        ],
        "points": [make_point(place, right, base, answered=answered) for place, right in answers.items()],
        "seconds": 12.5,
        "environment": ENVIRONMENT,
        "revision": "0" * 40,
        "dirty": False,
    }
    return Scan(**(fields | changes))


def losing(place: Place, count: int, *, images: int = IMAGES) -> dict[Place, Right]:
    """That point with `count` right answers lost, spread over the images."""
    right = place_right(place, images)
    right[np.random.default_rng(count).choice(np.flatnonzero(right), count, replace=False)] = False
    return {place: right}


def with_layer(scan: Scan, **changes: Any) -> Scan:
    """The scan with its first layer changed, and nothing else."""
    return Scan(**dict(scan) | {"layers": [scan.layers[0].model_copy(update=changes), *scan.layers[1:]]})


def edited(path: Path, **changes: Any) -> Path:
    """The file of a usual scan, with `changes` in it that no scan can be built with."""
    path.write_text(render(make_scan().model_dump(mode="json") | changes))
    return path


_LAYERS = make_scan().model_dump(mode="json")["layers"]
_POINTS = make_scan().model_dump(mode="json")["points"]
CONTRADICTORY: dict[str, dict[str, Any]] = {
    "base model: correct_bits say 9300 images are right, the record says 1": {"base_correct": 1},
    "base model: correct_bits are not base64": {"base_bits": "?"},
    "it has no layers": {"layers": [], "points": []},
    "layer backbone.conv0.weight is there twice": {"layers": [_LAYERS[0], *_LAYERS]},
    "of shape [0, 3, 3, 3] has no elements": {
        "layers": [_LAYERS[0] | {"shape": [0, 3, 3, 3], "nonzeros": 0}, *_LAYERS[1:]]
    },
    "1,729 nonzeros in 1,728 elements": {"layers": [_LAYERS[0] | {"nonzeros": 1729}, *_LAYERS[1:]]},
    "39,232 nonzeros in 0 elements": {"elements": 0},
    "39,233 nonzeros in 39,232 elements, 1 in 0 outside the layers": {"nonzeros": 39_233},
    "0 nonzeros in 39,232 elements": {"nonzeros": 0},
    "backbone.conv0.weight at 0.5 is there twice": {"points": [*_POINTS, _POINTS[0]]},
    "1 lost and 0 gained": {"points": [_POINTS[0] | {"lost": 1}]},
    "accuracy 99.0000 %": {"points": [_POINTS[0] | {"accuracy": 99.0}]},
    "the model has no such layer": {"points": [_POINTS[0] | {"layer": "gone"}]},
}
"""Changes that make a scan contradict itself, by what is said of it."""
