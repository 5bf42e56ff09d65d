"""An exact scan: every image, in the order they lie, for every point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prunebench.data import Examples
from prunebench.sensitivity.answers import UNKNOWN, Answers, AnswerStore, Version, packed, right_of
from prunebench.sensitivity.recomputation import Recomputation
from prunebench.sensitivity.scan import Point
from prunebench.tasks import Task

BATCH_SIZE = 250


class ScanProgress:
    """Receives how far a scan has come; every method may be left as it is."""

    def base_asked(self, answered: int, images: int) -> None:
        """The base model has answered so many of its images: an adaptive scan or a decision begins with it."""

    def asked(self, answered: int, most: int, open_points: int) -> None:
        """`answered` answers are known of the `most` that may be needed; `open_points` points need more."""


def exact_points(
    way: Recomputation,
    data: Examples,
    versions: Mapping[str, Sequence[Version]],
    *,
    task: Task,
    batch_size: int,
    store: AnswerStore,
    progress: ScanProgress,
) -> tuple[Answers, list[Point]]:
    """Answers of the model as it is, and the points of `versions`, by layer; only what is not known yet is asked."""
    base, points = store.load(None), sum(map(len, versions.values()))
    with store:
        for start in range(0, len(data), batch_size):
            batch = slice(start, start + batch_size)
            inputs, targets = data.fed(data.inputs[batch]), data.targets[batch]
            asked = {
                layer: [version for version in group if UNKNOWN in version.answers[batch]]
                for layer, group in versions.items()
            }
            masks = {layer: [version.masks for version in group] for layer, group in asked.items() if group}
            batches = way.batch(inputs, masks, base=UNKNOWN in base[batch])
            for count, (layer, index, outputs) in enumerate(batches, start=1):
                pruned, answers = 0, base
                if layer is not None:
                    pruned, answers = asked[layer][index].pruned, asked[layer][index].answers
                answers[batch] = right_of(outputs, targets, task=task)
                store.keep(answers, layer, pruned)
                done = min(count, points)
                left = points - done if start + len(targets) == len(data) else points
                progress.asked(start * points + done * len(targets), len(data) * points, left)
            progress.asked((start + len(targets)) * points, len(data) * points, points)
    return base, [
        point_of(layer, version.sparsity, version.answers, base)
        for layer, group in versions.items()
        for version in group
    ]


def point_of(layer: str, sparsity: float, answers: Answers, base: Answers, *, keeps: bool | None = None) -> Point:
    """A point of which every image is answered."""
    correct, images = int(answers.sum()), len(answers)
    accuracy = percent(100 * int(base.sum()) / images - 100 / images * int((base - answers).sum()))
    return Point(
        layer=layer,
        sparsity=sparsity,
        images=images,
        correct=correct,
        lost=int((base > answers).sum()),
        gained=int((base < answers).sum()),
        accuracy=accuracy,
        low=accuracy,
        high=accuracy,
        correct_bits=packed(answers == 1),
        keeps=keeps,
    )


def percent(value: float) -> float:
    """Without what rounding adds beyond 0 and 100."""
    return float(min(max(value, 0.0), 100.0))
