"""Tables of plans as text: layers, costs, predicted beside measured accuracy, and what a search measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunebench.report.table import Table
from prunebench.report.tables import UNDOCUMENTED, short_name

if TYPE_CHECKING:
    from prunebench.planning import Inventory, Plan, Reported, Trial

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


def plan_accuracy_table(reported: Reported) -> Table:
    """Accuracy of the base model and of the plan, predicted and measured, on the same images, in percent."""
    columns = {
        "accuracy, %": f"{reported.images:,} test images",
        "base model": f"{reported.base:.2f}",
        "plan predicted": _percent(reported.predicted),
        "plan measured": f"{reported.measured:.2f}",
        "measured - predicted": _difference(reported.measured, reported.predicted),
    }
    if reported.finetuned is not None:
        columns["fine-tuned"] = f"{reported.finetuned:.2f}"
    return Table(rows=[list(columns.values())], headers=list(columns))


def trials_table(trials: Sequence[Trial], *, elements: int, best: Trial) -> Table:
    """A table of measured plans, in order; of a search only what was better than everything before it."""
    rows = []
    highest = -math.inf
    for trial in trials:
        measured = trial.measured
        if trial.kind == "search" and measured.score <= highest:
            continue
        if trial.kind != "base":
            highest = max(highest, measured.score)
        rows.append(
            [trial.kind, f"{100 * trial.nonzeros / elements:.2f}", f"{measured.accuracy:.2f}",
             _percent(measured.finetuned), _percent(measured.smooth), "best" if trial == best else ""]
        )  # fmt: skip
    return Table(rows=rows, headers=["", "size, %", "measured, %", "fine-tuned, %", "smooth, %", ""])


def trial_line(trial: Trial) -> str:
    """One measurement, as it is made."""
    finetuned = "" if trial.measured.finetuned is None else f", fine-tuned {trial.measured.finetuned:.2f} %"
    return f"{trial.kind}: {trial.nonzeros:,} nonzeros, {trial.measured.accuracy:.2f} %{finetuned}"


def _difference(measured: float, predicted: float | None) -> str:
    return NONE if predicted is None else f"{round(measured - predicted, 2) + 0.0:+.2f}"


def _points(drop: float | None) -> str:
    return NONE if drop is None else f"{round(drop, 2) + 0.0:.2f}"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"
