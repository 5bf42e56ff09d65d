"""Ten kinds of shapes, generated: a colour data set that needs no download and is hard enough to tell models apart.

Every step is arithmetic of integers on bytes of SHAKE-256 (FIPS 202), so the images are the same bytes on every
platform and with every version of numpy and torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prunebench.data.examples import Dataset, Examples

SIZE = 16
TRAIN_IMAGES = 4000
TEST_IMAGES = 4000

Integers = NDArray[np.int64]
Inside = Callable[[Integers, Integers, Integers], Any]

GRID = 4
"""Points a pixel is sampled at, in each direction: its coverage is a count of 0 to 16."""

NORM = 65
"""Length of the vectors that shapes are turned by: 65 squared is a sum of two squares in many ways."""

TURNS = np.array(
    [(a, b) for a in range(-NORM, NORM + 1) for b in range(-NORM, NORM + 1) if a * a + b * b == NORM * NORM]
)

NOISE = 48
"""Amplitude of the noise on each value, of 255; its distribution is a triangle."""

# Which points belong to a shape: u and v are its own axes, r its radius. Coefficients are hundredths.
KINDS: Mapping[str, Inside] = MappingProxyType(
    {
        "disc": lambda u, v, r: 100 * (u * u + v * v) <= 81 * r * r,
        "ring": lambda u, v, r: (100 * (u * u + v * v) <= 100 * r * r) & (100 * (u * u + v * v) >= 30 * r * r),
        "square": lambda u, v, r: 100 * np.maximum(abs(u), abs(v)) <= 80 * r,
        "frame": lambda u, v, r: (
            (100 * np.maximum(abs(u), abs(v)) <= 88 * r) & (100 * np.maximum(abs(u), abs(v)) >= 48 * r)
        ),
        "triangle": lambda u, v, r: (100 * v >= -60 * r) & (2 * abs(u) + v <= r),
        "cross": lambda u, v, r: (100 * np.minimum(abs(u), abs(v)) <= 30 * r) & (np.maximum(abs(u), abs(v)) <= r),
        "bar": lambda u, v, r: (abs(u) <= r) & (100 * abs(v) <= 35 * r),
        "corner": lambda u, v, r: (100 * np.maximum(abs(u), abs(v)) <= 90 * r) & (100 * np.minimum(u, v) <= -30 * r),
        "tee": lambda u, v, r: (
            (100 * np.maximum(abs(u), abs(v)) <= 95 * r) & ((100 * abs(u) <= 30 * r) | (100 * v >= 35 * r))
        ),
        "half": lambda u, v, r: (100 * (u * u + (v + r // 3) ** 2) <= 120 * r * r) & (3 * v >= -r),
    }
)
"""Whether a point is inside, by kind of shape."""


def load_shapes() -> Dataset:
    """4,000 training and 4,000 test images, 16x16 RGB, of ten kinds of shapes; takes about a second."""
    return Dataset(
        name="shapes",
        train=_draw("train", TRAIN_IMAGES),
        test=_draw("test", TEST_IMAGES),
        classes=tuple(KINDS),
        origin="generated",
    )


def _draw(split: str, count: int) -> Examples:
    """`count` images, the kinds in turn; where, how large, how turned and in which colours is drawn for each."""
    labels = np.arange(count) % len(KINDS)
    draws = _bytes(f"{split} draws", (count, 12))
    coverage = np.empty((count, SIZE, SIZE), dtype=np.int64)
    for label, inside in enumerate(KINDS.values()):
        chosen = labels == label
        coverage[chosen] = _coverage(inside, draws[chosen])
    noise = _bytes(f"{split} noise", (2, count, SIZE, SIZE, 3)).astype(np.int16)
    ground, ink = _colours(draws)
    clean = ground + (ink - ground) * coverage[..., None] // GRID**2
    pixels = np.clip(clean + (noise[0] - noise[1]) * NOISE // 255, 0, 255).astype(np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # channels_last in memory
    return Examples(images, torch.from_numpy(labels))


def _bytes(purpose: str, shape: tuple[int, ...]) -> Integers:
    stream = hashlib.shake_256(f"prunebench shapes 1 {purpose}".encode()).digest(int(np.prod(shape)))
    return np.frombuffer(stream, dtype=np.uint8).reshape(shape).astype(np.int64)


def _coverage(inside: Inside, draws: Integers) -> Integers:
    """The number of the 16 points of each pixel that lie inside the shape; (n, SIZE, SIZE)."""
    across, down, turn, size = (draws[:, column, None, None] for column in range(4))
    points = 2 * np.arange(SIZE * GRID) + 1 - SIZE * GRID  # eighths of a pixel, from the middle of the image
    x = points[None, None, :] - (across % 33 - 16)
    y = points[None, :, None] - (down % 33 - 16)
    cosine, sine = (TURNS[turn % len(TURNS), axis] for axis in range(2))
    radius = NORM * (28 + size % 25)  # 3.5 to 6.5 pixels
    hit = inside(cosine * x + sine * y, cosine * y - sine * x, radius)
    return np.asarray(hit.reshape(-1, SIZE, GRID, SIZE, GRID).sum(axis=(2, 4)), dtype=np.int64)


def _colours(draws: Integers) -> tuple[Integers, Integers]:
    """Colours of ground and shape, (n, 1, 1, 3) each: apart in brightness, by less than the noise in some images."""
    bright = 40 + draws[:, 4] % 64
    apart = 40 + draws[:, 5] % 112
    tints = draws[:, 6:12].reshape(-1, 2, 3) % 49 - 24
    dark_ink = draws[:, 3] >= 128
    ground = np.where(dark_ink, bright + apart, bright)[:, None] + tints[:, 0]
    ink = np.where(dark_ink, bright, bright + apart)[:, None] + tints[:, 1]
    return ground[:, None, None], ink[:, None, None]
