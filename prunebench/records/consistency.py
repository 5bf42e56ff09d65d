"""Consistency of a record: what was measured once must be said alike wherever it is said.

Finds records edited by hand, and evaluations that lose images. It needs nothing but the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prunebench.documented.method import ONE_SHOT
from prunebench.measure.sizes import BITS

if TYPE_CHECKING:
    from prunebench.records.record import FineTuning, RunRecord


def contradictions(record: RunRecord) -> Iterator[str]:
    """Every contradiction of a record, in words."""
    yield from _sizes(record)
    yield from _histograms(record)
    yield from _accuracies(record)
    yield from _fine_tuning(record)
    yield from _deployed(record)


def _deployed(record: RunRecord) -> Iterator[str]:
    if record.shrunk is not None and record.shrunk.elements > record.elements:
        yield f"the shrunk model has {record.shrunk.elements:,} elements, the masked one {record.elements:,}"
    if (timed := record.latency) is not None and not timed.lower <= timed.ratio <= timed.upper:
        yield f"a latency ratio of {timed.ratio:g} is outside its interval, {timed.lower:g} to {timed.upper:g}"


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


def _histograms(record: RunRecord) -> Iterator[str]:
    """Histograms that lose weights, or have weights that were not there before."""
    for layer in record.layers:
        if layer.histogram is None:
            continue
        counts = layer.histogram.counts
        if ("finetuned" in counts) != (record.finetuning is not None):
            yield f"fine-tuning and the histogram of {layer.name} do not both tell of fine-tuned weights"
        for stage, nonzeros in (("dense", record.dense_nonzeros.get(layer.name)), ("pruned", layer.nonzeros)):
            if sum(counts[stage]) != nonzeros:
                yield f"{layer.name} has {nonzeros} {stage} nonzeros, its histogram {sum(counts[stage])}"
        if any(kept > before for kept, before in zip(counts["pruned"], counts["dense"], strict=True)):
            yield f"the histogram of {layer.name} has pruned weights where there was no dense one"
        if sum(counts.get("finetuned", ())) > layer.nonzeros:  # an update may hit zero
            yield f"{layer.name} has {layer.nonzeros} nonzeros, its fine-tuned histogram {sum(counts['finetuned'])}"


def _accuracies(record: RunRecord) -> Iterator[str]:
    answers = {"dense": record.dense_accuracy, "pruned": record.pruned_accuracy}
    if record.finetuning is not None:
        answers |= {"best": record.finetuning.best, "last": record.finetuning.last}
    answers |= {"shrunk": record.shrunk.answers} if record.shrunk else {}
    answers |= {"exported": record.exported.answers} if record.exported else {}
    for name, accuracy in answers.items():
        if accuracy.images != record.data.test_images:
            yield f"{name} accuracy is over {accuracy.images:,} images, the test set has {record.data.test_images:,}"


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
    if tuned.first_final > epochs:
        yield f"the masks are final after epoch {tuned.first_final} of {epochs}"
        return
    counted = tuned.selection_accuracies[tuned.first_final - 1 :]
    highest = tuned.first_final + counted.index(max(counted))
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
    """Figures of the training that are not those of the recipe, where it names them."""
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
    if record.method.pruning_schedule != ONE_SHOT:  # which may go through the recipe again and again
        epochs = len(tuned.losses)
    if tuned.selected_on == "test" and isinstance(epochs, int) and isinstance(size, int):
        images = min(record.data.train_images, limit if isinstance(limit, int) else record.data.train_images)
        for what, count, per_epoch in (("images", done.images, images), ("steps", done.steps, -(-images // size))):
            if count != epochs * per_epoch:
                yield f"the recipe makes {epochs * per_epoch:,} {what}, {count:,} were done"


def _epochs_on_test(tuned: FineTuning) -> Iterator[str]:
    """Accuracies of the two kept models that are not those of their epochs, where the test images chose the epoch."""
    for name, accuracy, epoch in (("best", tuned.best, tuned.best_epoch), ("last", tuned.last, 0)):
        by_epoch = tuned.selection_accuracies[epoch - 1]
        if abs(by_epoch - accuracy.percent) > 1e-9:
            yield f"{name} accuracy is {accuracy.percent:.4f} %, its epoch says {by_epoch:.4f} %"
