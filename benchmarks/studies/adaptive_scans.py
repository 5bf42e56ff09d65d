"""How often adaptive intervals hold and decisions are right, and how many images they need: replays of an exact scan.

    python benchmarks/studies/adaptive_scans.py EXACT.json ADAPTIVE.json --repeats 40

Each repeat asks the images in another random order. The truth is the exact scan itself. The second file, an adaptive
scan of the same model and images, of one point say, holds how uncertain the model is of each image.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

from scipy.stats import binomtest
from tabulate import tabulate

from prunebench.sensitivity import Point, Scan, read_scan, replay

LIMITS = (0.5, 1.0, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("adaptive", type=Path)
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    exact, adaptive = read_scan(options.scan), read_scan(options.adaptive)
    print(
        f"{exact.model} {exact.model_digest[:8]} on {exact.images:,} images of {exact.data}, {options.repeats} orders\n"
    )
    rows = [intervals(exact, adaptive, repeats=options.repeats)]
    rows += [decisions(exact, adaptive, within=within, repeats=options.repeats) for within in LIMITS]
    print(
        tabulate(rows, headers=["question", "asked", "wrong", "95 % interval of wrong", "images a point", "of a pass"])
    )


def intervals(exact: Scan, adaptive: Scan, *, repeats: int) -> list[str]:
    """Points whose interval misses the exact accuracy."""
    truth = {_key(point): point.accuracy for point in exact.points}
    wrong, images = 0, []
    for seed in range(repeats):
        scan = replay(exact, adaptive, mode="adaptive", seed=seed)
        wrong += sum(not point.low - 1e-9 <= truth[_key(point)] <= point.high + 1e-9 for point in scan.points)
        images.append(scan.images_answered / len(exact.points))
    return _row("curve within 0.5 points or a tenth", repeats * len(exact.points), wrong, images, exact)


def decisions(exact: Scan, adaptive: Scan, *, within: float, repeats: int) -> list[str]:
    """Layers whose highest sparsity within the limit is said to be another than it is."""
    wrong, layers, images = 0, [layer.name for layer in exact.layers if exact.curve(layer.name)], []
    for seed in range(repeats):
        scan = replay(exact, adaptive, mode="decision", within=within, seed=seed)
        wrong += sum(_decided(scan, name) != _highest(exact, name, within) for name in layers)
        images.append(scan.images_answered / len(exact.points))
    return _row(f"highest within {within:g} points", repeats * len(layers), wrong, images, exact)


def _highest(exact: Scan, layer: str, within: float) -> float | None:
    kept = [point for point in exact.curve(layer) if exact.base_correct - point.correct <= within / 100 * exact.images]
    return kept[-1].sparsity if kept else None


def _decided(scan: Scan, layer: str) -> float | None:
    return next((point.sparsity for point in reversed(scan.curve(layer)) if point.keeps), None)


def _row(question: str, asked: int, wrong: int, images: list[float], exact: Scan) -> list[str]:
    limits = binomtest(wrong, asked).proportion_ci(0.95)
    share = f"{100 * limits.low:.2f} to {100 * limits.high:.2f} %"
    answered = mean(images)
    return [question, f"{asked:,}", f"{wrong}", share, f"{answered:,.0f}", f"1/{exact.images / answered:.1f}"]


def _key(point: Point) -> tuple[str, float]:
    return point.layer, point.sparsity


if __name__ == "__main__":
    main()
