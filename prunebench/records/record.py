"""`RunRecord`, `FailedRun` and their JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from prunebench.documented.floors import Figure, Floor
from prunebench.documented.method import Method
from prunebench.errors import RecordError
from prunebench.measure import BINS
from prunebench.records.consistency import contradictions
from prunebench.sensitivity import Scan
from prunebench.storage.documents import (
    Content,
    Count,
    Digest,
    Fraction,
    Part,
    Seconds,
    Shown,
    check_kind,
    parsed,
    read_document,
    refuse_contradictions,
    render,
    verified,
)
from prunebench.storage.files import write_text
from prunebench.tasks import Evaluation, unpacked

SCHEMA_VERSION = 1


BinCounts = Annotated[str, Field(pattern=rf"^(0|[1-9][0-9]{{0,17}})( (0|[1-9][0-9]{{0,17}})){{{BINS - 1}}}$")]
"""Whole numbers with a space between two, one a bin."""


class Histogram(Part):
    """Counts of a layer's nonzero weights in 40 equal bins from -`largest` to `largest`, before and after pruning.

    `finetuned` is of the best epoch; None without fine-tuning.
    """

    largest: Annotated[float, Field(ge=0)]
    dense: BinCounts
    pruned: BinCounts
    finetuned: BinCounts | None = None

    @property
    def counts(self) -> dict[str, list[int]]:
        """The counts as numbers, by stage: `dense`, `pruned` and, where there was fine-tuning, `finetuned`."""
        stages = {"dense": self.dense, "pruned": self.pruned, "finetuned": self.finetuned}
        return {stage: [int(count) for count in text.split()] for stage, text in stages.items() if text is not None}


class Layer(Part):
    """One prunable parameter of the pruned model.

    `macs` are dense multiply-accumulates of one image. Records of before there were histograms have none.
    """

    name: str
    shape: list[Count]
    sparsity: Fraction
    nonzeros: Count
    macs: Count
    histogram: Histogram | None = None

    @property
    def numel(self) -> int:
        """Number of elements."""
        count = 1
        for length in self.shape:
            count *= length
        return count


class Accuracy(Part):
    """Answers on all test images, in the order of the data digest.

    `correct_bits`: one bit an image, first image in the highest bit of the first byte, base64; as many
    as `correct` and `images` say, or it is a RecordError.
    """

    correct: Count
    images: Annotated[int, Field(gt=0)]
    correct_bits: str
    predictions_digest: Digest

    @classmethod
    def of(cls, evaluation: Evaluation) -> Accuracy:
        """The answers of an evaluation."""
        return cls(
            correct=evaluation.correct_count,
            images=evaluation.count,
            correct_bits=evaluation.correct_bits,
            predictions_digest=evaluation.digest,
        )

    @model_validator(mode="after")
    def _is_readable(self) -> Self:
        unpacked(self.correct_bits, correct=self.correct, images=self.images)
        return self

    @property
    def percent(self) -> float:
        """Percent of images answered right."""
        return 100 * self.correct / self.images


class Data(Part):
    """Training and test images; the digest is over their pixels, labels, classes and order."""

    name: str
    digest: Digest
    train_images: Count
    test_images: Count


class Checkpoints(Part):
    """Origin of the dense weights, and digests of the weights at each stage.

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
    """Fine-tuning as it was done: `prunebench.training.signature` says what each is.

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


class MaskChange(Part):
    """One change of the masks while fine-tuning, as `prunebench.training.MaskChange` has it."""

    step: Count
    sparsity: dict[str, Fraction]
    kept: dict[str, Count]
    grown: Count
    masks_digest: Digest
    rewound_to: Digest | None = None


class FineTuning(Part):
    """Fine-tuning under masks.

    `settings` are the recipe's, in JSON's types (a list for a tuple), as they are once read from a file.
    `selection_accuracies` are percent on the images that choose the epoch, one an epoch; `selected_on` says which. With
    "test" the choice is optimistic, as documented; `last` is free of it. Where a pruning schedule changes the masks,
    `trace` tells of each change, and only epochs from `first_final` on, which end with the last masks, can be best.
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
    first_final: Annotated[int, Field(ge=1)] = 1
    trace: list[MaskChange] = Field(default_factory=list)


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


class Packed(Part):
    """Bytes of the sparse files that `prunebench.packing` makes, with all of the state in them.

    `pruned` and `best` are of the pruned model and of the best epoch. `versions` are of the libraries that compress:
    with equal ones, equal weights take equal bytes.
    """

    pruned: Count
    best: Count | None = None
    versions: dict[str, str]


