"""The order in which images are asked: drawn, those the base model is uncertain of sooner.

Pruning changes the answers that were close. An image is drawn next with a chance in proportion to its uncertainty,
of those left; so fewer images tell as much, and what each tells is divided by its chance (`bounds`). Whatever that is
worth, no answer is biased by it: it decides how many images it takes.

Sources:
    Horvitz, Thompson, A Generalization of Sampling Without Replacement From a Finite Universe, Journal of the American
        Statistical Association 47 (1952): dividing by the chance.
    Efraimidis, Spirakis, Weighted random sampling with a reservoir, Information Processing Letters 97 (2006): drawing
        them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.sensitivity.scan import Mode
from prunebench.tasks import CLASSIFICATION, Task

Indices = NDArray[np.int64]

Uncertainty = NDArray[np.uint8]
"""One an image: 255 where the base model's two likeliest classes are equally likely, 0 where it is sure of one."""

MINIMUM_WEIGHTS: Mapping[Mode, float] = {"adaptive": 0.1, "decision": 0.05}
"""Chance of an image that the base model is sure of, over that of one it is torn by. Some of the first change too, and
each then counts for many; more of them where much is lost, which decisions seldom have to look at closely."""


class Order:
    """All images in the order they are asked, and what is known of each draw before its outcome.

    Attributes:
        images: indices (N,).
        left: (N,), images left at each draw, its own among them.
        weight_left: (N,), the sum of their weights.
        chances: (N,), of the image to be drawn then, times `left`: 1 where all have the same.
        least: (N,), the smallest such of any image left.
    """

    def __init__(self, images: Indices, weights: NDArray[np.float64]) -> None:
        drawn = weights[images]
        self.images = images
        self.left = np.arange(len(images), 0, -1)
        self.weight_left = np.cumsum(drawn[::-1])[::-1]
        self.chances = drawn * self.left / self.weight_left
        self.least = np.minimum.accumulate(drawn[::-1])[::-1] * self.left / self.weight_left

    def __len__(self) -> int:
        return len(self.images)


def drawn(uncertainty: Uncertainty, *, minimum: float, seed: int) -> Order:
    """Without replacement, with chances in proportion to the uncertainty, `minimum` where that is less."""
    weights = np.maximum(uncertainty / 255, minimum)
    waits = np.random.default_rng(seed).exponential(size=len(uncertainty)) / weights
    return Order(np.argsort(waits, kind="stable"), weights)


def order_of(mode: Mode, uncertainty: Uncertainty, *, seed: int) -> Order:
    """The order that a mode asks images in."""
    return drawn(uncertainty, minimum=MINIMUM_WEIGHTS[mode], seed=seed)


def uncertainty_of(outputs: Tensor, *, task: Task = CLASSIFICATION) -> Uncertainty:
    """The task's uncertainty in 255ths."""
    uncertainty: Uncertainty = (255 * task.uncertainty(outputs)).round().to(torch.uint8).cpu().numpy()
    return uncertainty


def packed_uncertainty(uncertainty: Uncertainty) -> str:
    """One byte an image, in base64."""
    return base64.b64encode(uncertainty.tobytes()).decode("ascii")


def unpacked_uncertainty(text: str, images: int) -> Uncertainty:
    """The array that `packed_uncertainty` packed.

    Raises:
        ValueError: it is not that, or of another number of images.
    """
    uncertainty = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    if len(uncertainty) != images:
        raise ValueError(f"uncertainty of {len(uncertainty):,} images: expected {images:,}")
    return uncertainty
