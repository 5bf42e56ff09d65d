"""The loop that asks batches of images until a rule needs no more, whoever answers: a model, or a scan made before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from prunebench.sensitivity.adaptive.order import Indices
from prunebench.sensitivity.adaptive.stopping import Question, Rule
from prunebench.sensitivity.answers import UNKNOWN, Answers, Base, Doubts, Saving
from prunebench.sensitivity.exact import ScanProgress


class Reply(NamedTuple):
    """To a question: for each image of a batch 1 or 0, right or wrong."""

    question: Question
    right: Answers


class BaseReply(NamedTuple):
    """Of the base model: the same, and how unsure it is of each image."""

    right: Answers
    doubts: Doubts


class Respondent(Protocol):
    """Who answers."""

    def __call__(self, batch: Indices, questions: Sequence[Question], /, *, base: bool) -> Iterator[Reply | BaseReply]:
        """A reply to every question, and one of the base model if `base`."""
        ...


class Inquiry:
    """Asks `respondent`, and keeps what it says in `base`, in the questions, and by `saving`.

    Questions are asked `batch_size` images at once, at first `first_batch`.
    """

    def __init__(
        self,
        respondent: Respondent,
        base: Base,
        *,
        batch_size: int,
        first_batch: int,
        saving: Saving | None = None,
        progress: ScanProgress | None = None,
    ) -> None:
        self._respondent = respondent
        self._base = base
        self._batch_size = batch_size
        self._first_batch = first_batch
        self._saving = saving or Saving(None)
        self._progress = progress or ScanProgress()

    def ask_base(self) -> None:
        """Fill in what is not known of the base model yet."""
        images = np.arange(len(self._base.answers))
        with self._saving:
            for start in range(0, len(images), self._batch_size):
                batch = images[start : start + self._batch_size]
                if self._is_new(batch):
                    self._fill(batch, [])
                    self._progress.base_asked(start + len(batch), len(images))

    def ask(self, questions: Mapping[str, Sequence[Question]], rule: Rule) -> None:
        """Batch after batch until `rule` has no question open; of the base model what is not known of these batches.

        `questions` are by layer, by rising sparsity, all with one order. Each is asked it from its start, those that
        have come least far first: one that is opened late catches up, and shares the others' batches from then on.
        """
        everything = [question for group in questions.values() for question in group]
        most = len(self._base.answers) * len(everything)
        with self._saving:
            while open_ := [each for group in questions.values() for each in rule.next(group, self._base.answers)]:
                start = min(question.asked for question in open_)
                size = self._batch_size if start else self._first_batch
                batch = open_[0].order.images[start : start + size]
                behind = [question for question in open_ if question.asked == start]
                self._fill(batch, behind)
                for question in behind:
                    question.asked += len(batch)
                self._progress.asked(sum(question.asked for question in everything), most, len(open_))

    def _is_new(self, batch: Indices) -> bool:
        return bool((self._base.answers[batch] == UNKNOWN).any())

    def _fill(self, batch: Indices, questions: Sequence[Question]) -> None:
        missing = [question for question in questions if (question.answers[batch] == UNKNOWN).any()]
        if not missing and not self._is_new(batch):
            return
        for reply in self._respondent(batch, missing, base=self._is_new(batch)):
            if isinstance(reply, Reply):
                question = reply.question
                question.answers[batch] = reply.right
                self._saving.of_point(question.layer, question.pruned, question.answers)
            else:
                self._base.answers[batch], self._base.doubts[batch] = reply
                self._saving.of_base(self._base)
