"""The search for the commit at which a figure fell: a binary search whose every step is a paired test.

Sizes are compared exactly. Accuracies are compared by image: an exact one-sided McNemar test of a midpoint against the
last commit known to be like GOOD, and against the first known to be like BAD. Where the figure fell in one half only,
the search goes on there; where in both, in the half in which more fell; where in neither, the commit is not told apart
and another one is tried.

One half holds no fall, so that a midpoint errs with at most its level: what is left of alpha, over the halvings to
come and the commits that may be tried for each. Where images are asked a part at a time, it is spent over the looks by
the function of Lan and DeMets (Discrete sequential boundaries for clinical trials, Biometrika 70 (1983)) that is close
to Pocock's; what a look adds to it is that look's level (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from prunebench.errors import HistoryError, SkippedCommitError
from prunebench.gate.paired import PairedCounts, correctness, mcnemar
from prunebench.records import Accuracy, RunRecord

ACCURACIES = ("accuracy_dense", "accuracy_before", "accuracy_best")
SIZES = ("size_percent",)
LOOKS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares of the test images after which a commit is judged."""

TRIES = 3
"""Most commits that are tried for one halving, until one is told apart."""

Evaluate = Callable[[str, int | None], RunRecord]
"""The record of a commit on at least so many test images, None for all; SkippedCommitError where it has none."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A move of a figure from GOOD's side to BAD's between two commits, and how sure it is.

    Attributes:
        amount: in the figure's unit, positive towards BAD.
        p: one-sided p of "it did not"; 0 or 1 for a size.
        said: in words.
    """

    amount: float
    p: float
    said: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The figure that is looked for, and whether it fell from GOOD to BAD (`sign` 1) or rose (-1)."""

    name: str
    sign: int

    def change(self, before: RunRecord, after: RunRecord, images: int | None = None) -> Change:
        """The change from one commit to a later one, of an accuracy on the first `images`.

        Raises:
            SkippedCommitError: the two answered other images, or one has no such figure.
        """
        if self.name in SIZES:
            old, new = before.size_percent, after.size_percent
            amount = self.sign * (old - new)
            return Change(amount=amount, p=0.0 if amount > 0 else 1.0, said=f"{old:.4g} -> {new:.4g} %")
        sides = _answers(before, self.name), _answers(after, self.name)
        counts = _paired(sides, before, after, images)
        counts = counts if self.sign > 0 else counts.mirrored
        lost, gained = ("lost", "gained") if self.sign > 0 else ("gained", "lost")
        said = f"{counts.b:,} of {counts.n:,} answers {lost}, {counts.c:,} {gained}"
        return Change(amount=counts.drop, p=mcnemar(counts), said=said)


@dataclass(kw_only=True)
class Search:
    """A search and how far it has come: `low` is like GOOD, `high` like BAD, and nothing between them is known to be.

    Attributes:
        commits: GOOD, and what leads from it to BAD, oldest first.
        images: all test images, where they are asked a part at a time.
        tried: commits between `low` and `high` that did not help, by index, and why.
        tell: told a line about each commit.
    """

    commits: Sequence[str]
    evaluate: Evaluate
    figure: Figure
    alpha: float
    tell: Callable[[str], None]
    images: int | None = None
    low: int = 0
    high: int = 0
    tried: dict[int, str] = field(default_factory=dict)

    def run(self) -> Search:
        """Narrow it down to one commit, or as far as its commits can be told apart."""
        self.high = len(self.commits) - 1
        left, tries = self.alpha, 0
        while tries < TRIES and left > 0 and (middle := self._next()) is not None:
            level = left / math.ceil(math.log2(self.high - self.low)) / TRIES
            try:
                self._judge(middle, level)
            except SkippedCommitError as error:
                self._set_aside(middle, f"skipped: {error}")
                continue
            left -= level
            tries = tries + 1 if middle in self.tried else 0
        return self

    @property
    def is_found(self) -> bool:
        """True where no commit is left between the two sides."""
        return self.high == self.low + 1

    @property
    def fall(self) -> Change:
        """The change between the two sides."""
        first, last = (
            self.evaluate(self.commits[index], 1 if self.images else None) for index in (self.low, self.high)
        )
        return self.figure.change(first, last)

    def _next(self) -> int | None:
        """The commit that is farthest from all that were tried: the middle, then the quarters."""
        known = [self.low, self.high, *self.tried]
        candidates = [index for index in range(self.low + 1, self.high) if index not in self.tried]
        return max(candidates, key=lambda index: min(abs(index - other) for other in known), default=None)

    def _judge(self, middle: int, level: float) -> None:
        for images, share in self._looks(level):
            low, new, high = (self.evaluate(self.commits[each], images) for each in (self.low, middle, self.high))
            before, after = self.figure.change(low, new, images), self.figure.change(new, high, images)
            fell_before, fell_after = before.p < level * share, after.p < level * share
            if fell_before or fell_after:
                break
        on = f"from the last good one {before.said}; to the first bad one {after.said}"
        if not (fell_before or fell_after):
            self._set_aside(middle, f"not told apart: {on}")
            return
        is_bad = fell_before and not (fell_after and after.amount > before.amount)
        self._tell(middle, f"like {'BAD' if is_bad else 'GOOD'}: {on}")
        self.low, self.high = (self.low, middle) if is_bad else (middle, self.high)
        self.tried = {index: why for index, why in self.tried.items() if self.low < index < self.high}

    def _looks(self, level: float) -> Iterator[tuple[int | None, float]]:
        """Numbers of images, and the share of `level` that is spent after them.

        Those at which not even GOOD and BAD can be told apart are left out: a commit could hardly be.
        """
        if self.images is None:
            yield None, 1.0
            return
        ends = [self.evaluate(self.commits[end], self.images) for end in (0, -1)]
        spent = 0.0
        for images in sorted({math.ceil(share * self.images) for share in LOOKS}):
            now = math.log(1 + (math.e - 1) * images / self.images)
            if images == self.images or self.figure.change(ends[0], ends[1], images).p < level * (now - spent):
                yield images, now - spent
            spent = now

    def _set_aside(self, index: int, why: str) -> None:
        self.tried[index] = why
        self._tell(index, why)

    def _tell(self, index: int, what: str) -> None:
        self.tell(f"{self.commits[index][:9]} ({index} of {len(self.commits) - 1}) {what}")


def figure_between(good: RunRecord, bad: RunRecord, wanted: str | None, *, alpha: float) -> Figure:
    """The figure that differs from GOOD to BAD: `wanted`, else the size, else the accuracy that differs most surely.

    Raises:
        HistoryError: it does not differ, or none does.
    """
    if wanted not in {None, *SIZES, *ACCURACIES}:
        raise HistoryError(f"cannot look for '{wanted}': expected one of {', '.join((*SIZES, *ACCURACIES))}")
    known = [name for name in ACCURACIES if _has(good, name) and _has(bad, name)]
    said = []
    for names in [[wanted]] if wanted else [[*SIZES], known]:
        figures = [Figure(name=name, sign=sign) for name in names for sign in (1, -1)]
        try:
            changes = {figure: figure.change(good, bad) for figure in figures}
        except SkippedCommitError as error:
            raise HistoryError(f"GOOD and BAD cannot be compared: {error}") from error
        surest = min(figures, key=lambda figure: changes[figure].p)
        if changes[surest].p < alpha / len(figures):
            return surest
        said += [f"{figure.name}: {changes[figure].said}" for figure in figures if figure.sign == 1]
    raise HistoryError(f"GOOD and BAD cannot be told apart: {'; '.join(said)}")


def _has(record: RunRecord, name: str) -> bool:
    return name != "accuracy_best" or record.finetuning is not None


def _answers(record: RunRecord, name: str) -> Accuracy:
    if name == "accuracy_best":
        if record.finetuning is None:
            raise SkippedCommitError("its record has no fine-tuning")
        return record.finetuning.best
    return record.dense_accuracy if name == "accuracy_dense" else record.pruned_accuracy


def _paired(sides: tuple[Accuracy, Accuracy], before: RunRecord, after: RunRecord, images: int | None) -> PairedCounts:
    """Counts on the first images that both answered: those of fewer images are the first of the same order."""
    if sides[0].images == sides[1].images and before.data.digest != after.data.digest:
        raise SkippedCommitError("measured on other data")
    count = min(images or sides[0].images, *(side.images for side in sides))
    old, new = (correctness(side)[:count] for side in sides)
    return PairedCounts(b=int((old & ~new).sum()), c=int((~old & new).sum()), n=count)
