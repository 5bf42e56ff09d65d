"""How often `prunebench bisect` finds a planted fall, gives a range, or names a wrong commit.

    python benchmarks/studies/bisections.py

Histories of commits with one fall planted at a random one. Answers to the test images also change from commit to
commit, as many lost as gained on average: a share of them, either around answers that stay (`each its own`, as other
rounding gives) or on top of all changes before (`adding up`, as changes of the code give). An evaluation is one run of
a commit, GOOD and BAD included; `images` are all that were asked, in percent of asking each evaluated commit all.
Intervals are Clopper and Pearson's, 95 %.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from tabulate import tabulate

from prunebench.history.bisect import Figure, Search
from prunebench.records import Accuracy, RunRecord

ALPHA = 0.01
FALL = Figure(name="accuracy_before", sign=1)


def main() -> None:
    """Simulate every row of the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=300, help="of each row")
    parser.add_argument("--commits", type=int, default=64)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{options.commits} commits, {options.images:,} images, alpha {ALPHA}\n")
    headers = [
        "fall",
        "noise %",
        "noise is",
        "asked",
        "found",
        "range",
        "wrong",
        "wrong, 95 %",
        "evaluations",
        "images",
    ]
    rows = list(_rows(options.histories, options.commits, options.images, options.seed))
    print(tabulate(rows, headers=headers, disable_numparse=True, stralign="right"))


def _rows(histories: int, commits: int, images: int, seed: int) -> Iterator[list[str]]:
    for fall in (1.0, 0.5):
        for noise in (0.1, 0.3, 0.5):
            for adds_up in (False, True):
                for in_parts in (False, True):
                    generator = np.random.default_rng(seed)
                    found = [
                        simulate(generator, commits=commits, images=images, fall=fall, noise=noise / 100,
                                 adds_up=adds_up, in_parts=in_parts)
                        for _ in range(histories)
                    ]  # fmt: skip
                    how = ["adding up" if adds_up else "each its own", "in parts" if in_parts else "all"]
                    yield [f"{fall:g}", f"{noise:g}", *how, *_summary(found)]


def _summary(found: list[Outcome]) -> list[str]:
    named = [each for each in found if each.is_named]
    wrong = sum(not each.holds_it for each in found)
    limits = binomtest(wrong, len(found)).proportion_ci(0.95)
    evaluations = [each.evaluations for each in named] or [0]
    share = 100 * sum(each.asked for each in found) / sum(each.all_of_them for each in found)
    return [
        f"{100 * sum(each.holds_it for each in named) / len(found):.1f} %",
        f"{100 * (1 - len(named) / len(found)):.1f} %",
        f"{wrong} of {len(found)}",
        f"{100 * limits.low:.1f} to {100 * limits.high:.1f}",
        f"{np.median(evaluations):.0f}, most {max(evaluations)}",
        f"{share:.0f} %",
    ]


@dataclass(frozen=True)
class Outcome:
    """One search: whether a commit was named, whether what was named holds the fall, and what it cost."""

    is_named: bool
    holds_it: bool
    evaluations: int
    asked: int
    all_of_them: int


@dataclass
class Project:
    """Commits named by their number, and the answers of each; counts what is asked of them."""

    answers: NDArray[np.bool_]
    runs: list[tuple[str, int]] = field(default_factory=list)
    kept: dict[str, RunRecord] = field(default_factory=dict)

    def evaluate(self, commit: str, images: int | None) -> RunRecord:
        """As `Evaluator`: what is kept, if it has as many images; else a run."""
        wanted = images or self.answers.shape[1]
        if commit not in self.kept or self.kept[commit].data.test_images < wanted:
            self.runs.append((commit, wanted))
            self.kept[commit] = _record(self.answers[int(commit), :wanted])
        return self.kept[commit]


def _record(correct: NDArray[np.bool_]) -> RunRecord:
    bits = np.packbits(correct).tobytes()
    accuracy = Accuracy(
        correct=int(correct.sum()),
        images=len(correct),
        correct_bits=base64.b64encode(bits).decode("ascii"),
        predictions_digest=hashlib.sha256(bits).hexdigest(),
    )
    data = SimpleNamespace(digest="", test_images=len(correct))
    return cast("RunRecord", SimpleNamespace(pruned_accuracy=accuracy, data=data))


def simulate(generator: np.random.Generator, *, in_parts: bool, **history: Any) -> Outcome:
    """One history and one search."""
    answers, planted = make_history(generator, **history)
    project = Project(answers)
    commits, images = [str(number) for number in range(len(answers))], answers.shape[1]
    for commit in (commits[0], commits[-1]):
        project.evaluate(commit, images)
    search = Search(
        commits=commits, evaluate=project.evaluate, figure=FALL, alpha=ALPHA, tell=lambda _: None,
        images=images if in_parts else None,
    ).run()  # fmt: skip
    asked = {commit for commit, _ in project.runs}
    return Outcome(
        is_named=search.is_found,
        holds_it=search.low < planted <= search.high,
        evaluations=len(project.runs),
        asked=sum(count for _, count in project.runs),
        all_of_them=len(asked) * images,
    )


def make_history(
    generator: np.random.Generator, *, commits: int, images: int, fall: float, noise: float, adds_up: bool
) -> tuple[NDArray[np.bool_], int]:
    """Right answers of GOOD and the `commits` after it, bool (commits + 1, images), and the number of the planted one.

    Args:
        fall: points that the planted commit loses, exactly.
        noise: share of the answers that change at a commit, 0..1; on average as many are gained as lost.
    """
    planted = int(generator.integers(1, commits + 1))
    right = generator.permutation(images) >= 0.08 * images
    rows = []
    for number in range(commits + 1):
        if number == planted:
            right = _flipped(right, generator, lost=round(fall / 100 * images), gained=0)
        lost, gained = generator.poisson(noise * images / 2, size=2)
        rows.append(_flipped(right, generator, lost=lost, gained=gained))
        right = rows[-1] if adds_up else right
    return np.array(rows), planted


def _flipped(right: NDArray[np.bool_], generator: np.random.Generator, *, lost: int, gained: int) -> NDArray[np.bool_]:
    changed = right.copy()
    for is_right, count in ((True, lost), (False, gained)):
        changed[generator.choice(np.flatnonzero(right == is_right), size=count, replace=False)] = not is_right
    return changed


if __name__ == "__main__":
    main()
