"""The documented runs: what a document claims, as literals, each figure with its source.

No torch here, so that `prunebench runs` answers at once. `prunebench.documented.claims` checks the claims, and
`prunebench.documented.tables` reads a table that a user wrote. A figure that is not documented is `None`, never a
guess.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from prunebench.documented.method import Method
from prunebench.errors import PlanError, UnknownNameError

if TYPE_CHECKING:
    from prunebench.documented.floors import Floor

RUNTIMES = ("eager", "compile", "onnx", "openvino")
"""Runtimes that latency is measured in."""

MEASURES = ("shrunk", "onnx", "latency", *(f"latency:{runtime}" for runtime in RUNTIMES))
"""What a run may measure beside size and accuracy, of the model that is kept."""

REPORT = "pruning report on MIT 6.5940 (EfficientML.ai) Lab 1"


@dataclass(frozen=True)
class Cited:
    """A figure as printed, all its digits kept (`Decimal("10.90")` was printed to two), and where it stands."""

    value: Decimal
    source: str

    @property
    def tolerance(self) -> Decimal:
        """Half of the last printed digit: how far the true value may lie from the printed one."""
        exponent = self.value.as_tuple().exponent
        assert isinstance(exponent, int), "a documented figure is finite"
        return Decimal(5).scaleb(exponent - 1)

    def agrees_with(self, value: float | Decimal) -> bool:
        """True where `value` would be printed as this figure (half of the last digit either way)."""
        return abs(Decimal(value) - self.value) <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class Run:
    """One pruning run: which share of each layer to prune, and what it promises.

    Attributes:
        name: how people call it.
        sparsity: fraction pruned, 0..1, by parameter name; every prunable parameter is listed.
        model: what the sparsities are for, as `prunebench.models.build_model` takes it.
        epochs: of fine-tuning, where the recipe leaves them to the run.
        method: by which its units are pruned; where that allocates a total, `sparsity` is what it came to.
        early: a checkpoint that pruning schedule `weight-rewinding` goes back to.
        measures: names of `MEASURES`.
        floors: what it promises, beside what its workload does.
        source: where the sparsities and epochs stand.
    """

    name: str
    sparsity: Mapping[str, float]
    model: str = "vgg"
    epochs: int | None = None
    method: Method = Method()
    early: Path | None = None
    measures: tuple[str, ...] = ()
    floors: tuple[Floor, ...] = ()
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class DocumentedRun(Run):
    """One pruning run as its document describes it.

    Attributes:
        size_mib: nonzero elements over all parameters x 32 bits, in MiB (2^20 bytes), without the cost of positions.
        size_percent: the same in percent of the dense model's.
        accuracy_before: test accuracy in percent after pruning, before fine-tuning.
        accuracy_best: test accuracy in percent of the best epoch.
        accuracy_by_epoch: test accuracies in percent; empty where not documented.
        dense_accuracy: test accuracy in percent of the checkpoint the run started from.
    """

    size_mib: Cited | None = None
    size_percent: Cited | None = None
    accuracy_before: Cited | None = None
    accuracy_best: Cited | None = None
    accuracy_by_epoch: tuple[Cited, ...] = ()
    dense_accuracy: Cited | None = None
    test_images: int = 10_000

    @property
    def change_after_finetuning(self) -> Decimal | None:
        """Best accuracy less dense accuracy, in points: what carries over to another checkpoint."""
        if self.accuracy_best is None or self.dense_accuracy is None:
            return None
        return self.accuracy_best.value - self.dense_accuracy.value


@dataclass(frozen=True, kw_only=True)
class DocumentedDifference:
    """A difference between two runs as a document prints it: `first` less `second`, of one figure.

    Attributes:
        corrected: what it should have printed, where it is known to have slipped.
    """

    figure: str
    first: str
    second: str
    printed: Cited
    corrected: Decimal | None = None


def check_measures(names: Sequence[str]) -> None:
    """Check that a run can measure `names`.

    Raises:
        UnknownNameError: one that is none of `MEASURES`.
        PlanError: several latencies: a record holds one.
    """
    for name in names:
        if name not in MEASURES:
            raise UnknownNameError("measure", name, MEASURES)
    if len(latencies := [name for name in names if name.startswith("latency")]) > 1:
        raise PlanError(f"a run measures one latency: expected one of {', '.join(latencies)}")


def _table(**short: float) -> Mapping[str, float]:
    """A sparsity for every prunable parameter of the VGG, from the report's short names; unlisted ones stay dense."""
    names = {f"c{i}": f"backbone.conv{i}.weight" for i in range(8)} | {"fc": "classifier.weight"}
    return MappingProxyType({full: short.get(name, 0.0) for name, full in names.items()})


def _cited(figure: str, where: str) -> Cited:
    return Cited(Decimal(figure), f"{REPORT}, {where}")


