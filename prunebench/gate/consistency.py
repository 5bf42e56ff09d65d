"""Whether a record or a scan agrees with itself: what was measured once must be said alike wherever it is said.

Finds records edited by hand, and evaluations that lose images. It needs nothing but the record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import RecordError
from prunebench.gate.paired import Answers, RightWrong, correctness
from prunebench.measure.sizes import BITS
from prunebench.records import FineTuning, RunRecord
from prunebench.sensitivity import Point, Scan

T = TypeVar("T", bound=Hashable)

LONGEST_SECONDS = 1e9
"""Thirty years."""


def contradictions(record: RunRecord) -> list[str]:
    """Every contradiction, in words; empty for a sound record."""
    found = [*_sizes(record), *_accuracies(record), *_timings(record)]
    return found or list(_fine_tuning(record))  # which reckons with the accuracies, so they have to be sound


def _sizes(record: RunRecord) -> Iterator[str]:
    for what, bits, counts in (
        ("pruned", record.pruned_size_bits, record.nonzeros),
        ("dense", record.dense_size_bits, record.dense_nonzeros),
    ):
        if bits != BITS * sum(counts.values()):
            yield f"{what} size is {bits:,} bits, its nonzeros need {BITS * sum(counts.values()):,}"
    if record.nonzeros.keys() != record.dense_nonzeros.keys():
        yield "the pruned and the dense model have other parameters"
    if sum(record.dense_nonzeros.values()) > record.elements:
        yield f"{sum(record.dense_nonzeros.values()):,} nonzeros in {record.elements:,} elements"
    if not record.layers or len({layer.name for layer in record.layers}) < len(record.layers):
        yield "it has no layers, or one twice"
    for layer in record.layers:
        if record.nonzeros.get(layer.name) != layer.nonzeros:
            yield f"{layer.name} has {layer.nonzeros:,} nonzeros and {record.nonzeros.get(layer.name)}"
        if layer.nonzeros > layer.numel:
            yield f"{layer.name} has {layer.nonzeros:,} nonzeros in {layer.numel:,} elements"


def _accuracies(record: RunRecord) -> Iterator[str]:
    answers = {"dense": record.dense_accuracy, "pruned": record.pruned_accuracy}
    if record.finetuning is not None:
        answers |= {"best": record.finetuning.best, "last": record.finetuning.last}
    for name, accuracy in answers.items():
        if accuracy.images != record.data.test_images:
            yield f"{name} accuracy is over {accuracy.images:,} images, the test set has {record.data.test_images:,}"
        if (unreadable := _unreadable(accuracy)) is not None:
            yield f"{name} accuracy: {unreadable}"


def _unreadable(accuracy: Answers) -> str | None:
    try:
        correctness(accuracy)
    except RecordError as error:
        return str(error)
    return None


def _timings(record: RunRecord) -> Iterator[str]:
    longest = max([*record.timings.prune, *record.timings.evaluate, *record.timings.epochs], default=0.0)
    if longest > LONGEST_SECONDS:
        yield f"something took {longest:.3g} s"


def _fine_tuning(record: RunRecord) -> Iterator[str]:
    tuned, best, last = record.finetuning, record.checkpoints.best, record.checkpoints.last
    if tuned is None:
        if best is not None or last is not None:
            yield "it has weights after fine-tuning and no fine-tuning"
        return
    epochs = len(tuned.selection_accuracies)
    if epochs == 0 or len(tuned.losses) != epochs or tuned.best_epoch > epochs:
        yield f"{len(tuned.losses)} losses, {epochs} accuracies, best epoch {tuned.best_epoch}"
        return
    highest = 1 + tuned.selection_accuracies.index(max(tuned.selection_accuracies))
    if tuned.best_epoch != highest:
        yield f"epoch {tuned.best_epoch} is called best, epoch {highest} has the highest accuracy"
    if best is None or last is None:
        yield "it has fine-tuning and no digest of the weights after it"
    elif tuned.best_epoch == epochs and best != last:
        yield "the last epoch is the best, and its weights are not the best weights"
    elif tuned.best_epoch != epochs and best == last:
        yield f"epoch {tuned.best_epoch} is called best, its weights are those of the last"
    yield from _signature(record, tuned)
    if tuned.selected_on == "test":
        yield from _epochs_on_test(tuned)


def _signature(record: RunRecord, tuned: FineTuning) -> Iterator[str]:
    """What was done against what the recipe says, where it says so."""
    done, recipe = tuned.signature, tuned.settings
    if len(done.learning_rates) != len(tuned.losses):
        yield f"{len(done.learning_rates)} learning rates, {len(tuned.losses)} losses"
    expected = {"fp32": "float32", "bf16": "bfloat16"}[record.precision]
    if done.scores_dtype != expected:
        yield f"training is called {record.precision}, its scores were {done.scores_dtype}"
    betas = recipe.get("betas", ())
    asked = recipe | {f"beta{number}": beta for number, beta in enumerate(betas if isinstance(betas, list) else (), 1)}
    for name, value in done.optimizer.items():
        if name in asked and asked[name] != value:
            yield f"{name} of the recipe is {asked[name]}, the optimizer's was {value:g}"
    epochs, size, limit = (recipe.get(name) for name in ("epochs", "batch_size", "images_per_epoch"))
    if tuned.selected_on == "test" and isinstance(epochs, int) and isinstance(size, int):
        images = min(record.data.train_images, limit if isinstance(limit, int) else record.data.train_images)
        for what, count, per_epoch in (("images", done.images, images), ("steps", done.steps, -(-images // size))):
            if count != epochs * per_epoch:
                yield f"the recipe makes {epochs * per_epoch:,} {what}, {count:,} were done"


def _epochs_on_test(tuned: FineTuning) -> Iterator[str]:
    """Chosen on the test images, the accuracies by epoch and those of the two kept models are the same figures."""
    for name, accuracy, epoch in (("best", tuned.best, tuned.best_epoch), ("last", tuned.last, 0)):
        by_epoch = tuned.selection_accuracies[epoch - 1]
        if abs(by_epoch - accuracy.percent) > 1e-9:
            yield f"{name} accuracy is {accuracy.percent:.4f} %, its epoch says {by_epoch:.4f} %"


def scan_contradictions(scan: Scan) -> list[str]:
    """Every contradiction of a scan, in words; empty for a sound one."""
    if (unreadable := _unreadable(base_answers(scan))) is not None:
        return [f"base model: {unreadable}"]
    found = [*_scanned_sizes(scan), *(f"layer {name} is there twice" for name in _twice(x.name for x in scan.layers))]
    places = ((point.layer, point.sparsity) for point in scan.points)
    found += [f"{layer} at {sparsity:g} is there twice" for layer, sparsity in _twice(places)]
    if scan.seconds > LONGEST_SECONDS:
        found.append(f"it took {scan.seconds:.3g} s")
    base, names = correctness(base_answers(scan)), {layer.name for layer in scan.layers}
    for point in scan.points:
        wrong = list(_point(point, scan, base))
        if point.layer not in names:
            wrong.append("the model has no such layer")
        found += [f"{point.layer} at {point.sparsity:g}: {each}" for each in wrong]
    return found


def _scanned_sizes(scan: Scan) -> Iterator[str]:
    if not scan.layers:
        yield "it has no layers"
    for layer in scan.layers:
        if not layer.numel:
            yield f"{layer.name} of shape {layer.shape} has no elements"
        if layer.nonzeros > layer.numel:
            yield f"{layer.name} has {layer.nonzeros:,} nonzeros in {layer.numel:,} elements"
    others = scan.elements - sum(layer.numel for layer in scan.layers)
    kept = scan.nonzeros - sum(layer.nonzeros for layer in scan.layers)
    if not 0 <= kept <= others:
        yield f"{scan.nonzeros:,} nonzeros in {scan.elements:,} elements, {kept:,} in {others:,} outside the layers"


def _point(point: Point, scan: Scan, base: NDArray[np.bool_]) -> Iterator[str]:
    if point.correct_bits is None:
        if not point.correct <= point.images <= scan.images:
            yield f"{point.correct:,} right of {point.images:,} images, the scan has {scan.images:,}"
        return
    if (unreadable := _unreadable(point_answers(point, scan))) is not None:
        yield unreadable
        return
    right = correctness(point_answers(point, scan))
    lost, gained = int((base & ~right).sum()), int((~base & right).sum())
    if (point.lost, point.gained) != (lost, gained):
        yield f"{point.lost} lost and {point.gained} gained, its answers say {lost} and {gained}"
    percent = 100 * point.correct / scan.images
    if point.images != scan.images or max(abs(percent - x) for x in (point.accuracy, point.low, point.high)) > 1e-9:
        yield f"accuracy {point.accuracy:.4f} % of {point.images:,} images, its answers say {percent:.4f} %"


def _twice(names: Iterable[T]) -> list[T]:
    return [name for name, count in Counter(names).items() if count > 1]


def base_answers(scan: Scan) -> RightWrong:
    """Of the base model."""
    return RightWrong(correct=scan.base_correct, images=scan.images, correct_bits=scan.base_bits)


def point_answers(point: Point, scan: Scan) -> RightWrong:
    """Of a point of `scan` that was answered in full."""
    assert point.correct_bits is not None, "callers look"
    return RightWrong(correct=point.correct, images=scan.images, correct_bits=point.correct_bits)
