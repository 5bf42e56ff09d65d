"""Sensitivity scans as text: a row a layer, a column a sparsity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from prunebench.documented.method import Method
from prunebench.escaping import terminal
from prunebench.report.table import Table, facts_table
from prunebench.report.tables import approval_rows, machine_line, short_name

if TYPE_CHECKING:
    from prunebench.baselines.shelf import Baseline
    from prunebench.sensitivity import Point, Scan

RECOMPUTED = {
    "suffix": "only what follows the pruned layer was computed again",
    "whole": "the model cannot be run from its middle, so it was run from its start for every point: slower, the same "
    "answers",
}


def scan_heading(scan: Scan) -> str:
    """The heading of a scan: what was scanned, on what, and how."""
    asked = {
        "exact": "every image asked",
        "adaptive": f"asked until {100 * scan.confidence:g} % intervals were within {_narrow_enough(scan)}",
        "decision": f"asked until it was known, at {100 * scan.confidence:g} % a layer, which sparsity loses at most "
        f"{scan.within} points",
    }[scan.mode]
    size = "" if scan.nonzeros == scan.elements else f"{100 * scan.nonzeros / scan.elements:.2f} % nonzero"
    about = f" ({', '.join(filter(None, (scan.origin, size)))})" if scan.origin or size else ""
    least = "at least " * (scan.mode == "decision")  # the scan does not name the points it had no need to ask
    saved = f", {least}{100 * scan.images_saved:.0f} % of the images saved" if scan.images_saved else ""
    method = Method(criterion=scan.criterion, granularity=scan.granularity).words
    by = f" {method}" if method else ""
    lines = (
        f"sensitivity{by} of {scan.model} {scan.model_digest[:8]}{about} on {scan.images:,} images of "
        f"{scan.data}, {scan.precision}: {scan.base_accuracy:.2f} % as it is",
        f"{asked}; {scan.images_answered:,} answers{saved}; {RECOMPUTED[scan.recomputed]}; {scan.seconds:.0f} s",
        machine_line(scan.environment),
    )
    return "\n".join(map(terminal, lines))


def _narrow_enough(scan: Scan) -> str:
    points, share = scan.half_width or 0.0, scan.relative_half_width
    return f"{points:g} points" + (f", or {100 * share:g} % of the drop where that is more" if share else "")


def scan_table(scan: Scan) -> Table:
    """Accuracy in percent with one layer pruned, by layer and absolute sparsity, and the most points a layer lost.

    For a decision scan, how far each layer can go instead.
    """
    curves = {layer.name: scan.curve(layer.name) for layer in scan.layers}
    curves = {name: curve for name, curve in curves.items() if curve}
    if scan.mode == "decision":
        return _decisions(scan, curves)
    sparsities = sorted({round(point.sparsity, 4) for point in scan.points})
    headers = ["layer", "elements", "is", *(f"{sparsity:g}" for sparsity in sparsities), "worst drop"]
    rows = [
        [
            short_name(name),
            f"{scan.layer(name).numel:,}",
            f"{scan.layer(name).sparsity:.2f}",
            *_cells(curve, sparsities),
            f"{scan.base_accuracy - min(point.accuracy for point in curve):.2f}",
        ]
        for name, curve in curves.items()
    ]
    return Table(rows=rows, headers=headers)


def scan_baselines_table(baselines: Iterable[Baseline]) -> Table:
    """One line a baseline of a scan: points, accuracies, and its approval."""
    rows = []
    for baseline in baselines:
        scan, approval = cast("Scan", baseline.record), baseline.approval
        rows.append(
            [
                baseline.case,
                str(len(scan.points)),
                f"{scan.base_accuracy:.2f}",
                f"{min(point.accuracy for point in scan.points):.2f}" if scan.points else "-",
                approval.at[:10],
                approval.by.partition(" <")[0],
                approval.reason,
            ]
        )
    headers = ["scan", "points", "base %", "lowest %", "approved", "by", "reason"]
    return Table(rows=rows, headers=headers, texts=3)


def scan_baseline_text(baseline: Baseline) -> str:
    """Who approved it, when and why; what it was measured on; accuracies."""
    scan = cast("Scan", baseline.record)
    rows = [
        *approval_rows(baseline),
        ["recorded", f"{scan.created}, revision {scan.revision or 'unknown'}, {scan.seconds:.1f} s"],
        ["data", f"{scan.data}, {scan.data_digest}"],
        ["base weights", ", ".join(filter(None, (scan.origin, scan.model_digest)))],
        ["environment", ", ".join(f"{name} {value}" for name, value in scan.environment.items())],
    ]
    return f"{facts_table(rows)}\n\n{scan_heading(scan)}\n\n{scan_table(scan)}"


def _cells(curve: Sequence[Point], sparsities: Sequence[float]) -> list[str]:
    points = {round(point.sparsity, 4): point for point in curve}
    return [_accuracy(points[sparsity]) if sparsity in points else "" for sparsity in sparsities]


def _accuracy(point: Point) -> str:
    width = max(point.high - point.accuracy, point.accuracy - point.low)  # the interval need not lie evenly about it
    return f"{point.accuracy:.2f}" if not width else f"{point.accuracy:.1f}±{width:.1f}"


def _decisions(scan: Scan, curves: dict[str, list[Point]]) -> Table:
    headers = ["layer", "elements", "is", "keeps accuracy at", "loses more at", "images"]
    rows = []
    for name, curve in curves.items():
        layer, images = scan.layer(name), sum(point.images for point in curve)
        kept = next((f"{point.sparsity:g}" for point in reversed(curve) if point.keeps), "none")
        lost = ", ".join(f"{point.sparsity:g}" for point in curve if point.keeps is False)
        rows.append([short_name(name), f"{layer.numel:,}", f"{layer.sparsity:.2f}", kept, lost, f"{images:,}"])
    return Table(rows=rows, headers=headers)
