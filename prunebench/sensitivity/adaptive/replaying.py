"""What an adaptive scan or a decision would have asked and said, from the answers of an exact scan; no model is run.

For choosing a half-width before paying for it, and for measuring how often intervals hold and decisions are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from prunebench.errors import ScanError, UnknownNameError
from prunebench.sensitivity.adaptive.asking import Inquiry, Reply
from prunebench.sensitivity.adaptive.bounds import HalfWidth
from prunebench.sensitivity.adaptive.order import LEAST, Indices, Order, order_of
from prunebench.sensitivity.adaptive.stopping import Question, Settings, points_of
from prunebench.sensitivity.answers import UNKNOWN, Answers, Base, unpacked, unpacked_doubts
from prunebench.sensitivity.exact import BATCH_SIZE
from prunebench.sensitivity.scan import Mode, Scan


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
        UnknownNameError: `mode` is neither `adaptive` nor `decision`.
        ScanError: a point of `exact` was not answered for every image, it has no doubts, or a setting is out of range.
    """
    if mode not in LEAST:
        raise UnknownNameError("mode", mode, LEAST)
    settings = Settings(
        mode=mode, half_width=half_width or HalfWidth(), within=within, confidence=confidence, seed=seed
    )
    order = _order(exact, settings)
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
    inquiry = Inquiry(respondent, base, batch_size=batch_size, first_batch=settings.first_batch(batch_size))
    inquiry.ask(questions, settings.rule())
    return exact.model_copy(
        update={
            **settings.described(),
            "batch_size": batch_size,
            "points": points_of(questions, base.answers, settings),
        }
    )


def _order(exact: Scan, settings: Settings) -> Order:
    if exact.base_doubts is None:
        raise ScanError("the scan does not hold how sure its base model is of each image, which decides the order they "
                        "are asked in: scan again with this version of prunebench")  # fmt: skip
    try:
        return order_of(settings.mode, unpacked_doubts(exact.base_doubts, exact.images), seed=settings.seed)
    except ValueError as error:
        raise ScanError(f"the scan's base_doubts are damaged: {error}") from error
