"""Sensitivity scans as tables for people. Nothing here prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tabulate import tabulate

if TYPE_CHECKING:
    from prunebench.records.scans import ScanBaseline
    from prunebench.sensitivity import Point, Scan


def scan_heading(scan: Scan) -> str:
    """What was scanned and how, in two lines."""
    return "\n".join(
        [
            f"sensitivity of {scan.model} on {scan.data}, {scan.images:,} images, {scan.mode}, {scan.criterion}, "
            f"{scan.precision}, weights {scan.origin or scan.model_digest[:12]}",
            f"one layer pruned at a time; base model {scan.base_accuracy:.2f} %; accuracy in %, worst drop first",
        ]
    )


def scan_table(scan: Scan) -> str:
    """Layer by sparsity: accuracy, and the layer's largest drop in points; `~` where not every image was answered."""
    sparsities = sorted({point.sparsity for point in scan.points})
    curves = {layer.name: {point.sparsity: point for point in scan.curve(layer.name)} for layer in scan.layers}
    drops = {
        name: scan.base_accuracy - min(point.accuracy for point in curve.values())
        for name, curve in curves.items()
        if curve
    }
    rows = [
        [
            name.removeprefix("backbone.").removesuffix(".weight"),
            *(_accuracy(curves[name].get(sparsity)) for sparsity in sparsities),
            f"{drops[name]:.2f}",
        ]
        for name in sorted(drops, key=lambda name: -drops[name])
    ]
    headers = ["layer", *(f"{sparsity:g}" for sparsity in sparsities), "worst drop"]
    return _table(rows, headers)


def scan_baselines_table(baselines: Iterable[ScanBaseline]) -> str:
    """One line a baseline: points, accuracies, and its approval."""
    rows = [
        [
            baseline.case,
            str(len(baseline.scan.points)),
            f"{baseline.scan.base_accuracy:.2f}",
            f"{min(point.accuracy for point in baseline.scan.points):.2f}" if baseline.scan.points else "-",
            baseline.approval.at[:10],
            baseline.approval.by.partition(" <")[0],
            baseline.approval.reason,
        ]
        for baseline in baselines
    ]
    headers = ["scan", "points", "base %", "lowest %", "approved", "by", "reason"]
    alignment = ["left", *["right"] * 3, *["left"] * 3]
    return tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True, colalign=alignment)


def scan_baseline_text(baseline: ScanBaseline) -> str:
    """Who approved it, when and why; what it was measured on; accuracies."""
    scan, approval = baseline.scan, baseline.approval
    rows = [
        ["case", baseline.case],
        ["approved", f"{approval.at} by {approval.by}"],
        ["reason", approval.reason],
        ["replaced", approval.replaced or "nothing: it is the first"],
        ["digest", baseline.digest],
        ["recorded", f"{scan.created}, revision {scan.revision or 'unknown'}, {scan.seconds:.1f} s"],
        ["data", f"{scan.data}, {scan.data_digest}"],
        ["base weights", f"{scan.origin}, {scan.model_digest}"],
        ["environment", ", ".join(f"{name} {value}" for name, value in scan.environment.items())],
    ]
    about = tabulate(rows, tablefmt="plain", disable_numparse=True)
    return f"{about}\n\n{scan_heading(scan)}\n\n{scan_table(scan)}"


def _accuracy(point: Point | None) -> str:
    if point is None:
        return "-"
    return f"{'' if point.correct_bits else '~'}{point.accuracy:.2f}"


def _table(rows: list[list[str]], headers: list[str]) -> str:
    alignment = ["left", *["right"] * (len(headers) - 1)]
    return tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True, colalign=alignment)
