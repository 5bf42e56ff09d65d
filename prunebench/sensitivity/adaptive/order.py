"""In which order images are asked: drawn, those the base model is unsure of sooner.

Pruning changes the answers that were close. An image is drawn next with a chance in proportion to its doubt, of those
left; so fewer images tell as much, and what each tells is divided by its chance (`bounds`). Whatever the doubts are
worth, no answer is biased by them: they decide how many images it takes.

Sources:
    Horvitz, Thompson, A Generalization of Sampling Without Replacement From a Finite Universe, Journal of the American
        Statistical Association 47 (1952): dividing by the chance.
    Efraimidis, Spirakis, Weighted random sampling with a reservoir, Information Processing Letters 97 (2006): drawing
        them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from prunebench.sensitivity.answers import Doubts
from prunebench.sensitivity.scan import Mode

Indices = NDArray[np.int64]

LEAST: Mapping[Mode, float] = {"adaptive": 0.1, "decision": 0.05}
"""Chance of an image that the base model has no doubt of, over that of one it is torn by. Some of the first change too,
and each then counts for many; more of them where much is lost, which decisions seldom have to look at closely."""


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


def drawn(doubts: Doubts, *, least: float, seed: int) -> Order:
    """Without replacement, with chances in proportion to the doubts, `least` where they are less."""
    weights = np.maximum(doubts / 255, least)
    waits = np.random.default_rng(seed).exponential(size=len(doubts)) / weights
    return Order(np.argsort(waits, kind="stable"), weights)


def order_of(mode: Mode, doubts: Doubts, *, seed: int) -> Order:
    """That a mode asks images in."""
    return drawn(doubts, least=LEAST[mode], seed=seed)
