"""What remains: the costs of evaluation and of a training step by operation, and the share of the machine's peak."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jobs
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from prunebench.data import whole_batches
from prunebench.machine.devices import PRECISIONS, Precision, arithmetic, wait_for

MACS = 605_754_368
"""Multiply-accumulates of one image forward (the VGG's docstring); backward takes twice as many."""

SIZE = {"cpu": 2048, "cuda": 8192}
COPIED_BYTES = 2**28
BATCH = 256
SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Remains:
    """Of one device.

    Attributes:
        peaks: floating-point operations a second of a large matrix product, by precision; the best of several.
        bandwidth: bytes a second, read and written, of a large copy; the best of several.
        costs: by job, the operations with most time of their own: (name, share of all).
    """

    device: str
    peaks: dict[str, float]
    bandwidth: float
    costs: dict[str, list[tuple[str, float]]]


def examine(round_: int, *, device: str) -> Callable[[], Remains]:
    """Matrix products and profiles on `device`."""
    on = torch.device(device)

    def work() -> Remains:
        peaks: dict[str, float] = {precision: _peak(on, precision) for precision in PRECISIONS}
        if device == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = True
            peaks["TF32"] = _peak(on, "fp32")
            torch.backends.cuda.matmul.allow_tf32 = False
        costs = {f"evaluation, {precision}": _evaluation(on, precision) for precision in PRECISIONS}
        costs |= {f"training, {precision}": _training(on, precision) for precision in PRECISIONS}
        return Remains(device=device, peaks=peaks, bandwidth=_bandwidth(on), costs=costs)

    return work


def _peak(device: torch.device, precision: Precision) -> float:
    size = SIZE[device.type]
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return float(2 * size**3 / _least_seconds(device, lambda: one @ other))


def _bandwidth(device: torch.device) -> float:
    one, other = (torch.zeros(COPIED_BYTES, dtype=torch.uint8, device=device) for _ in range(2))
    return 2 * COPIED_BYTES / _least_seconds(device, lambda: one.copy_(other))


def _least_seconds(device: torch.device, work: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(6):
        wait_for(device)
        start = time.perf_counter()
        work()
        wait_for(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _evaluation(device: torch.device, precision: Precision) -> list[tuple[str, float]]:
    model = jobs.vgg(device=str(device)).eval()
    images, _ = _batch(device)
    with torch.inference_mode(), arithmetic(device, precision):
        return _profiled(device, lambda: model(images))


def _training(device: torch.device, precision: Precision) -> list[tuple[str, float]]:
    model = jobs.vgg(device=str(device)).train()
    images, labels = _batch(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    with arithmetic(device, precision):
        return _profiled(device, step)


def _batch(device: torch.device) -> tuple[Tensor, Tensor]:
    return next(whole_batches(jobs.material().train.to(device), batch_size=BATCH))


def _profiled(device: torch.device, work: Callable[[], Any]) -> list[tuple[str, float]]:
    work()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as found:
        work()
        wait_for(device)
    attribute = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    # Operations carry the time of their kernels, which stand in the list once more.
    operations = [event for event in found.key_averages() if event.device_type.name == "CPU"]
    return _largest((event.key, getattr(event, attribute)) for event in operations)


def _largest(costs: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    ordered = sorted(costs, key=lambda cost: -cost[1])
    total = sum(cost for _, cost in ordered)
    return [(name, cost / total) for name, cost in ordered[:SHOWN]]
