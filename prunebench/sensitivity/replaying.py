"""What an adaptive scan or a decision would have asked and said, from the answers of an exact scan; no model is run.

For choosing a half-width before paying for it, and for measuring how often intervals hold and decisions are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from prunebench.errors import ScanError
from prunebench.sensitivity.answers import UNKNOWN, Answers, Base, unpacked, unpacked_doubts
from prunebench.sensitivity.asking import Inquiry, Reply
from prunebench.sensitivity.bounds import HalfWidth
from prunebench.sensitivity.order import LEAST, Indices, Order, as_they_lie, order_of
from prunebench.sensitivity.scan import Mode, Scan
from prunebench.sensitivity.stopping import BATCH_SIZE, Question, first_batch, points_of, rule_of


def replay(
    exact: Scan,
    *,
    mode: Mode,
    half_width: HalfWidth | None = None,
    within: float = 1.0,
    confidence: float = 0.95,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> Scan:
    """The scan that `sensitivity_scan` would have made with these settings, had every answer been as in `exact`.

    Raises:
        ScanError: a point of `exact` was not answered for every image, it has no doubts, or a setting is out of range.
    """
    half_width = half_width or HalfWidth()
    rule = rule_of(mode, half_width, within, confidence)
    order = _order(exact, mode, seed)
    known: dict[Question, Answers] = {}
    questions: dict[str, list[Question]] = {layer.name: [] for layer in exact.layers}
    for index, point in enumerate(exact.points):
        if point.correct_bits is None:
            raise ScanError(f"{point.layer} at {point.sparsity:g} has {point.images:,} of {exact.images:,} answers: "
                            "only an exact scan can be replayed")  # fmt: skip
        unknown = np.full(exact.images, UNKNOWN, dtype=np.int8)
        question = Question(layer=point.layer, sparsity=point.sparsity, pruned=index, answers=unknown, order=order)
        questions[point.layer].append(question)
        known[question] = unpacked(point.correct_bits, exact.images).astype(np.int8)

    def respondent(batch: Indices, asked: Sequence[Question], /, *, base: bool) -> Iterator[Reply]:
        del base  # known
        yield from (Reply(question, known[question][batch]) for question in asked)

    base = Base.unknown(exact.images)
    base.answers[:] = unpacked(exact.base_bits, exact.images)
    inquiry = Inquiry(respondent, base, batch_size=batch_size, first_batch=first_batch(mode, batch_size))
    inquiry.ask(questions, rule)
    return exact.model_copy(
        update={
            "mode": mode,
            "seed": seed,
            "batch_size": batch_size,
            "confidence": 1.0 if mode == "exact" else confidence,
            "half_width": half_width.points if mode == "adaptive" else None,
            "within": within if mode == "decision" else None,
            "points": points_of(questions, base.answers, half_width=half_width, confidence=confidence),
        }
    )


def _order(exact: Scan, mode: Mode, seed: int) -> Order:
    if mode not in LEAST:
        return as_they_lie(exact.images)
    if exact.base_doubts is None:
        raise ScanError("the scan does not hold how sure its base model is of each image, which decides the order they "
                        "are asked in: scan again with this version of prunebench")  # fmt: skip
    try:
        return order_of(mode, unpacked_doubts(exact.base_doubts, exact.images), seed=seed)
    except ValueError as error:
        raise ScanError(f"the scan's base_doubts are damaged: {error}") from error
