"""How much of the plain loop's work a scan did, counted in multiply-accumulates; and the least that sampling could do.

    python benchmarks/studies/scan_work.py EXACT.json ADAPTIVE.json

The plain loop runs every image through the whole model for every point. The least is one look at a number of images
known beforehand, with a normal interval for a finite population, at the same half-widths. Of an exact scan, what an
adaptive scan and decisions (1 and 2 points) would have done is replayed; the second file, an adaptive scan of the same
model and images, of one point say, holds how uncertain the model is of each image.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from scipy.stats import norm

from prunebench.sensitivity import HalfWidth, Point, Scan, read_scan, replay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("adaptive", type=Path)
    scan, adaptive = (read_scan(path) for path in vars(parser.parse_args()).values())
    if scan.mode != "exact":
        parser.error(f"expected an exact scan, got one of mode {scan.mode}")
    plain = scan.images * len(scan.points)
    scans = {"exact": scan, "adaptive": replay(scan, adaptive, mode="adaptive")}
    scans |= {f"decision, within {limit:g}": replay(scan, adaptive, mode="decision", within=limit) for limit in (1, 2)}
    for name, one in scans.items():
        asked = {(point.layer, point.sparsity): float(point.images) for point in one.points}
        show(name, sum(asked.values()), plain, in_passes(one, asked))
    least = {(point.layer, point.sparsity): least_images(point, scan) for point in scan.points}
    show("the least for the curves, images drawn alike", sum(least.values()), plain, in_passes(scan, least))


def show(name: str, answers: float, plain: int, passes: float) -> None:
    print(f"{name}: {answers:,.0f} of {plain:,} answers, 1/{plain / passes:.2f} of the work")


CACHED = {
    "fp32": ("backbone.conv6.weight", "classifier.weight"),
    "bf16": ("backbone.conv4.weight", "backbone.conv6.weight", "classifier.weight"),
}
"""Layers of the VGG whose inputs a search keeps for 10,000 images (`sensitivity/adaptive/activations.py`)."""


def in_passes(scan: Scan, images: Mapping[tuple[str, float], float]) -> float:
    """Work in passes of one image through the whole model: the base model's own, and what follows each pruned layer.

    An adaptive scan and a decision ask the base model first, and compute again what lies between a kept input and the
    last layer asked. Of a decision that is the least: questions that follow one another do not always share batches.

    Args:
        images: how many were asked, by layer and sparsity.
    """
    macs = [layer.macs for layer in scan.layers]
    before = {layer.name: sum(macs[:index]) / sum(macs) for index, layer in enumerate(scan.layers)}
    passes = scan.images + sum(count * (1 - before[layer]) for (layer, _), count in images.items())
    if scan.mode == "exact":
        return passes
    for start, end in pairwise([0.0, *(before[name] for name in CACHED[scan.precision] if name in before), math.inf]):
        asked = [(count, before[layer]) for (layer, _), count in images.items() if start <= before[layer] < end]
        for fewer, more in pairwise(sorted({0.0, *(count for count, _ in asked)})):
            passes += (more - fewer) * (max(place for count, place in asked if count >= more) - start)
    return passes


def least_images(point: Point, scan: Scan) -> float:
    """Images for the default half-width, if the variance were known."""
    drop = (point.lost - point.gained) / point.images
    variance = (point.lost + point.gained) / point.images - drop**2
    asked = (norm.ppf(0.975) / (HalfWidth().at(100 * drop) / 100)) ** 2 * variance
    return float(asked / (1 + asked / scan.images))


if __name__ == "__main__":
    main()
