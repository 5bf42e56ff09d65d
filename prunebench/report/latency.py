"""Latency for people: what each side costs, and who is faster."""

from __future__ import annotations

from statistics import median

from prunebench.latency.measure import Costs, LatencyComparison
from prunebench.latency.ratio import CONFIDENCE
from prunebench.measure import MIB
from prunebench.report.table import Table


def costs_table(found: LatencyComparison) -> Table:
    """Weights, zeros and work of both sides."""
    return Table(
        headers=["side", "weights MiB", "nonzero %", "MACs", "MiB moved"],
        rows=[_costs(label, each) for label, each in (("A", found.a), ("B", found.b))],
    )


def _costs(label: str, costs: Costs) -> list[str]:
    kept = 100 * costs.nonzeros / costs.elements
    return [
        f"{label}: {costs.name}",
        f"{costs.weight_bytes / MIB:.2f}",
        f"{kept:.2f}",
        f"{costs.macs:,}",
        f"{costs.moved_bytes / MIB:.2f}",
    ]


def latency_table(found: LatencyComparison) -> Table:
    """Milliseconds of the quickest call (median over launches), peak memory and the verdict, by runtime and batch."""
    return Table(
        headers=["runtime", "batch", "A ms", "B ms", "A MiB", "B MiB", "B is"],
        rows=[
            [
                each.runtime,
                each.batch,
                *(f"{1000 * median(map(min, side)):.2f}" for side in (each.seconds_a, each.seconds_b)),
                *(f"{peak / MIB:.0f}" for peak in (each.peak_bytes_a, each.peak_bytes_b)),
                each.ratio,
            ]
            for each in found.timings
        ],
        texts=1,
    )


def latency_note(found: LatencyComparison) -> str:
    """A note on how it was measured, and on what."""
    about, launches = found.environment, found.timings[0].ratio.launches
    versions = [f"{name} {about[name]}" for name in ("torch", "onnxruntime", "openvino") if name in about]
    return (
        f"Intervals: {100 * CONFIDENCE:g} %, of {launches} pairs of processes. MiB: most memory of the process. "
        f"{found.threads} threads, denormals flushed; {about['cpu']}; {', '.join(versions)}."
    )