def _epochs(figures: str) -> tuple[Cited, ...]:
    return tuple(_cited(figure, "accuracy by epoch") for figure in figures.split())


_DENSE = Cited(Decimal("92.95"), f"{REPORT}, dense accuracy of vgg.cifar.pretrained.pth on 10,000 test images")

RUNS: Mapping[str, DocumentedRun] = MappingProxyType(
    {
        run.name: run
        for run in (
            DocumentedRun(
                name="run1",
                sparsity=_table(c4=0.30, c5=0.60, c6=0.60, c7=0.80),
                epochs=5,
                source=f"{REPORT}, sparsity by layer, run 1",
                size_mib=_cited("15.85", "size in MiB"),
                size_percent=_cited("45.03", "size in percent of dense"),
                accuracy_before=_cited("92.63", "accuracy before fine-tuning"),
                accuracy_best=_cited("93.06", "accuracy after fine-tuning, best epoch"),
                accuracy_by_epoch=_epochs("93.06 93.02 92.95 92.85 92.83"),
                dense_accuracy=_DENSE,
            ),
            DocumentedRun(
                name="run2",
                sparsity=_table(c2=0.70, c3=0.65, c4=0.60, c5=0.65, c6=0.75, c7=0.90),
                epochs=5,
                source=f"{REPORT}, sparsity by layer, run 2",
                size_mib=_cited("9.55", "size in MiB"),
                size_percent=_cited("27.14", "size in percent of dense"),
                accuracy_before=_cited("86.62", "accuracy before fine-tuning"),
                accuracy_best=_cited("92.80", "accuracy after fine-tuning, best epoch"),
                accuracy_by_epoch=_epochs("92.76 92.75 92.80 92.76 92.77"),
                dense_accuracy=_DENSE,
            ),
            DocumentedRun(
                name="run3",
                sparsity=_table(c3=0.65, c4=0.60, c5=0.65, c6=0.75, c7=0.90),
                epochs=5,
                source=f"{REPORT}, sparsity by layer, run 3",
                size_mib=_cited("10.34", "size in MiB"),
                size_percent=_cited("29.37", "size in percent of dense"),
                accuracy_before=_cited("90.48", "accuracy before fine-tuning"),
                accuracy_best=_cited("92.84", "accuracy after fine-tuning, best epoch"),
                accuracy_by_epoch=_epochs("92.79 92.84 92.80 92.79 92.84"),
                dense_accuracy=_DENSE,
            ),
            DocumentedRun(
                name="run4",
                sparsity=_table(c3=0.80, c4=0.91, c5=0.93, c6=0.95, c7=0.95),
                source=f"{REPORT}, sparsity by layer, run 4",
                size_mib=_cited("3.84", "size in MiB"),
                size_percent=_cited("10.90", "size in percent of dense"),
                accuracy_before=_cited("25.96", "accuracy before fine-tuning"),
                dense_accuracy=_DENSE,
            ),
            DocumentedRun(
                name="run5",
                sparsity=_table(c1=0.50, c2=0.55, c3=0.80, c4=0.91, c5=0.93, c6=0.95, c7=0.95),
                epochs=9,
                source=f"{REPORT}, sparsity by layer, run 5",
                size_mib=_cited("3.08", "size in MiB"),
                size_percent=_cited("8.75", "size in percent of dense"),
                accuracy_before=_cited("24.36", "accuracy before fine-tuning"),
                accuracy_best=_cited("92.16", "accuracy after fine-tuning, best epoch"),
                accuracy_by_epoch=_epochs("91.14 91.54 91.80 91.78 91.86 92.08 91.99 91.91 92.16"),
                dense_accuracy=_DENSE,
            ),
        )
    }
)

DIFFERENCES = (
    DocumentedDifference(
        figure="size_percent",
        first="run3",
        second="run2",
        printed=_cited("2.13", "run 2 against run 3, size"),
        corrected=Decimal("2.23"),
    ),
)


def documented_run(name: str) -> DocumentedRun:
    """The documented run called `name`.

    Raises:
        UnknownNameError: no such run.
    """
    try:
        return RUNS[name]
    except KeyError:
        raise UnknownNameError("run", name, RUNS) from None


def run_digest(run: Run) -> str:
    """SHA-256 over what a run does: model, sparsities, epochs, method. What it claims or promises is not in it.

    Of a run that allocates a total, the total: which sparsities it comes to depends on the weights.
    """
    sparsity = {name: float(value) + 0.0 for name, value in run.sparsity.items()}  # 0, 0.0 and -0.0 are one sparsity
    departures = run.method.departures
    table = None if run.method.allocation is not None else sparsity
    parts = [run.model, table, run.epochs, *([departures] if departures else [])]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def is_documented_run(name: str, digest: str) -> bool:
    """True where the run of that name and `run_digest` is one of the documented ones."""
    return name in RUNS and run_digest(RUNS[name]) == digest
