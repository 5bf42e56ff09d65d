"""An exact scan: every image, in the order they lie, for every point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prunebench.data import Examples
from prunebench.sensitivity.answers import UNKNOWN, Answers, Base, Saving, Version, doubts_of, packed, right_of
from prunebench.sensitivity.recomputation import Recomputation
from prunebench.sensitivity.scan import Point
from prunebench.tasks import Task

BATCH_SIZE = 250


class ScanProgress:
    """What a scan tells whoever watches; every method may be left as it is."""

    def base_asked(self, answered: int, images: int) -> None:
        """The base model has answered so many of its images: what an adaptive scan or a decision begins with."""

    def asked(self, answered: int, most: int, open_points: int) -> None:
        """`answered` answers are known of the `most` that may be needed; `open_points` points need more."""


def ask_every_image(
    way: Recomputation,
    data: Examples,
    versions: Mapping[str, Sequence[Version]],
    base: Base,
    *,
    task: Task,
    batch_size: int,
    saving: Saving,
    progress: ScanProgress,
) -> None:
    """Fill in what is not known yet of `base` and of `versions`, which are by layer."""
    points = sum(map(len, versions.values()))
    with saving:
        for start in range(0, len(data), batch_size):
            batch = slice(start, start + batch_size)
            targets = data.targets[batch]
            asked = {
                layer: [version for version in group if UNKNOWN in version.answers[batch]]
                for layer, group in versions.items()
            }
            masks = {layer: [version.mask for version in group] for layer, group in asked.items() if group}
            is_new = UNKNOWN in base.answers[batch]
            if masks or is_new:
                for layer, index, outputs in way.batch(data.fed(data.inputs[batch]), masks, base=is_new):
                    if layer is None:
                        base.answers[batch] = right_of(outputs, targets, task=task)
                        base.doubts[batch] = doubts_of(outputs, task=task)
                        saving.of_base(base)
                    else:
                        version = asked[layer][index]
                        version.answers[batch] = right_of(outputs, targets, task=task)
                        saving.of_point(layer, version.pruned, version.answers)
            progress.asked((start + len(targets)) * points, len(data) * points, points)


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
