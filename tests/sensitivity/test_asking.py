"""The loop: every point gets the order from its start, nothing known is asked again, late ones share batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prunebench.sensitivity.adaptive.asking import ask_until_settled
from prunebench.sensitivity.adaptive.bounds import HalfWidth
from prunebench.sensitivity.adaptive.order import Indices, drawn
from prunebench.sensitivity.adaptive.stopping import OpenPoint, Settings
from prunebench.sensitivity.answers import UNKNOWN

IMAGES, SIZE = 400, 20
WRONG = {("a", 0.5): 0, ("a", 0.7): 30, ("a", 0.9): 300, ("b", 0.5): 4, ("b", 0.7): 200, ("b", 0.9): 210}
BASE = np.ones(IMAGES, dtype=np.int8)
ORDER = drawn((np.arange(IMAGES) % 256).astype(np.uint8), minimum=0.1, seed=0)
FIVE_POINTS = Settings(mode="decision", half_width=HalfWidth(), within=5, confidence=0.95, seed=0)

Asked = list[tuple[Indices, list[OpenPoint]]]


def unanswered() -> list[OpenPoint]:
    return [
        OpenPoint(layer=layer, sparsity=sparsity, answers=np.full(IMAGES, UNKNOWN, dtype=np.int8), order=ORDER)
        for layer, sparsity in WRONG
    ]


def asked_until_settled(points: list[OpenPoint]) -> Asked:
    """The batches that a model is asked which gets all images right, less the last `WRONG` of a point."""
    asked: Asked = []

    def ask(batch: Indices, some: Sequence[OpenPoint]) -> None:
        asked.append((batch, [*some]))
        for point in some:
            point.answers[batch] = batch < IMAGES - WRONG[point.layer, point.sparsity]

    ask_until_settled(ask, points, BASE, FIVE_POINTS, batch_size=SIZE)
    return asked


def test_every_point_is_asked_the_order_from_its_start_and_nothing_twice() -> None:
    points = unanswered()
    batches = asked_until_settled(points)
    for point in points:
        got = [batch for batch, asked in batches if point in asked]
        known = np.flatnonzero(point.answers != UNKNOWN)
        assert sorted(ORDER.images[: point.asked]) == known.tolist()
        if got:
            assert np.array_equal(ORDER.images[: point.asked], np.concatenate(got))
    assert SIZE // 2 == len(batches[0][0])
    assert {SIZE} == {len(batch) for batch, asked in batches
                      if "a" in {point.layer for point in asked} and ORDER.images[0] not in batch}  # fmt: skip
    keeps = {(point.layer, point.sparsity): point.keeps for point in points}
    assert (False, True) == (keeps["a", 0.7], keeps["a", 0.5]), "30 of 400 lost is more than 5 points"
    assert (False, True) == (keeps["b", 0.7], keeps["b", 0.5])
    asked = sum(len(group) for _, group in batches)
    assert len(batches) < 0.8 * asked, "batches are shared"


def test_what_is_known_from_before_is_counted_and_not_asked() -> None:
    first, again = unanswered(), unanswered()
    asked_until_settled(first)
    for old, new in zip(first, again, strict=True):
        new.answers[:] = old.answers
    assert [] == asked_until_settled(again)
    assert [(point.keeps, point.asked) for point in first] == [(point.keeps, point.asked) for point in again]
