"""`RunRecord`, `FailedRun` and their JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from prunebench.documented.floors import Figure, Floor
from prunebench.errors import RecordError
from prunebench.storage.documents import (
    Content,
    Count,
    Digest,
    Fraction,
    Part,
    Seconds,
    check_kind,
    parsed,
    read_document,
    render,
    verified,
)
from prunebench.storage.files import write_text

SCHEMA_VERSION = 1


class Layer(Part):
    """One prunable parameter of the pruned model.

    `macs` are dense multiply-accumulates of one image.
    """

    name: str
    shape: list[Count]
    sparsity: Fraction
    nonzeros: Count
    macs: Count

    @property
    def numel(self) -> int:
        """Number of elements."""
        count = 1
        for length in self.shape:
            count *= length
        return count


class Accuracy(Part):
    """Answers on all test images, in the order of the data digest.

    `correct_bits`: one bit an image, first image in the highest bit of the first byte, base64.
    """

    correct: Count
    images: Annotated[int, Field(gt=0)]
    correct_bits: str
    predictions_digest: Digest

    @property
    def percent(self) -> float:
        """Percent of images answered right."""
        return 100 * self.correct / self.images


class Data(Part):
    """Which images; the digest is over their pixels, labels, classes and order."""

    name: str
    digest: Digest
    train_images: Count
    test_images: Count


class Checkpoints(Part):
    """Where the dense weights came from, and digests of the weights at each stage.

    `is_own`: made by the recipe `dense` of the workload; `source` and `licence` are of published weights.
    """

    origin: str
    is_course_checkpoint: bool
    is_own: bool
    source: str = ""
    licence: str = ""
    dense: Digest
    pruned: Digest
    best: Digest | None = None
    last: Digest | None = None


class Signature(Part):
    """What fine-tuning did, as it was done: `prunebench.training.signature` says what each is.

    The first seven are over all epochs and follow from data, seed and recipe alone. `learning_rates` are means, one
    an epoch; `distance` and `length` are of parameters and `statistics` of buffers after the last epoch, by name,
    relative to the pruned model.
    """

    steps: Count
    images: Count
    learning_rates: list[float]
    optimizer: dict[str, float]
    scores_dtype: str
    images_digest: Digest
    labels_digest: Digest
    distance: dict[str, float]
    length: dict[str, float]
    statistics: dict[str, float]


class FineTuning(Part):
    """Fine-tuning under masks.

    `settings` are the recipe's, in JSON's types (a list for a tuple), as they are once read from a file.
    `selection_accuracies` are percent on the images that choose the epoch, one an epoch; `selected_on` says which. With
    "test" the choice is optimistic, as documented; `last` is free of it.
    """

    settings: Annotated[dict[str, object], AfterValidator(lambda settings: json.loads(json.dumps(settings)))]
    selected_on: Literal["test", "validation"]
    losses: list[float]
    selection_accuracies: list[float]
    best_epoch: Annotated[int, Field(ge=1)]
    best: Accuracy
    last: Accuracy
    resumed_after: Count
    signature: Signature


class Timings(Part):
    """Raw wall-clock seconds, in the order they were taken, all over the run: a bad moment then spoils few of a kind.

    Attributes:
        prune: before everything else and again after it.
        evaluate: all test images; dense, pruned, and after each epoch that chose its weights by them.
        epochs: training alone.
    """

    prune: list[Seconds]
    evaluate: list[Seconds]
    epochs: list[Seconds]


class RunRecord(Part):
    """What one execution of a run measured.

    Sizes are in bits (nominal) and bytes (file), MACs of one image, accuracy as counts of images. `elements` and the
    nonzeros are over all parameters, batch norm and bias included. `revision` and `dirty` are of the user's project.
    """

    schema_version: Literal[1] = 1
    created: str
    run: str
    run_digest: Digest
    model: str
    architecture: Digest
    workload: str
    task: str
    recipe: str
    as_documented: bool
    seed: int
    precision: Literal["fp32", "bf16"]
    data: Data
    checkpoints: Checkpoints
    layers: list[Layer]
    floors: list[Floor]
    masks_digest: Digest
    elements: Count
    dense_nonzeros: dict[str, Count]
    nonzeros: dict[str, Count]
    dense_size_bits: Count
    pruned_size_bits: Count
    dense_file_bytes: Count
    pruned_file_bytes: Count
    dense_accuracy: Accuracy
    pruned_accuracy: Accuracy
    finetuning: FineTuning | None = None
    timings: Timings
    environment: dict[str, str | int]
    revision: str | None
    dirty: bool | None
    prunebench_revision: str | None = None

    @property
    def size_percent(self) -> float:
        """Nominal size in percent of the dense model's."""
        return 100 * self.pruned_size_bits / self.dense_size_bits

    def figure(self, name: Figure) -> float | None:
        """What a floor limits; None where it was not measured."""
        best = self.finetuning.best.percent if self.finetuning else None
        return {
            "accuracy_dense": self.dense_accuracy.percent,
            "accuracy_before": self.pruned_accuracy.percent,
            "accuracy_best": best,
            "change": self.change_after_finetuning,
            "size_percent": self.size_percent,
            "size_mib": self.pruned_size_bits / 8 / 2**20,
        }[name]

    @property
    def change_after_finetuning(self) -> float | None:
        """Best accuracy less dense accuracy, in points."""
        if self.finetuning is None:
            return None
        # From the counts: a difference of two percentages is rounded thrice, and may miss a limit that it is at.
        return 100 * (self.finetuning.best.correct - self.dense_accuracy.correct) / self.dense_accuracy.images


class FailedRun(Part):
    """A run that ended in an error, so that its case is not taken for one that was never tried."""

    schema_version: Literal[1] = 1
    status: Literal["failed"] = "failed"
    created: str
    case: str
    error: str
    revision: str | None
    dirty: bool | None
    prunebench_revision: str | None = None


def write_record(record: RunRecord | FailedRun, path: str | Path) -> None:
    """Write as JSON with sorted keys and a digest of the content; whole or not at all."""
    path = Path(path)
    write_text(path, record_text(record))


def record_text(record: RunRecord | FailedRun) -> str:
    """What a record's file holds."""
    return render(record.model_dump(mode="json"))


def read_record(path: str | Path) -> RunRecord:
    """Read what `write_record` wrote.

    Raises:
        RecordError: absent, not JSON, no record, edited since it was written, of a newer schema, a field that is
            missing or of the wrong type, or the record of a run that failed.
    """
    path = Path(path)
    content = read_document(path)
    check_kind(content, "a record", path=path)
    return parse_record(verified(content, path=path, newest=SCHEMA_VERSION), path=path)


def parse_record(content: Content, *, path: Path) -> RunRecord:
    """A record from the content of a document; `path` is for messages.

    Raises:
        RecordError: as `read_record`.
    """
    parsed_run = parse_run(content, path=path)
    if isinstance(parsed_run, FailedRun):
        raise RecordError(f"'{path}' is of a run that failed: {parsed_run.error}")
    return parsed_run


def parse_run(content: Content, *, path: Path) -> RunRecord | FailedRun:
    """A record, or that of a run that failed.

    Raises:
        RecordError: neither.
    """
    if content.get("status") == "failed":
        return parsed(FailedRun, content, path=path)
    return parsed(RunRecord, content, path=path)
