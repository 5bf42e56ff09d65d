"""How much faster adaptive scans and decisions are than the lab's loop: timed, side by side, on one machine.

    PRUNEBENCH_DATA=PATH PRUNEBENCH_CHECKPOINT=PATH python benchmarks/studies/adaptive_speed.py --precision bf16

The lab's loop runs every image through the whole model for every point, which takes hours; a part is timed before and
after each scan: one of its batches, nine layers at one sparsity. The rest is more of the same. A scan is timed whole,
from the first image to the last, nothing kept from before.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1] / "speed"))  # the lab's loop and the sides of a comparison

import jobs
import lab
from sides import OURS, PLAIN, Sides

from prunebench.sensitivity import SPARSITIES, Mode, sensitivity_scan

FINER = (*SPARSITIES, 0.95, 0.98)
LAB_BATCH = {"images": lab.BATCH, "sparsities": SPARSITIES[:1]}
QUESTIONS: Sequence[tuple[Mode, float]] = (("adaptive", 1.0), ("decision", 1.0), ("decision", 2.0))
"""Mode and, of decisions, the points that may be lost."""


def scan(round_: int, *, mode: Mode, within: float, sparsities: tuple[float, ...], precision: Any) -> Any:
    """A whole scan of all images: images answered."""
    del round_  # all jobs have one signature
    model, data = jobs.vgg(), jobs.material().test
    settings = {"mode": mode, "sparsities": sparsities, "precision": precision, "within": within}
    return lambda: sensitivity_scan(model, data, **settings).images_answered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--finer", action="store_true", help="eight sparsities, up to 0.98, not the documented six")
    options = parser.parse_args()
    sparsities = FINER if options.finer else SPARSITIES
    images, points = len(jobs.material().test), len(sparsities) * len(jobs.TABLE)
    batches: list[float] = []
    timed: list[tuple[str, float, int]] = []
    with ExitStack() as stack:
        sides = Sides(stack)
        sides.run(PLAIN, jobs.scan_by_lab, settings=LAB_BATCH)  # shapes, first touch of memory
        for number, (mode, within) in enumerate(QUESTIONS):
            batches.append(sides.run(PLAIN, jobs.scan_by_lab, number, LAB_BATCH)[0])
            settings = {"mode": mode, "within": within, "sparsities": sparsities, "precision": options.precision}
            seconds, _, answered = sides.run(OURS, scan, settings=settings)
            name = f"{mode}, within {within:g}" if mode == "decision" else mode
            timed.append((name, seconds, answered))
            print(f"{name}: {seconds:.0f} s, a batch before it {batches[-1]:.1f} s", flush=True)
        batches.append(sides.run(PLAIN, jobs.scan_by_lab, len(QUESTIONS), LAB_BATCH)[0])
    plain = median(batches) / len(jobs.TABLE) * images / lab.BATCH * points
    print(f"\nthe lab's loop: {lab.BATCH} images at {len(jobs.TABLE)} points in", end=" ")
    print(", ".join(f"{seconds:.1f}" for seconds in batches), end=" s; ")
    print(f"{images:,} images at {points} points would take {plain:,.0f} s\n")
    rows = [
        [name, f"{answered:,}", f"1/{images * points / answered:.1f}", f"{seconds:.0f}", f"{plain / seconds:.1f}"]
        for name, seconds, answered in timed
    ]
    headers = [f"scan, {options.precision}, {len(sparsities)} sparsities", "answers", "of all", "s", "times as fast"]
    print(tabulate(rows, headers=headers, tablefmt="github"))


if __name__ == "__main__":
    main()
