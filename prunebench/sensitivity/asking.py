"""The loop that asks batches of images until a rule needs no more, whoever answers: a model, or a scan made before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from prunebench.sensitivity.answers import UNKNOWN, Answers, AnswerStore
from prunebench.sensitivity.stopping import Question, Rule

Indices = NDArray[np.int64]


class Respondent(Protocol):
    """Who answers."""

    def __call__(self, batch: Indices, questions: Sequence[Question], /) -> Iterator[tuple[Question | None, Answers]]:
        """1 or 0 for each image of `batch`, right or wrong: for every question, and for None, the base model."""
        ...


class ScanProgress:
    """What a scan tells whoever watches; every method may be left as it is."""

    def asked(self, answered: int, most: int, open_points: int) -> None:
        """`answered` answers are known of the `most` that may be needed; `open_points` points need more."""


def in_batches(images: int, size: int, *, seed: int | None) -> list[Indices]:
    """All images, in an order drawn by `seed`, or in their own."""
    order = np.arange(images) if seed is None else np.random.default_rng(seed).permutation(images)
    return [order[start : start + size] for start in range(0, images, size)]


def ask(
    respondent: Respondent,
    questions: Mapping[str, Sequence[Question]],
    batches: Sequence[Indices],
    *,
    base: Answers,
    rule: Rule,
    store: AnswerStore | None = None,
    progress: ScanProgress | None = None,
) -> None:
    """Ask batch after batch, again from the first after the last, until `rule` has no question open; fill in `base`.

    `questions` are by layer, by rising sparsity. One that is opened late starts where the others are: any stretch of a
    random order is a random sample.
    """
    everything = [question for group in questions.values() for question in group]
    step, most = 0, len(base) * len(everything)
    if any(question.is_complete() for question in everything):  # from before: what it lost shows only beside the base
        _complete(respondent, batches, base, store)
    while open_ := [question for group in questions.values() for question in rule.next(group, base)]:
        batch = batches[step % len(batches)]
        _fill(respondent, batch, open_, base, store)
        for question in open_:
            question.asked.append(batch)
        if progress:
            progress.asked(sum(question.count for question in everything), most, len(open_))
        step += 1
    _complete(respondent, batches, base, store)


def _complete(respondent: Respondent, batches: Sequence[Indices], base: Answers, store: AnswerStore | None) -> None:
    """Ask the base model what it was not asked yet."""
    for batch in batches:
        _fill(respondent, batch, [], base, store)


def _fill(
    respondent: Respondent,
    batch: Indices,
    questions: Sequence[Question],
    base: Answers,
    store: AnswerStore | None,
) -> None:
    """Fill in what is not known yet of one batch, and keep it."""
    missing = [question for question in questions if (question.answers[batch] == UNKNOWN).any()]
    if not missing and (base[batch] != UNKNOWN).all():
        return
    for question, right in respondent(batch, missing):
        answers = base if question is None else question.answers
        answers[batch] = right
        if store:
            store.save(question.layer if question else None, question.pruned if question else 0, answers)
