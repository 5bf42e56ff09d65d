"""Sensitivity of the dense model: an exact scan, timed, its curves gated point by point against their baseline.

Gated whether benchmarking is on, off, saved or compared. The recipe `quick` scans fewer sparsities on fewer images.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from prunebench.data import Examples
from prunebench.experiments.flow import Setting, images_to_scan, model_name
from prunebench.pytest_plugin import Gate
from prunebench.report.progress import ProgressBar
from prunebench.sensitivity import SPARSITIES, Scan, sensitivity_scan

QUICK_SPARSITIES = (0.5, 0.7, 0.9)
QUICK_IMAGES = {"shapes": 500, "digits": 400, "cifar10": 500}
"""Of the test images."""


@pytest.mark.benchmark(group="sensitivity")
def test_sensitivity(
    setting: Setting, scans: list[Scan], progress: ProgressBar, prunebench_gate: Gate, benchmark: BenchmarkFixture
) -> None:
    """No layer became more sensitive than its approved curve says."""
    progress.stage("sensitivity of the dense model")
    scan = benchmark.pedantic(
        sensitivity_scan,
        args=(setting.dense.model, _images(setting)),
        kwargs={
            "sparsities": SPARSITIES if setting.recipe_name == "full" else QUICK_SPARSITIES,
            "task": setting.workload.task,
            "model_name": model_name(setting),
            "data_name": setting.data.name,
            "origin": setting.dense.origin,
            "progress": progress,
        },
        rounds=1,
    )
    worst = min(scan.points, key=lambda point: point.accuracy)
    benchmark.extra_info.update(
        images=scan.images,
        points=len(scan.points),
        accuracy_base=scan.base_accuracy,
        accuracy_worst=worst.accuracy,
        worst=f"{worst.layer} at {worst.sparsity:g}",
    )
    scans.append(scan)
    prunebench_gate(scan)


def _images(setting: Setting) -> Examples:
    """All test images, or some drawn from them: class folders come class by class, so the first are of one class."""
    limit = None if setting.recipe_name == "full" else QUICK_IMAGES.get(setting.workload.name)
    return images_to_scan(setting.data, on="test", limit=limit, seed=0)
