"""The claims linter: recomputes from a run's table what its document says of it. No data, no training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import torch
from torch import nn

from prunebench.documented.runs import DIFFERENCES, RUNS, Cited, DocumentedDifference, DocumentedRun
from prunebench.measure import MIB
from prunebench.measure.sizes import BITS
from prunebench.models import build_model
from prunebench.pruning import SparsityPlan, pruned_count

Status = Literal["agrees", "differs", "known slip"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One thing a document says, and what comes out when it is computed again."""

    run: str
    what: str
    documented: str
    computed: str
    status: Status
    source: str


def planned_nonzeros(run: DocumentedRun, build: Callable[[], nn.Module] | None = None) -> tuple[int, int]:
    """Nonzero elements of the run's pruned model over all parameters, and of the dense one, from shapes alone."""
    with torch.device("meta"):
        model = build() if build else build_model(run.model)
    plan = SparsityPlan(run.sparsity)
    plan.check_fits(model)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    pruned = sum(pruned_count(sizes[name], sparsity, name=name) for name, sparsity in plan.items())
    return sum(sizes.values()) - pruned, sum(sizes.values())


def lint(run: DocumentedRun, build: Callable[[], nn.Module] | None = None) -> list[Claim]:
    """Every claim of one run that can be computed or contradicts itself; `build` gives its model, else its name does.

    Raises:
        PlanError, UnknownNameError: the table itself is not possible (a sparsity, a layer).
    """
    kept, dense = planned_nonzeros(run, build)
    return [_layers(run, kept, dense), *_sizes(run, kept, dense), *_accuracies(run), *_epochs(run)]


def lint_documented() -> list[Claim]:
    """The claims of the five documented runs, and the differences the report draws between them."""
    claims = [claim for run in RUNS.values() for claim in lint(run)]
    return claims + [_difference(difference) for difference in DIFFERENCES]


def _claim(run: DocumentedRun, what: str, documented: Cited, computed: str, *, agrees: bool) -> Claim:
    return Claim(
        run=run.name,
        what=what,
        documented=str(documented.value),
        computed=computed,
        status="agrees" if agrees else "differs",
        source=documented.source,
    )


def _layers(run: DocumentedRun, kept: int, dense: int) -> Claim:
    return Claim(
        run=run.name,
        what="layers",
        documented=f"{len(run.sparsity)} listed",
        computed=f"all exist; {kept:,} of {dense:,} nonzero",
        status="agrees",
        source=run.source,
    )


def _sizes(run: DocumentedRun, kept: int, dense: int) -> Iterator[Claim]:
    for what, documented, value in (
        ("size, MiB", run.size_mib, Decimal(kept * BITS) / (8 * MIB)),
        ("size, % of dense", run.size_percent, 100 * Decimal(kept) / dense),
    ):
        if documented is not None:
            yield _claim(run, what, documented, f"{value:.4f}", agrees=documented.agrees_with(value))


def _accuracies(run: DocumentedRun) -> Iterator[Claim]:
    """Check accuracies on n images: each is a multiple of 100/n, or it was not measured on n images."""
    named = [("dense accuracy, %", run.dense_accuracy), ("accuracy before, %", run.accuracy_before)]
    named += [("accuracy best, %", run.accuracy_best)]
    named += [(f"accuracy epoch {number}, %", figure) for number, figure in enumerate(run.accuracy_by_epoch, start=1)]
    for what, documented in named:
        if documented is None:
            continue
        correct = round(documented.value * run.test_images / 100)
        nearest = 100 * Decimal(correct) / run.test_images
        possible = 0 <= correct <= run.test_images and documented.agrees_with(nearest)
        computed = f"{correct:,} of {run.test_images:,} right" if possible else f"nearest possible {nearest:.4f}"
        yield _claim(run, what, documented, computed, agrees=possible)


def _epochs(run: DocumentedRun) -> Iterator[Claim]:
    if not run.accuracy_by_epoch:
        return
    best = max(run.accuracy_by_epoch, key=lambda figure: figure.value)
    if run.accuracy_best is not None:
        agrees = run.accuracy_best.agrees_with(best.value) or best.agrees_with(run.accuracy_best.value)
        yield _claim(run, "best is the highest epoch, %", run.accuracy_best, str(best.value), agrees=agrees)
    if run.epochs is not None:
        count = Cited(Decimal(run.epochs), run.source)
        listed = len(run.accuracy_by_epoch)
        yield _claim(run, "epochs", count, f"{listed} listed", agrees=listed == run.epochs)


def _difference(difference: DocumentedDifference) -> Claim:
    first, second = (getattr(RUNS[name], difference.figure).value for name in (difference.first, difference.second))
    computed = first - second
    agrees = computed == difference.printed.value
    known = difference.corrected is not None and computed == difference.corrected
    return Claim(
        run=f"{difference.first} - {difference.second}",
        what=f"difference of {difference.figure}, points",
        documented=str(difference.printed.value),
        computed=str(computed),
        status="agrees" if agrees else "known slip" if known else "differs",
        source=difference.printed.source,
    )
