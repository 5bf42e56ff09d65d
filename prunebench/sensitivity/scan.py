"""`Scan` and its JSON: accuracy with one layer pruned at a time. How it is measured lives beside it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from prunebench.errors import UnknownNameError
from prunebench.sensitivity.consistency import scan_contradictions
from prunebench.storage.documents import (
    Count,
    Digest,
    Fraction,
    Part,
    Percent,
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

SCHEMA_VERSION = 1

SPARSITIES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Source: the documented runs."""

Mode = Literal["exact", "adaptive", "decision"]


class ScannedLayer(Part):
    """One prunable parameter of the base model; `macs` are dense multiply-accumulates of one image."""

    name: str
    shape: list[Count]
    nonzeros: Count
    macs: Count

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def sparsity(self) -> float:
        """Fraction of the elements that are zero in the base model."""
        return 1 - self.nonzeros / self.numel


class Point(Part):
    """The base model with one layer pruned at one sparsity.

    Attributes:
        sparsity: absolute, of the layer.
        images: answered, of the scan's `images`; fewer than all where an adaptive scan stopped the point.
        correct, lost, gained: of those answered: right; right before and wrong now; wrong before and right now.
        accuracy, low, high: percent of ALL images: the estimate and its interval at the confidence of the scan.
            The three are equal where every image was answered.
        lost_share, gained_share: of ALL images, as far as those answered tell, which were not drawn with even chances;
            None where every image was answered.
        drawing_error: standard error, in points, of the accuracy, by which images were drawn; None as above.
        correct_bits: one bit an image as in a record, where every image was answered.
        keeps: whether accuracy stays within the scan's `within` points of the base model, where that was the question.
            Below a sparsity of the layer that does it decides nothing: few such points are asked, the others are not
            in the scan.
    """

    layer: str
    sparsity: Fraction
    images: Count
    correct: Count
    lost: Count
    gained: Count
    accuracy: Percent
    low: Percent
    high: Percent
    lost_share: Fraction | None = None
    gained_share: Fraction | None = None
    drawing_error: Annotated[float, Field(ge=0)] | None = None
    correct_bits: str | None = None
    keeps: bool | None = None


class Scan(Shown, Part):
    """Sensitivity of a model, the base, to pruning one layer at a time, the others left as they are.

    One that contradicts itself cannot be built: RecordError.

    Attributes:
        model, model_digest: architecture by name, and digest of the base weights; they need not be dense.
        data, data_digest: of the images that were answered, in order.
        mode: `exact` (every image), `adaptive` (until the interval is narrow) or `decision` (until it is known whether
            accuracy stays within `within` points).
        recomputed: `suffix` where only what follows the pruned layer was computed again, `whole` where the model had to
            be run from its start.
        confidence: of each point's interval or decision, 0..1; 1 where all is exact.
        half_width, relative_half_width: of an adaptive scan, how narrow was narrow enough: points of accuracy, or the
            fraction of the drop where that is more.
        compounding: the sparsities asked for were fractions of what each layer had left; the points hold the absolute
            ones that came of them.
        elements, nonzeros: over all parameters of the base model, batch norm and bias included.
        images, base_correct, base_bits: number of images, and the base model's answers.
        guessing: percent right of the best answer that looks at no image.
        base_uncertainty: of an adaptive scan or a decision, which asks uncertain images sooner: one byte an image in
            base64, 255 where the base model's two likeliest classes are equally likely, 0 where it is sure of one.
        layers: every prunable parameter in the model's order, also those not scanned.
        points: by layer in the model's order, then by sparsity.
        seconds: wall-clock time; of the last part only, where the scan was resumed.
    """

    schema_version: Literal[1] = 1
    created: str
    model: str
    model_digest: Digest
    data: str
    data_digest: Digest
    origin: str
    criterion: str
    granularity: str = "element"
    precision: Literal["fp32", "bf16"]
    mode: Mode
    recomputed: Literal["suffix", "whole"]
    seed: int
    batch_size: Count
    confidence: Fraction = 1.0
    half_width: float | None = None
    relative_half_width: float | None = None
    within: float | None = None
    compounding: bool = False
    elements: Count
    nonzeros: Count
    images: Annotated[int, Field(gt=0)]
    guessing: Percent
    base_correct: Count
    base_bits: str
    base_uncertainty: str | None = None
    layers: list[ScannedLayer]
    points: list[Point]
    seconds: Seconds
    environment: dict[str, str | int]
    revision: str | None = None
    dirty: bool | None = None
    prunebench_revision: str | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        refuse_contradictions("the scan", scan_contradictions(self))
        return self

    @property
    def base_accuracy(self) -> float:
        """Percent of images the base model gets right."""
        return 100 * self.base_correct / self.images

    @property
    def images_answered(self) -> int:
        """Over all points."""
        return sum(point.images for point in self.points)

    @property
    def images_saved(self) -> float:
        """Fraction of the images, over all points, that did not have to be answered."""
        return 1 - self.images_answered / (self.images * len(self.points)) if self.points else 0.0

    def layer(self, name: str) -> ScannedLayer:
        """The layer called `name`.

        Raises:
            UnknownNameError: the model has none.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise UnknownNameError("layer", name, [layer.name for layer in self.layers])

    def curve(self, name: str) -> list[Point]:
        """The points of one layer by rising sparsity; empty where it was not scanned.

        Raises:
            UnknownNameError: the model has no such layer.
        """
        self.layer(name)
        return sorted((point for point in self.points if point.layer == name), key=lambda point: point.sparsity)


def write_scan(scan: Scan, path: str | Path) -> None:
    """Write as JSON with sorted keys and a digest of the content; whole or not at all."""
    path = Path(path)
    write_text(path, render(scan.model_dump(mode="json")))


def read_scan(path: str | Path) -> Scan:
    """Read what `write_scan` wrote.

    Raises:
        RecordError: absent, not JSON, no scan, edited since it was written, of a newer schema, or damaged.
    """
    path = Path(path)
    content = read_document(path)
    check_kind(content, "a sensitivity scan", path=path)
    return parsed(Scan, verified(content, path=path, newest=SCHEMA_VERSION), path=path)
