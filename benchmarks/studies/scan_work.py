"""How much of the plain loop's work a scan did, counted in multiply-accumulates; and the least that sampling could do.

    python benchmarks/studies/scan_work.py SCAN.json

The plain loop runs every image through the whole model for every point. The least is one look at a number of images
known beforehand, with a normal interval for a finite population, at the same half-widths. Of an exact scan, what an
adaptive scan and a decision (1 point) would have done is replayed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from scipy.stats import norm

from prunebench.sensitivity import HalfWidth, Point, Scan, read_scan, replay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    scan = read_scan(parser.parse_args().scan)
    plain = scan.images * len(scan.points)
    scans = {scan.mode: scan}
    if scan.mode == "exact":
        scans |= {mode: replay(scan, mode=mode) for mode in ("adaptive", "decision")}
    asked = {
        mode: {(point.layer, point.sparsity): float(point.images) for point in one.points}
        for mode, one in scans.items()
    }
    asked["the least for the curves"] = {
        (point.layer, point.sparsity): least_images(point, scan) for point in scan.points
    }
    for name, images in asked.items():
        answers = sum(images.values())
        print(f"{name}: {answers:,.0f} of {plain:,} answers, 1/{plain / in_passes(scan, images):.2f} of the work")


def in_passes(scan: Scan, images: Mapping[tuple[str, float], float]) -> float:
    """Work in passes of one image through the whole model: the base model's own, and what follows each pruned layer.

    Args:
        images: how many were asked, by layer and sparsity.
    """
    macs = [layer.macs for layer in scan.layers]
    after = {layer.name: sum(macs[index:]) / sum(macs) for index, layer in enumerate(scan.layers)}
    return scan.images + sum(count * after[layer] for (layer, _), count in images.items())


def least_images(point: Point, scan: Scan) -> float:
    """Images for the default half-width, if the variance were known."""
    drop = (point.lost - point.gained) / point.images
    variance = (point.lost + point.gained) / point.images - drop**2
    asked = (norm.ppf(0.975) / (HalfWidth().at(100 * drop) / 100)) ** 2 * variance
    return float(asked / (1 + asked / scan.images))


if __name__ == "__main__":
    main()
