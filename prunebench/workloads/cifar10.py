"""`cifar10`: the VGG on CIFAR-10, the documented runs on what they were documented on; and its floors.

- The original data, the course's checkpoint, the documented recipe: the documented accuracies, within `COURSE_MARGIN`.
- Another checkpoint, the documented recipe: each run's documented change after fine-tuning against its own dense
  model, within `CHANGE_MARGIN`. Before fine-tuning nothing is documented for another checkpoint.
- `quick`: limits measured with this project, see docs/measurements/runs.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from prunebench.data import Augmentation, load_cifar10
from prunebench.documented.floors import Floor
from prunebench.documented.runs import RUNS, DocumentedRun, is_documented_run
from prunebench.training import Recipe
from prunebench.workloads.dense import COURSE_CHECKPOINT
from prunebench.workloads.weights import Weights
from prunebench.workloads.workload import DENSE, ComposedWorkload

if TYPE_CHECKING:
    from prunebench.records import RunRecord

DOCUMENTED_RECIPE = Recipe(
    epochs=None,
    batch_size=512,
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=1e-4,
    learning_rate_schedule="cosine_per_iteration",
    augmentation=Augmentation(crop_padding=4, flip=True),
)
"""Fine-tuning as documented (MIT 6.5940 Lab 1); the epochs are each run's own."""

UNDOCUMENTED_EPOCHS = 9
"""For a run whose epochs are not documented (run4): as many as for run5, the documented run nearest to it."""

COURSE_MARGIN = 0.5
"""Points. Two fine-tunings of one checkpoint differ in about 3 % of the answers: twice the standard error of that
difference on 10,000 images is 0.35 points; the rest allows for seeds."""

CHANGE_MARGIN = 1.0
"""Points. As above, and a checkpoint trained in another way, on another copy of the data, recovers differently."""

QUICK_CHANGE_FLOORS: Mapping[str, float] = MappingProxyType(
    {"run1": -2.2, "run2": -2.4, "run3": -2.2, "run4": -4.6, "run5": -4.7}
)
"""Points against the dense model after the shortened fine-tuning of `quick`, by run.

What one seed measured (docs/measurements/runs.md) less 1.5 points: wide, because one seed shows no spread.
"""


def limits(record: RunRecord) -> Iterable[Floor]:
    """The floors of a record of a documented run."""
    if not is_documented_run(record.run, record.run_digest):
        return
    run = RUNS[record.run]
    if record.checkpoints.is_course_checkpoint:
        yield from _of_course_checkpoint(record, run)
    elif record.finetuning and record.as_documented and (change := run.change_after_finetuning) is not None:
        rule = f"dense {record.dense_accuracy.percent:.2f}, documented change {change:+}, margin {CHANGE_MARGIN}"
        yield Floor(figure="change", least=float(change) - CHANGE_MARGIN, rule=rule)
    if record.finetuning and record.recipe == "quick" and (least := QUICK_CHANGE_FLOORS.get(run.name)) is not None:
        rule = f"dense {record.dense_accuracy.percent:.2f} {least:+}, floor of cifar10 quick"
        yield Floor(figure="change", least=least, rule=rule)


def _of_course_checkpoint(record: RunRecord, run: DocumentedRun) -> Iterator[Floor]:
    best = run.accuracy_best if record.finetuning and record.as_documented else None
    documented = {"accuracy_dense": run.dense_accuracy, "accuracy_before": run.accuracy_before, "accuracy_best": best}
    for figure, cited in documented.items():
        if cited is not None:
            least = float(cited.value) - COURSE_MARGIN
            yield Floor(figure=figure, least=least, rule=f"documented {cited.value} - {COURSE_MARGIN}")  # type: ignore[arg-type]


CIFAR10 = ComposedWorkload(
    name="cifar10",
    builder="vgg",
    input_shape=(3, 32, 32),
    load=lambda path, progress: load_cifar10(path, progress=progress),
    weights=Weights.in_cache(COURSE_CHECKPOINT, source="MIT 6.5940 (EfficientML.ai), Lab 1"),
    recipes={
        "quick": replace(
            DOCUMENTED_RECIPE, epochs=1, batch_size=64, learning_rate_schedule="cosine", images_per_epoch=3072
        ),
        "full": DOCUMENTED_RECIPE,
        DENSE: Recipe(
            epochs=24,
            batch_size=128,
            learning_rate=0.1,
            nesterov=True,
            weight_decay=5e-4,
            decay_weights_only=True,
            learning_rate_schedule="one_cycle",
            label_smoothing=0.1,
            augmentation=Augmentation(crop_padding=4, flip=True),
            averaging=0.998,
        ),
    },
    limits=limits,
)
