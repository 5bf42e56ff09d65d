"""When a point has been answered often enough, and which point of a layer is next: one rule a mode of scanning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prunebench.sensitivity.answers import UNKNOWN, Answers
from prunebench.sensitivity.bounds import Drop, HalfWidth, Outcomes, drop_interval, is_within


@dataclass(kw_only=True, eq=False)
class Question:
    """One layer at one sparsity, and what is known of it.

    Attributes:
        pruned: number of elements that are zero.
        mask: bool, of the weight's shape.
        answers: in the order of the data; may hold some from before.
        asked: the images this scan has counted, in the order they came.
        settled: whether the rule needs no more of them.
        keeps: the answer, where the rule is to decide.
    """

    layer: str
    sparsity: float
    pruned: int
    mask: Tensor
    answers: Answers
    asked: list[NDArray[np.int64]] = field(default_factory=list)
    settled: bool = False
    keeps: bool | None = None

    def is_complete(self) -> bool:
        """Whether every image is answered."""
        return not (self.answers == UNKNOWN).any()

    def images(self) -> NDArray[np.int64]:
        """The images counted so far, in the order they came; all of them, in any order, once all are answered."""
        if self.is_complete():
            return np.arange(len(self.answers))
        return np.concatenate(self.asked) if self.asked else np.empty(0, dtype=np.int64)

    def outcomes(self, base: Answers) -> Outcomes:
        """Of the images counted so far."""
        images = self.images()
        return base[images] - self.answers[images]

    def unanswered(self, base: Answers) -> dict[str, int]:
        """How many images that are not counted yet the base model has right and wrong, as far as that is known."""
        rest = np.ones(len(base), dtype=np.bool_)
        rest[self.images()] = False
        known_wrong = int((rest & (base == 0)).sum())
        known_right = int((rest & (base == 1)).sum())
        open_ = int((rest & (base == UNKNOWN)).sum())
        return {"losable": known_right + open_, "gainable": known_wrong + open_}


class Rule(Protocol):
    """When to stop asking."""

    def next(self, questions: Sequence[Question], base: Answers) -> list[Question]:
        """Of the questions of one layer, by rising sparsity, those to ask the next images. None: the layer is done."""
        ...


class EveryImage:
    """Exact: all of them until every image is answered."""

    def next(self, questions: Sequence[Question], base: Answers) -> list[Question]:  # noqa: ARG002
        """Those with images left."""
        return [question for question in questions if not question.is_complete()]


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
        drop = interval(question, base, half_width=self.half_width, confidence=self.confidence)
        return drop.half_width <= self.half_width.at(drop.estimate)


@dataclass(frozen=True)
class HighestWithin:
    """Decision: from the highest sparsity down, each until it is known whether it loses at most `points`; stops at the
    first that does.

    Attributes:
        error: probability, over a layer, that any of its decisions is wrong.
    """

    points: float
    error: float

    def next(self, questions: Sequence[Question], base: Answers) -> list[Question]:
        """The highest that is not known to lose too much, unless it is known not to."""
        for question in reversed(questions):
            if question.keeps is None:
                question.keeps = is_within(
                    question.outcomes(base),
                    images=len(base),
                    **question.unanswered(base),
                    limit=self.points,
                    error=self.error / len(questions),
                )
            if question.keeps is None:
                return [question]
            if question.keeps:
                return []
        return []


def interval(question: Question, base: Answers, *, half_width: HalfWidth, confidence: float) -> Drop:
    """The drop on all images, from those counted."""
    return drop_interval(
        question.outcomes(base),
        images=len(base),
        **question.unanswered(base),
        confidence=confidence,
        half_width=half_width,
    )
