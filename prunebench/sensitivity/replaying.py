"""What an adaptive scan or a decision would have asked and said, from the answers of an exact scan; no model is run.

For choosing a half-width before paying for it, and for measuring how often intervals hold and decisions are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from prunebench.errors import ScanError
from prunebench.sensitivity.answers import UNKNOWN, Answers, unpacked
from prunebench.sensitivity.asking import Indices, ask, in_batches
from prunebench.sensitivity.bounds import HalfWidth
from prunebench.sensitivity.scan import Mode, Scan
from prunebench.sensitivity.stopping import BATCH_SIZES, Question, points_of, rule_of


def replay(
    exact: Scan,
    *,
    mode: Mode,
    half_width: HalfWidth | None = None,
    within: float = 1.0,
    confidence: float = 0.95,
    batch_size: int | None = None,
    seed: int = 0,
) -> Scan:
    """The scan that `sensitivity_scan` would have made with these settings, had every answer been as in `exact`.

    Raises:
        ScanError: a point of `exact` was not answered for every image, or a setting out of range.
    """
    half_width, batch_size = half_width or HalfWidth(), batch_size or BATCH_SIZES[mode]
    rule = rule_of(mode, half_width, within, confidence)
    known: dict[Question | None, Answers] = {None: unpacked(exact.base_bits, exact.images).astype(np.int8)}
    questions: dict[str, list[Question]] = {layer.name: [] for layer in exact.layers}
    for index, point in enumerate(exact.points):
        if point.correct_bits is None:
            raise ScanError(f"{point.layer} at {point.sparsity:g} has {point.images:,} of {exact.images:,} answers: "
                            "only an exact scan can be replayed")  # fmt: skip
        unknown = np.full(exact.images, UNKNOWN, dtype=np.int8)
        question = Question(layer=point.layer, sparsity=point.sparsity, pruned=index, answers=unknown)
        questions[point.layer].append(question)
        known[question] = unpacked(point.correct_bits, exact.images).astype(np.int8)

    def respondent(batch: Indices, asked: Sequence[Question]) -> Iterator[tuple[Question | None, Answers]]:
        yield from ((question, known[question][batch]) for question in (*asked, None))

    base = np.full(exact.images, UNKNOWN, dtype=np.int8)
    batches = in_batches(exact.images, batch_size, seed=None if mode == "exact" else seed)
    ask(respondent, questions, batches, base=base, rule=rule)
    return exact.model_copy(
        update={
            "mode": mode,
            "seed": seed,
            "batch_size": batch_size,
            "confidence": 1.0 if mode == "exact" else confidence,
            "half_width": half_width.points if mode == "adaptive" else None,
            "within": within if mode == "decision" else None,
            "points": points_of(questions, base, half_width=half_width, confidence=confidence),
        }
    )
