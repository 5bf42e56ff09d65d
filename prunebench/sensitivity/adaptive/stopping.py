"""Open points, when they were asked enough images, and which of a layer is next: one rule a mode of scanning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from prunebench.errors import ScanError
from prunebench.sensitivity.adaptive.bounds import Drop, HalfWidth, Outcomes, drop_interval, estimated, is_within
from prunebench.sensitivity.adaptive.order import Indices, Order
from prunebench.sensitivity.answers import Answers
from prunebench.sensitivity.exact import percent, point_of
from prunebench.sensitivity.scan import Mode, Point


@dataclass(kw_only=True, eq=False)
class OpenPoint:
    """One layer at one sparsity, and what is known of it.

    Attributes:
        answers: in the order of the data; may hold some from before, which count once it is their turn.
        order: that the images are asked in.
        asked: how many of them this scan has counted.
        settled: whether the rule needs no more of them.
        keeps: the answer, where the rule is to decide.
    """

    layer: str
    sparsity: float
    answers: Answers
    order: Order
    asked: int = 0
    settled: bool = False
    keeps: bool | None = None

    def images(self) -> Indices:
        """The images counted so far, in the order they came."""
        return self.order.images[: self.asked]

    def outcomes(self, base: Answers) -> Outcomes:
        """1 lost, -1 gained, 0 the same: one an image counted so far."""
        images = self.images()
        return base[images] - self.answers[images]

    def unanswered(self, base: Answers) -> dict[str, int]:
        """Counts of the images not counted yet that the base model has right and wrong; all its answers are known."""
        rest = base[self.order.images[self.asked :]]
        return {"losable": int((rest == 1).sum()), "gainable": int((rest == 0).sum())}


class Rule(Protocol):
    """When to stop asking."""

    def next(self, points: Sequence[OpenPoint], base: Answers) -> list[OpenPoint]:
        """Points to ask the next images, of those of one layer, by rising sparsity; none where the layer is done."""
        ...


@dataclass(frozen=True)
class NarrowInterval:
    """Adaptive: each until its interval is narrow enough."""

    half_width: HalfWidth
    confidence: float

    def next(self, points: Sequence[OpenPoint], base: Answers) -> list[OpenPoint]:
        """Points whose interval is still too wide."""
        for point in points:
            point.settled = point.settled or self._is_narrow(point, base)
        return [point for point in points if not point.settled]

    def _is_narrow(self, point: OpenPoint, base: Answers) -> bool:
        if not point.asked:  # a point needs answers, also where any interval is narrow enough
            return False
        drop = interval(point, base, half_width=self.half_width, confidence=self.confidence)
        return drop.half_width <= self.half_width.at(drop.estimate)


@dataclass(frozen=True)
class HighestWithin:
    """Decision: from the highest sparsity down, each until it is known whether it loses at most `points`; stops at the
    first that does.

    Attributes:
        error: probability, over a layer, that its answer is wrong: the highest sparsity that keeps.
    """

    points: float
    error: float

    def next(self, points: Sequence[OpenPoint], base: Answers) -> list[OpenPoint]:
        """The highest that is not known to lose too much, unless it is known not to.

        And the next lower one where it seems to lose too much: asked the same batches, it costs less than later.
        """
        open_ = []
        for point in reversed(points):
            if point.keeps is None:
                point.keeps = self._decided(point, base, alternatives=len(points) - 1)
            if point.keeps is None or not point.asked:  # a point needs answers, also where they decide nothing
                open_.append(point)
                if not point.asked or self._seems_to_keep(point, base):
                    return open_
            elif point.keeps:
                return open_
        return open_

    def _decided(self, point: OpenPoint, base: Answers, *, alternatives: int) -> bool | None:
        """A layer's answer is wrong if the highest that keeps is denied it, or if one of the others is said to."""
        return is_within(
            point.outcomes(base),
            point.order,
            **point.unanswered(base),
            most=self._most(base),
            error_within=self.error / 2 / max(1, alternatives),
            error_beyond=self.error / 2,
        )

    def _seems_to_keep(self, point: OpenPoint, base: Answers) -> bool:
        return estimated(point.outcomes(base), point.order)[0] <= self._most(base)

    def _most(self, base: Answers) -> int:
        """Right answers that may be lost."""
        return math.floor(self.points / 100 * len(base) + 1e-9)


