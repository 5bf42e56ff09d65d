"""How much of the plain loop's work a scan did, counted in multiply-accumulates; and the least that sampling could do.

    python benchmarks/studies/scan_work.py SCAN.json

The plain loop runs every image through the whole model for every point. The least is one look at a number of images
known beforehand, with a normal interval for a finite population, at the same half-widths.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scipy.stats import norm

from prunebench.sensitivity import HalfWidth, Point, Scan, read_scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    scan = read_scan(parser.parse_args().scan)
    plain = scan.images * len(scan.points)
    for name, answers in (
        ("every image", [scan.images for _ in scan.points]),
        ("this scan", [point.images for point in scan.points]),
        ("the least", [least_images(point, scan) for point in scan.points]),
    ):
        work = in_passes(scan, answers)
        print(f"{name}: {sum(answers):,.0f} of {plain:,} answers, 1/{plain / work:.2f} of the work")


def in_passes(scan: Scan, answers: list[float] | list[int]) -> float:
    """Work in passes of one image through the whole model: the base model's own, and what follows each pruned layer."""
    macs = [layer.macs for layer in scan.layers]
    after = {layer.name: sum(macs[index:]) / sum(macs) for index, layer in enumerate(scan.layers)}
    asked = sum(count * after[point.layer] for count, point in zip(answers, scan.points, strict=True))
    return scan.images + asked


def least_images(point: Point, scan: Scan) -> float:
    """Images for the default half-width, if the variance were known."""
    drop = (point.lost - point.gained) / point.images
    variance = (point.lost + point.gained) / point.images - drop**2
    asked = (norm.ppf(0.975) / (HalfWidth().at(100 * drop) / 100)) ** 2 * variance
    return float(asked / (1 + asked / scan.images))


if __name__ == "__main__":
    main()
