"""The loop: every question gets the order from its start, nothing known is asked again, late ones share batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from prunebench.sensitivity.adaptive.asking import BaseReply, Inquiry, Reply
from prunebench.sensitivity.adaptive.order import Indices, drawn
from prunebench.sensitivity.adaptive.stopping import HighestWithin, Question
from prunebench.sensitivity.answers import UNKNOWN, Base

IMAGES, SIZE = 400, 20
WRONG = {("a", 0.5): 0, ("a", 0.7): 30, ("a", 0.9): 300, ("b", 0.5): 4, ("b", 0.7): 200, ("b", 0.9): 210}


class Model:
    """Gets all images right, less the last `WRONG` of a question."""

    def __init__(self) -> None:
        self.asked: list[tuple[Indices, list[Question], bool]] = []

    def __call__(self, batch: Indices, questions: Sequence[Question], /, *, base: bool) -> Iterator[Reply | BaseReply]:
        self.asked.append((batch, [*questions], base))
        for question in questions:
            lost = WRONG[question.layer, question.sparsity]
            yield Reply(question, (batch < IMAGES - lost).astype(np.int8))
        if base:
            yield BaseReply(np.ones(len(batch), dtype=np.int8), (batch % 256).astype(np.uint8))


def made(order_of: Base) -> dict[str, list[Question]]:
    order = drawn(order_of.doubts, least=0.1, seed=0)
    questions: dict[str, list[Question]] = {"a": [], "b": []}
    for layer, sparsity in WRONG:
        unknown = np.full(IMAGES, UNKNOWN, dtype=np.int8)
        questions[layer].append(Question(layer=layer, sparsity=sparsity, pruned=1, answers=unknown, order=order))
    return questions


def test_the_base_model_is_asked_once_and_in_order() -> None:
    model, base = Model(), Base.unknown(IMAGES)
    base.answers[: 2 * SIZE] = 1
    inquiry = Inquiry(model, base, batch_size=SIZE, first_batch=SIZE // 2)
    inquiry.ask_base()
    inquiry.ask_base()
    assert [*range(2 * SIZE, IMAGES)] == [int(image) for batch, _, _ in model.asked for image in batch]
    assert (base.answers == 1).all()
    assert [index % 256 for index in range(2 * SIZE, IMAGES)] == base.doubts[2 * SIZE :].tolist()


def test_every_question_is_asked_the_order_from_its_start_and_nothing_twice() -> None:
    model, base = Model(), Base.unknown(IMAGES)
    inquiry = Inquiry(model, base, batch_size=SIZE, first_batch=SIZE // 2)
    inquiry.ask_base()
    questions = made(base)
    before = len(model.asked)
    inquiry.ask(questions, HighestWithin(points=5, error=0.05))
    batches = model.asked[before:]
    for question in (*questions["a"], *questions["b"]):
        got = [batch for batch, asked, _ in batches if question in asked]
        known = np.flatnonzero(question.answers != UNKNOWN)
        assert sorted(question.order.images[: question.asked]) == known.tolist()
        if got:
            assert np.array_equal(question.order.images[: question.asked], np.concatenate(got))
    assert SIZE // 2 == len(batches[0][0])
    assert {SIZE} == {len(batch) for question in questions["a"] for batch, asked, _ in batches
                      if question in asked and question.order.images[0] not in batch}  # fmt: skip
    assert not any(with_base for _, _, with_base in batches), "it is known"
    assert (False, True) == (questions["a"][1].keeps, questions["a"][0].keeps), "30 of 400 lost is more than 5 points"
    assert (False, True) == (questions["b"][1].keeps, questions["b"][0].keeps)
    asked = sum(len(group) for _, group, _ in batches)
    assert len(batches) < 0.8 * asked, "batches are shared"


def test_what_is_known_from_before_is_counted_and_not_asked() -> None:
    model, base = Model(), Base.unknown(IMAGES)
    inquiry = Inquiry(model, base, batch_size=SIZE, first_batch=SIZE // 2)
    inquiry.ask_base()
    first = made(base)
    inquiry.ask(first, HighestWithin(points=5, error=0.05))
    again = made(base)
    for old, new in zip((*first["a"], *first["b"]), (*again["a"], *again["b"]), strict=True):
        new.answers[:] = old.answers
    before = len(model.asked)
    inquiry.ask(again, HighestWithin(points=5, error=0.05))
    assert before == len(model.asked)
    assert [(q.keeps, q.asked) for q in first["a"]] == [(q.keeps, q.asked) for q in again["a"]]