def interval(point: OpenPoint, base: Answers, *, half_width: HalfWidth, confidence: float) -> Drop:
    """The drop on all images, from those counted."""
    return drop_interval(
        point.outcomes(base),
        point.order,
        **point.unanswered(base),
        confidence=confidence,
        half_width=half_width,
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The question of an adaptive scan or a decision, and how surely it is to be answered.

    Attributes:
        half_width: that an adaptive scan's intervals are to have.
        within: points that may be lost, of which a decision is.
        seed: of the order in which images are asked.

    Raises:
        ScanError: a setting out of range.
    """

    mode: Mode
    half_width: HalfWidth
    within: float
    confidence: float
    seed: int

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:
            raise ScanError(f"confidence must be at least 0.5 and below 1, got {self.confidence}")
        if not 0 < self.half_width.points <= 100:
            raise ScanError(f"half width must be above 0 and at most 100 points, got {self.half_width.points}")
        if not 0 <= self.half_width.relative <= 1:
            raise ScanError(f"relative half width must be from 0 to 1, got {self.half_width.relative}")
        if not 0 <= self.within <= 100:
            raise ScanError(f"within must be from 0 to 100 points, got {self.within}")
        if self.seed < 0:
            raise ScanError(f"seed must be at least 0, got {self.seed}")

    def described(self) -> dict[str, Any]:
        """The fields of a scan that say it."""
        adaptive = self.mode == "adaptive"
        return {
            "confidence": self.confidence,
            "half_width": self.half_width.points if adaptive else None,
            "relative_half_width": self.half_width.relative if adaptive else None,
            "within": self.within if self.mode == "decision" else None,
        }

    def rule(self) -> Rule:
        """When enough images were asked."""
        if self.mode == "adaptive":
            return NarrowInterval(self.half_width, self.confidence)
        return HighestWithin(self.within, 1 - self.confidence)

    def first_batch(self, batch_size: int) -> int:
        """The number of images to ask first: of a decision half a batch, which shows what loses very much."""
        return -(-batch_size // 2) if self.mode == "decision" else batch_size


def points_of(points: Sequence[OpenPoint], base: Answers, settings: Settings) -> list[Point]:
    """Every point that was asked, with what was found."""
    return [_point(point, base, settings) for point in points if point.asked]


def _point(point: OpenPoint, base: Answers, settings: Settings) -> Point:
    images, outcomes = point.images(), point.outcomes(base)
    if len(images) == len(base):
        return point_of(point.layer, point.sparsity, point.answers, base, keeps=point.keeps)
    drop = interval(point, base, half_width=settings.half_width, confidence=settings.confidence)
    accuracy = 100 * int(base.sum()) / len(base)
    return Point(
        layer=point.layer,
        sparsity=point.sparsity,
        images=len(images),
        correct=int(point.answers[images].sum()),
        lost=int((outcomes == 1).sum()),
        gained=int((outcomes == -1).sum()),
        accuracy=percent(accuracy - drop.estimate),
        low=percent(accuracy - drop.high),
        high=percent(accuracy - drop.low),
        lost_share=_share(point, base, outcome=1),
        gained_share=_share(point, base, outcome=-1),
        drawing_error=100 * estimated(outcomes, point.order)[1] / len(base),
        keeps=point.keeps,
    )


def _share(point: OpenPoint, base: Answers, *, outcome: int) -> float:
    """The share of all images with this outcome, from those counted, between what was seen and what can still come."""
    counted = (point.outcomes(base) == outcome).astype(np.int8)
    seen, rest = int(counted.sum()), point.unanswered(base)
    most = seen + rest["losable" if outcome == 1 else "gainable"]
    return min(max(estimated(counted, point.order)[0], seen), most) / len(base)
