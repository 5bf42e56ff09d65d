"""Questions, when they were asked often enough, and which of a layer is next: one rule a mode of scanning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_args

import numpy as np

from prunebench.errors import ScanError, UnknownNameError
from prunebench.sensitivity.adaptive.bounds import Drop, HalfWidth, Outcomes, drop_interval, estimated, is_within
from prunebench.sensitivity.adaptive.order import Indices, Order
from prunebench.sensitivity.answers import Answers
from prunebench.sensitivity.exact import percent, point_of
from prunebench.sensitivity.scan import Mode, Point


@dataclass(kw_only=True, eq=False)
class Question:
    """One layer at one sparsity, and what is known of it.

    Attributes:
        pruned: number of elements that are zero.
        answers: in the order of the data; may hold some from before, which count once it is their turn.
        order: that the images are asked in.
        asked: how many of them this scan has counted.
        settled: whether the rule needs no more of them.
        keeps: the answer, where the rule is to decide.
    """

    layer: str
    sparsity: float
    pruned: int
    answers: Answers
    order: Order
    asked: int = 0
    settled: bool = False
    keeps: bool | None = None

    def images(self) -> Indices:
        """The images counted so far, in the order they came."""
        return self.order.images[: self.asked]

    def outcomes(self, base: Answers) -> Outcomes:
        """Of the images counted so far."""
        images = self.images()
        return base[images] - self.answers[images]

    def unanswered(self, base: Answers) -> dict[str, int]:
        """How many images not counted yet the base model has right and wrong; all its answers are known."""
        rest = base[self.order.images[self.asked :]]
        return {"losable": int((rest == 1).sum()), "gainable": int((rest == 0).sum())}


class Rule(Protocol):
    """When to stop asking."""

    def next(self, questions: Sequence[Question], base: Answers) -> list[Question]:
        """Of the questions of one layer, by rising sparsity, those to ask the next images. None: the layer is done."""
        ...


@dataclass(frozen=True)
class NarrowInterval:
    """Adaptive: each until its interval is narrow enough."""

    half_width: HalfWidth
    confidence: float

    def next(self, questions: Sequence[Question], base: Answers) -> list[Question]:
        """Those whose interval is still too wide."""
        for question in questions:
            question.settled = question.settled or self._is_narrow(question, base)
        return [question for question in questions if not question.settled]

    def _is_narrow(self, question: Question, base: Answers) -> bool:
        if not question.asked:  # a point needs answers, also where any interval is narrow enough
            return False
        drop = interval(question, base, half_width=self.half_width, confidence=self.confidence)
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

    def next(self, questions: Sequence[Question], base: Answers) -> list[Question]:
        """The highest that is not known to lose too much, unless it is known not to.

        And the next lower one where it seems to lose too much: asked the same batches, it costs less than later.
        """
        open_ = []
        for question in reversed(questions):
            if question.keeps is None:
                question.keeps = self._decided(question, base, alternatives=len(questions) - 1)
            if question.keeps is None or not question.asked:  # a point needs answers, also where they decide nothing
                open_.append(question)
                if not question.asked or self._seems_to_keep(question, base):
                    return open_
            elif question.keeps:
                return open_
        return open_

    def _decided(self, question: Question, base: Answers, *, alternatives: int) -> bool | None:
        """A layer's answer is wrong if the highest that keeps is denied it, or if one of the others is said to."""
        return is_within(
            question.outcomes(base),
            question.order,
            **question.unanswered(base),
            most=self._most(base),
            error_within=self.error / 2 / max(1, alternatives),
            error_beyond=self.error / 2,
        )

    def _seems_to_keep(self, question: Question, base: Answers) -> bool:
        return estimated(question.outcomes(base), question.order)[0] <= self._most(base)

    def _most(self, base: Answers) -> int:
        """Right answers that may be lost."""
        return math.floor(self.points / 100 * len(base) + 1e-9)


def interval(question: Question, base: Answers, *, half_width: HalfWidth, confidence: float) -> Drop:
    """The drop on all images, from those counted."""
    return drop_interval(
        question.outcomes(base),
        question.order,
        **question.unanswered(base),
        confidence=confidence,
        half_width=half_width,
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a scan is to find out, and how surely; an exact one has no use for any but its mode.

    Attributes:
        half_width: that an adaptive scan's intervals are to have.
        within: points that may be lost, of which a decision is.
        seed: of the order in which images are asked.

    Raises:
        UnknownNameError: no such mode.
        ScanError: a setting out of range.
    """

    mode: Mode
    half_width: HalfWidth
    within: float
    confidence: float
    seed: int

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise UnknownNameError("mode", self.mode, get_args(Mode))
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
        """As a scan says it."""
        adaptive = self.mode == "adaptive"
        return {
            "mode": self.mode,
            "seed": self.seed,
            "confidence": 1.0 if self.mode == "exact" else self.confidence,
            "half_width": self.half_width.points if adaptive else None,
            "relative_half_width": self.half_width.relative if adaptive else None,
            "within": self.within if self.mode == "decision" else None,
        }

    def rule(self) -> Rule:
        """When an adaptive scan or a decision has seen enough."""
        if self.mode == "adaptive":
            return NarrowInterval(self.half_width, self.confidence)
        return HighestWithin(self.within, 1 - self.confidence)

    def first_batch(self, batch_size: int) -> int:
        """How many images to ask first. Of a decision half a batch: that shows where a sparsity loses very much."""
        return -(-batch_size // 2) if self.mode == "decision" else batch_size


def points_of(questions: Mapping[str, Sequence[Question]], base: Answers, settings: Settings) -> list[Point]:
    """What was found, of every question that was asked."""
    return [_point(question, base, settings) for group in questions.values() for question in group if question.asked]


def _point(question: Question, base: Answers, settings: Settings) -> Point:
    images, outcomes = question.images(), question.outcomes(base)
    if len(images) == len(base):
        return point_of(question.layer, question.sparsity, question.answers, base, keeps=question.keeps)
    drop = interval(question, base, half_width=settings.half_width, confidence=settings.confidence)
    accuracy = 100 * int(base.sum()) / len(base)
    return Point(
        layer=question.layer,
        sparsity=question.sparsity,
        images=len(images),
        correct=int(question.answers[images].sum()),
        lost=int((outcomes == 1).sum()),
        gained=int((outcomes == -1).sum()),
        accuracy=percent(accuracy - drop.estimate),
        low=percent(accuracy - drop.high),
        high=percent(accuracy - drop.low),
        lost_share=_share(question, base, outcome=1),
        gained_share=_share(question, base, outcome=-1),
        drawing_error=100 * estimated(outcomes, question.order)[1] / len(base),
        keeps=question.keeps,
    )


def _share(question: Question, base: Answers, *, outcome: int) -> float:
    """Of all images, by those counted; no less than were seen, no more than can still come."""
    counted = (question.outcomes(base) == outcome).astype(np.int8)
    seen, rest = int(counted.sum()), question.unanswered(base)
    most = seen + rest["losable" if outcome == 1 else "gainable"]
    return min(max(estimated(counted, question.order)[0], seen), most) / len(base)