class ShrunkModel(Part):
    """The model that is kept, without its pruned channels: another module, which should answer the same.

    `elements` of all parameters, `macs` of one image, `file_bytes` of its safetensors. `difference` is the largest of
    two outputs, as a share of the largest output of the masked model.
    """

    elements: Count
    macs: Count
    file_bytes: Count
    answers: Accuracy
    difference: Annotated[float, Field(ge=0)]


class ExportedModel(Part):
    """The model that is kept, shrunk where that was measured too, in another program; `runtime` with its version."""

    format: str
    runtime: str
    file_bytes: Count
    answers: Accuracy
    difference: Annotated[float, Field(ge=0)]


class LatencyRatio(Part):
    """Seconds of the dense model over those of the model that is kept, shrunk where that was measured too.

    `lower` and `upper` are of the 99 % interval of `ratio` over `launches` pairs of processes, of a batch of one.
    """

    runtime: str
    threads: Count
    ratio: Annotated[float, Field(gt=0)]
    lower: Annotated[float, Field(gt=0)]
    upper: Annotated[float, Field(gt=0)]
    launches: Count


class RunRecord(Shown, Part):
    """Figures of one execution of a run, with all that is needed to judge them.

    Sizes are in bits (nominal) and bytes (file), MACs of one image, accuracy as counts of images. `elements` and the
    nonzeros are over all parameters, batch norm and bias included. `packed` is None where the extra `pack` was not
    installed, and `shrunk`, `exported`, `latency` where the run did not ask for them. `masks_digest` is of the masks
    that the method chooses on the dense model, all at once; `evidence` of what its criterion read of training examples.
    `revision` and `dirty` are of the user's project.
    One that contradicts itself cannot be built: RecordError.
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
    method: Method = Method()
    evidence: Digest | None = None
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
    packed: Packed | None = None
    shrunk: ShrunkModel | None = None
    exported: ExportedModel | None = None
    latency: LatencyRatio | None = None
    timings: Timings
    environment: dict[str, str | int]
    revision: str | None
    dirty: bool | None
    prunebench_revision: str | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        refuse_contradictions("the record", contradictions(self))
        return self

    @property
    def size_percent(self) -> float:
        """Nominal size in percent of the dense model's."""
        return 100 * self.pruned_size_bits / self.dense_size_bits

    def figure(self, name: Figure) -> float | None:
        """The figure that a floor limits; None where it was not measured."""
        best = self.finetuning.best.percent if self.finetuning else None
        return {
            "accuracy_dense": self.dense_accuracy.percent,
            "accuracy_before": self.pruned_accuracy.percent,
            "accuracy_best": best,
            "change": self.change_after_finetuning,
            "size_percent": self.size_percent,
            "size_mib": self.pruned_size_bits / 8 / 2**20,
            "file_mib": self.file_mib,
            "latency_ratio": self.latency.ratio if self.latency else None,
        }[name]

    @property
    def kept_accuracy(self) -> Accuracy:
        """The answers of the model that is kept: the best epoch's, or the pruned one."""
        return self.finetuning.best if self.finetuning else self.pruned_accuracy

    @property
    def file_mib(self) -> float | None:
        """MiB of the sparse file of the model that is kept: the best epoch's, or the pruned one."""
        return None if self.packed is None else (self.packed.best or self.packed.pruned) / 2**20

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


def _tag(record: object) -> str:
    return "scan" if isinstance(record, Scan) or (isinstance(record, dict) and "points" in record) else "run"


Record = Annotated[Annotated[RunRecord, Tag("run")] | Annotated[Scan, Tag("scan")], Discriminator(_tag)]
"""The record of a run or a scan: what a person may approve."""


def write_record(record: RunRecord | FailedRun, path: str | Path) -> None:
    """Write the text of a record; whole or not at all."""
    write_text(Path(path), record_text(record))


def record_text(record: RunRecord | FailedRun) -> str:
    """The text of a record's file: JSON with sorted keys and a digest of the content."""
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
    found = parse_kept(content, path=path)
    assert not isinstance(found, Scan), "that is another kind"
    if isinstance(found, FailedRun):
        raise RecordError(f"'{path}' is of a run that failed: {found.error}")
    return found


def parse_kept(content: Content, *, path: Path) -> RunRecord | FailedRun | Scan:
    """Read any kind of record from the content of its file.

    Raises:
        RecordError: edited since it was written, of a newer schema, or damaged.
    """
    model: type[RunRecord | FailedRun | Scan] = (
        Scan if "points" in content else FailedRun if content.get("status") == "failed" else RunRecord
    )
    return parsed(model, verified(content, path=path, newest=SCHEMA_VERSION), path=path)
