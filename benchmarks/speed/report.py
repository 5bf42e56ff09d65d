"""The speed section of a document: tables of ratios, what remains, and on what it was measured. Measuring: `sides`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from comparisons import COMPARISONS
from remains import COPIED_BYTES, MACS, Remains
from sides import Comparison, Entry, Measurement, threads
from tabulate import tabulate

from prunebench.errors import RecordError
from prunebench.machine.environment import cpu_name
from prunebench.storage.files import write_text

BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
COMMAND = "pytest benchmarks/speed --speed-report docs/measurements/speed.md"
OPERATIONS = {"evaluation": 2 * MACS, "epoch": 3 * 2 * MACS}
"""Floating-point operations of an image, by job; backward takes twice as many as forward."""

GPU_SHARE = 0.36


@dataclass
class Findings:
    """What a session found: measurements by name, profiles, and which images it used."""

    measurements: dict[str, Measurement] = field(default_factory=dict)
    remains: list[Remains] = field(default_factory=list)
    images: str = ""


def text(found: Findings) -> str:
    """The section in Markdown."""
    parts = [_conditions(found), _ratios(found)]
    rates = [row for one in found.measurements.values() for row in _rates(one, found.remains)]
    if rates:
        headers = ["", "images a second", "TFLOP/s", "share of the peak"]
        parts += ["Throughput, medians:", tabulate(rates, headers=headers, tablefmt="github")]
    for remains in found.remains:
        parts += _what_remains(remains)
    return "\n\n".join(parts)


def write_section(path: Path, section: str) -> None:
    """Put `section` between the markers of the document; what stands outside them stays.

    Raises:
        RecordError: the document has no markers.
        StorageError: it cannot be written.
    """
    before, after = surroundings(path)
    write_text(path, f"{before}{BEGIN}\n{section}\n{END}{after}")


def surroundings(path: Path) -> tuple[str, str]:
    """What stands before and after the markers of the document.

    Raises:
        RecordError: it cannot be read, or has no markers.
    """
    try:
        whole = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"cannot read '{path}': {error.strerror}") from error
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RecordError(f"'{path}' has no lines '{BEGIN}' and '{END}' for the section to go between")
    return before, after


def _conditions(found: Findings) -> str:
    packages = ("torch", "torchvision", "numpy", "pytest-benchmark")
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in packages)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"`{COMMAND}`, on {cpu_name()}, {threads()} threads a side, GPU: {gpu}; {versions}, instruction set "
        f"{torch.backends.cpu.get_cpu_capability()}. Images: {found.images}. Load averages at the end: {busy}. "
        "Sides took turns in processes of their own, after one untimed round each unless a job takes many seconds; "
        "denormals are not flushed. A ratio is that of the medians; beside it the median, least and most of the ratios "
        "of neighbours, and the ratio of the medians of processor time, which other programs disturb less."
    )


def _ratios(found: Findings) -> str:
    rows = []
    for comparison in COMPARISONS:
        for other in comparison.others:
            one = found.measurements.get(comparison.name)
            rows.append(_row(comparison, other, one))
    rows.append(_gpu_share(found))
    headers = ["job", "against", "target", "ratio", "of neighbours", "of CPU time", "n", "met", "the same"]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def _row(comparison: Comparison, other: Entry, one: Measurement | None) -> list[str]:
    target = f"{other.target:g}x" if other.target else "-"
    start = [f"{comparison.title}: {other.label}", comparison.reference.label, target]
    if one is None:
        why = "not run on a GPU" if comparison.needs == "cuda" else "not run"
        return [*start, why, "", "", "", "", ""]
    ratios = one.ratios(other.label)
    met = ("yes" if ratios.of_medians >= other.target else "no") if other.target else ""
    ratio = f"{ratios.of_medians:.2f}"
    return [*start, ratio, str(ratios), f"{ratios.of_cpu:.2f}", str(len(ratios.pairs)), met, one.agreement[other.label]]


def _gpu_share(found: Findings) -> list[str]:
    start = ["GPU: share of the bf16 peak in training", "the card's measured matrix peak", f"{GPU_SHARE:.0%}"]
    one = found.measurements.get("gpu-epoch")
    peaks = next((remains.peaks for remains in found.remains if remains.device == "cuda"), None)
    if one is None or peaks is None:
        return [*start, "not run on a GPU", "", "", "", "", ""]
    share = one.images_a_second("bf16") * OPERATIONS["epoch"] / peaks["bf16"]
    return [*start, f"{share:.0%}", "", "", str(one.comparison.rounds), "yes" if share >= GPU_SHARE else "no", ""]


def _rates(one: Measurement, remains: list[Remains]) -> list[list[str]]:
    if not one.comparison.images:
        return []
    device = "cuda" if one.comparison.needs == "cuda" else "cpu"
    operations = OPERATIONS[
        "epoch" if one.comparison.name in {"epoch", "gpu-epoch", "memory-training"} else "evaluation"
    ]
    peaks = next((found.peaks for found in remains if found.device == device), {})
    rows = []
    for entry in one.comparison.entries:
        rate = one.images_a_second(entry.label)
        precision = next((name for name in ("TF32", "bf16") if name in entry.label), "fp32")
        share = f"{rate * operations / peaks[precision]:.0%}" if precision in peaks else "-"
        rows.append([f"{one.comparison.title}: {entry.label}", f"{rate:.1f}", f"{rate * operations / 1e12:.3f}", share])
    return rows


def _what_remains(remains: Remains) -> list[str]:
    peaks = ", ".join(f"{name} {peak / 1e9:,.0f} GFLOP/s" for name, peak in remains.peaks.items())
    jobs = list(remains.costs)
    columns = [[f"{name} {share:.0%}" for name, share in remains.costs[job]] for job in jobs]
    longest = max(map(len, columns))
    rows = np.array([[*column, *[""] * (longest - len(column))] for column in columns]).T.tolist()
    return [
        f"Matrix peak of the {remains.device}, best of six products: {peaks}. An image takes {2 * MACS / 1e9:.2f} "
        f"GFLOP forward (at the fp32 peak {remains.peaks['fp32'] / (2 * MACS):,.0f} images a second), three times that "
        f"in training. A copy of {COPIED_BYTES / 2**20:.0f} MiB, the best of six, reads and writes "
        f"{remains.bandwidth / 1e9:,.1f} GB/s.",
        "Time of their own by operation, one batch of 256:",
        tabulate(rows, headers=jobs, tablefmt="github", disable_numparse=True),
    ]
