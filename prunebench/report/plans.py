"""Tables of plans as text: layers, costs, predicted beside measured accuracy, and what a refinement measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunebench.report.table import Table
from prunebench.report.tables import UNDOCUMENTED, short_name

if TYPE_CHECKING:
    from prunebench.planning import Inventory, Plan, Trial

NONE = UNDOCUMENTED


def plan_table(plan: Plan) -> Table:
    """Sparsity and kept elements by layer, each layer's share of the size, and what it alone is predicted to lose."""
    rows = [
        [short_name(layer.name), f"{layer.sparsity:.4f}", f"{layer.numel:,}", f"{layer.kept:,}",
         f"{100 * layer.kept / plan.nonzeros:.2f}", _points(layer.drop)]
        for layer in plan.layers
    ]  # fmt: skip
    others = plan.elements - sum(layer.numel for layer in plan.layers)
    others_kept = plan.nonzeros - sum(layer.kept for layer in plan.layers)
    rows.append(
        ["batch norm, bias", "", f"{others:,}", f"{others_kept:,}", f"{100 * others_kept / plan.nonzeros:.2f}", ""]
    )
    rows.append(
        ["all", f"{1 - plan.nonzeros / plan.elements:.4f}", f"{plan.elements:,}", f"{plan.nonzeros:,}", "100.00", ""]
    )
    return Table(rows=rows, headers=["layer", "sparsity", "elements", "kept", "% of size", "alone loses, points"])


def cost_table(plan: Plan, inventory: Inventory) -> Table:
    """Nominal size, size in a sparse file and multiply-accumulates, beside the dense model's."""
    dense_bytes, dense_macs = inventory.dense_total("size") / 8, inventory.dense_total("macs")
    unit, size = ("MiB", 2**20) if dense_bytes >= 2**20 else ("KiB", 2**10)
    macs_unit, macs, decimals = ("MMACs", 1e6, 1) if dense_macs >= 1e6 else ("kMACs", 1e3, 2)
    rows = [
        [f"nominal size, {unit}", f"{plan.nonzeros * 4 / size:.2f}", f"{dense_bytes / size:.2f}",
         f"{plan.size_percent:.2f}"],
        [f"sparse file, {unit}", f"{plan.file_bytes / size:.2f}", f"{inventory.dense_total('file') / size:.2f}",
         f"{plan.file_percent:.2f}"],
        [f"{macs_unit} an image", f"{plan.macs / macs:,.{decimals}f}", f"{dense_macs / macs:,.{decimals}f}",
         f"{plan.macs_percent:.2f}"],
    ]  # fmt: skip
    return Table(rows=rows, headers=["", "plan", "dense", "% of dense"])


def plan_accuracy_table(
    *,
    base: float,
    predicted: float | None,
    measured: float | None = None,
    finetuned: float | None = None,
    tuned: bool = False,
    images: str,
) -> Table:
    """Accuracy of the base model and of the plan, predicted and measured, on the same images, in percent.

    `tuned`: the prediction is of what fine-tuning reaches, as of a law that was fitted to fine-tuned models.
    """
    columns = {"accuracy, %": images, "base model": f"{base:.2f}", "plan predicted": _percent(predicted)}
    if measured is not None:
        columns["plan measured"] = f"{measured:.2f}"
        if not tuned:
            columns["measured - predicted"] = _difference(measured, predicted)
    if finetuned is not None:
        columns["fine-tuned"] = f"{finetuned:.2f}"
        if tuned:
            columns["fine-tuned - predicted"] = _difference(finetuned, predicted)
    return Table(rows=[list(columns.values())], headers=list(columns))


def trials_table(trials: Sequence[Trial], *, elements: int, best: Trial) -> Table:
    """A table of what a refinement measured, in order: plans, and what a search found better than all before."""
    rows = []
    for trial in _told(trials, best):
        measured = trial.measured
        rows.append(
            [
                trial.kind,
                str(trial.round) if trial.round else "",
                f"{100 * trial.nonzeros / elements:.2f}",
                _percent(trial.predicted),
                f"{measured.accuracy:.2f}",
                _percent(measured.finetuned),
                _percent(measured.smooth),
                "best" if trial.sparsity == best.sparsity else "",
            ]
        )
    return Table(
        rows=rows, headers=["", "round", "size, %", "predicted, %", "measured, %", "fine-tuned, %", "smooth, %", ""]
    )


def trial_line(trial: Trial) -> str:
    """One measurement, as it is made."""
    predicted = "" if trial.predicted is None else f", predicted {trial.predicted:.2f} %"
    finetuned = "" if trial.measured.finetuned is None else f", fine-tuned {trial.measured.finetuned:.2f} %"
    number = f" {trial.round}" if trial.kind == "plan" else ""
    return f"{trial.kind}{number}: {trial.nonzeros:,} nonzeros, {trial.measured.accuracy:.2f} %{predicted}{finetuned}"


def _told(trials: Sequence[Trial], best: Trial) -> list[Trial]:
    """All but the probes, and of the search only what was better than everything before it; the best in any case."""
    told: list[Trial] = []
    for trial in trials:
        score = max((earlier.measured.score for earlier in told if earlier.kind != "base"), default=-math.inf)
        better = trial.kind == "search" and trial.measured.score > score
        if better or trial.kind in {"base", "start", "plan"} or trial.sparsity == best.sparsity:
            told.append(trial)
    return told


def _difference(measured: float, predicted: float | None) -> str:
    return NONE if predicted is None else f"{round(measured - predicted, 2) + 0.0:+.2f}"


def _points(drop: float | None) -> str:
    return NONE if drop is None else f"{round(drop, 2) + 0.0:.2f}"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"
