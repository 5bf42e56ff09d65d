"""Histograms of weights: how many lie where."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 40

BLOCK = 2**20
"""Weights that are taken at a time, so that a large layer needs no memory of its size."""


def bin_edges(largest: float) -> NDArray[np.float64]:
    """The edges of `BINS` equal bins from -`largest` to `largest`, (BINS + 1,); from -1 to 1 where `largest` is 0."""
    return np.linspace(-(largest or 1.0), largest or 1.0, BINS + 1)


def weight_counts(weights: NDArray[np.floating], largest: float) -> NDArray[np.int64]:
    """Count the weights that are not zero in each of `BINS` equal bins from -`largest` to `largest`, (BINS,).

    A bin holds its lower edge and not its upper one; the last holds both. Edges and weights are compared in float64.

    Args:
        weights: of any shape.
        largest: the largest |w| or more, so that nothing is left out.
    """
    counts = np.zeros(BINS, np.int64)
    values, reach = weights.ravel(order="K"), largest or 1.0
    for start in range(0, values.size, BLOCK):
        block = values[start : start + BLOCK].astype(np.float64)
        counts += np.histogram(block[block != 0], bins=BINS, range=(-reach, reach))[0]
    return counts
