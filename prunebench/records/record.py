"""`RunRecord` and its JSON. History of the format: version 1, first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prunebench.errors import RecordError
from prunebench.files import write_text

SCHEMA_VERSION = 1

Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Layer(_Part):
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


class Accuracy(_Part):
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


class Data(_Part):
    """Which images; the digest is over their pixels, labels, classes and order."""

    name: str
    digest: Digest
    train_images: Count
    test_images: Count


class Checkpoints(_Part):
    """Where the dense weights came from, and digests of the weights at each stage."""

    origin: str
    is_course_checkpoint: bool
    dense: Digest
    pruned: Digest
    best: Digest | None = None
    last: Digest | None = None


class FineTuning(_Part):
    """Fine-tuning under masks.

    `selection_accuracies` are percent on the images that choose the epoch, one an epoch; `selected_on` says which. With
    "test" the choice is optimistic, as documented; `last` is free of it.
    """

    protocol: dict[str, object]
    selected_on: Literal["test", "validation"]
    losses: list[float]
    selection_accuracies: list[float]
    best_epoch: Annotated[int, Field(ge=1)]
    best: Accuracy
    last: Accuracy
    resumed_after: Count


class Timings(_Part):
    """Raw wall-clock seconds, in the order they were taken."""

    prune: list[Seconds]
    evaluate: list[Seconds]
    epochs: list[Seconds]


class RunRecord(_Part):
    """What one execution of a run measured.

    Sizes are in bits (nominal) and bytes (file), MACs of one image, accuracy as counts of images. `elements` and the
    nonzeros are over all parameters, batch norm and bias included.
    """

    schema_version: Literal[1] = 1
    created: str
    run: str
    run_digest: Digest
    model: str
    workload: str
    budget: str
    full_protocol: bool
    seed: int
    precision: Literal["fp32", "bf16"]
    data: Data
    checkpoints: Checkpoints
    layers: list[Layer]
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

    @property
    def size_percent(self) -> float:
        """Nominal size in percent of the dense model's."""
        return 100 * self.pruned_size_bits / self.dense_size_bits

    @property
    def compression_ratio(self) -> float:
        """Dense over pruned nominal size."""
        return self.dense_size_bits / self.pruned_size_bits

    @property
    def change_after_finetuning(self) -> float | None:
        """Best accuracy less dense accuracy, in points."""
        return self.finetuning.best.percent - self.dense_accuracy.percent if self.finetuning else None


def write_record(record: RunRecord, path: Path) -> None:
    """Write as JSON, indented, keys in the order of the schema; whole or not at all."""
    write_text(path, record.model_dump_json(indent=1) + "\n")


def read_record(path: Path) -> RunRecord:
    """Read what `write_record` wrote.

    Raises:
        RecordError: absent, not JSON, of a newer schema, or a field that is missing or of the wrong type.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"cannot read the record '{path}': {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"the record '{path}' is not JSON: {error}") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RecordError(
            f"the record '{path}' has schema version {version}, this prunebench reads up to {SCHEMA_VERSION}: "
            "upgrade it"
        )
    try:
        return RunRecord.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "the whole"
        raise RecordError(f"the record '{path}' is damaged: {where}: {first['msg']}") from error
