"""Speed against what a user would run instead, side by side, with the same results; one benchmark group a comparison.

    pytest benchmarks/speed --speed-report docs/measurements/speed.md

Not part of `pytest benchmarks/`: asked for by its path. A missed target is reported, other results are a failure.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from comparisons import COMPARISONS
from pytest_benchmark.fixture import BenchmarkFixture
from remains import Remains, examine
from sides import OURS, Comparison, Entry, Measurement, Sides


class RecordedClock:
    """A timer for pytest-benchmark that shows what the sides' own processes measured."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let `seconds` have passed."""
        self.now += seconds


CLOCK = RecordedClock()
CASES = [pytest.param(one, entry, id=f"{one.name}-{entry.label}") for one in COMPARISONS for entry in one.entries]
DEVICES = ("cpu", "cuda")


@pytest.mark.parametrize(("comparison", "entry"), CASES)
@pytest.mark.benchmark(timer=CLOCK)
def test_speed(
    comparison: Comparison, entry: Entry, measured: Callable[[Comparison], Measurement], benchmark: BenchmarkFixture
) -> None:
    """The reference and what is compared with it give the same; how long each took in turn."""
    if comparison.needs == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    measurement = measured(comparison)
    seconds = iter(measurement.seconds[entry.label])
    benchmark.group = comparison.title
    benchmark.pedantic(lambda: CLOCK.advance(next(seconds)), rounds=len(measurement.seconds[entry.label]))
    benchmark.extra_info["seconds"] = measurement.seconds[entry.label]
    if entry is not comparison.reference:
        benchmark.extra_info["ratios"] = measurement.ratios(entry.label).pairs
        benchmark.extra_info["agreement"] = measurement.agreement[entry.label]


@pytest.mark.parametrize("device", DEVICES)
def test_what_remains(device: str, sides: Sides, remains: list[Remains]) -> None:
    """Most of the time goes to convolutions or matrix products, and the machine has a peak to compare them with."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    _, _, found = sides.run(OURS, examine, settings={"device": device})
    remains.append(found)
    assert min(found.peaks.values()) > 0
    assert all(costs for costs in found.costs.values())
