"""Two models timed in turn, each in a process of its own."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from prunebench.errors import LatencyError, PrunebenchError, first_line
from prunebench.export.onnx import ONNX
from prunebench.latency import side
from prunebench.latency.ratio import FEWEST_LAUNCHES, Ratio, ratio_of
from prunebench.machine.environment import environment
from prunebench.measure import bytes_moved, count_macs, nonzeros
from prunebench.storage.documents import render
from prunebench.storage.files import write_text
from prunebench.storage.imports import import_extra

EXTRAS = {"onnx": {"onnxruntime": "export"}, "openvino": {"openvino": "openvino"}}
"""By runtime: the packages that it needs beside torch, and the extra that installs them."""
LAUNCHES, ROUNDS = 12, 5
"""Pairs of processes, and rounds of A B B A in each: by benchmarks/studies/latency.py."""
TURN_SECONDS, MOST_CALLS = 0.01, 200
"""A turn makes as many calls as take so long, at least three."""
PRELOADED = ["torch", side.__name__]
"""Modules that processes of torch have from the start: each copy of the first one has them at once."""

Told = Callable[[int, int], None]
"""Called with the number of launches done, and of all."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Two sides in one runtime at one batch size.

    Attributes:
        seconds_a, seconds_b: a list a launch of the quickest call of each turn, two a round; of a whole batch.
        peak_bytes_a, peak_bytes_b: the most memory of a process, up to this batch; the median over launches.
    """

    runtime: str
    batch: int
    seconds_a: list[list[float]]
    seconds_b: list[list[float]]
    peak_bytes_a: int
    peak_bytes_b: int

    @property
    def ratio(self) -> Ratio:
        """Seconds of A over those of B."""
        return ratio_of(self.seconds_a, self.seconds_b)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Figures that do not depend on the clock.

    Attributes:
        weight_bytes: of parameters and buffers, zeros stored like any other value.
        macs: multiply-accumulates of one input, zeros counted.
        moved_bytes: of one input, as `prunebench.measure.bytes_moved` has it.
    """

    name: str
    elements: int
    nonzeros: int
    weight_bytes: int
    macs: int
    moved_bytes: int


@dataclass(frozen=True, kw_only=True)
class LatencyComparison:
    """Two models in several runtimes and batch sizes, and on what that was measured."""

    a: Costs
    b: Costs
    timings: tuple[Timing, ...]
    threads: int
    environment: dict[str, str | int]

    def write(self, path: Path) -> None:
        """Write a JSON document: raw seconds, intervals, verdicts."""
        timings = [{**asdict(each), **asdict(each.ratio), "outcome": str(each.ratio.outcome)} for each in self.timings]
        content = {"schema_version": 1, "comparisons": timings, "a": asdict(self.a), "b": asdict(self.b),
                   "threads": self.threads, "environment": self.environment}  # fmt: skip
        write_text(path, render(content))


def compare_latency(
    a: nn.Module,
    b: nn.Module,
    inputs: Tensor,
    *,
    names: tuple[str, str] = ("A", "B"),
    runtimes: Sequence[str] = ("eager",),
    batches: Sequence[int] = (1,),
    threads: int,
    launches: int = LAUNCHES,
    told: Told | None = None,
) -> LatencyComparison:
    """Time `a` and `b` on `inputs` (at least the largest batch, ...), as a model gets them.

    Both flush denormals: weights that pruning and fine-tuning leave tiny would otherwise cost many cycles each.

    Raises:
        LatencyError: too few launches; a side cannot be started or fails.
        ExportError, MissingExtraError: for `onnx` and `openvino`, as the export to ONNX.
    """
    if launches < FEWEST_LAUNCHES:
        raise LatencyError(f"launches must be {FEWEST_LAUNCHES} or more, got {launches}")
    for runtime in runtimes:
        check_runtime(runtime)
    timings: list[Timing] = []
    total = launches * len(runtimes)
    with tempfile.TemporaryDirectory() as folder:
        for number, runtime in enumerate(runtimes):
            files = [_written(model, inputs, runtime, Path(folder) / label) for model, label in ((a, "a"), (b, "b"))]
            taken: list[_Launch] = []
            calls: dict[int, int] = {}
            for launch in range(launches):
                taken.append(_launch(files, runtime, inputs, sorted(batches), threads, calls, launch))
                if told:
                    told(number * launches + launch + 1, total)
            timings += [_timing(runtime, batch, taken) for batch in sorted(batches)]
    example = inputs[:1]
    costs = [_costs(model, example, name) for model, name in zip((a, b), names, strict=True)]
    about = environment(torch.device("cpu"))
    for runtime in runtimes:
        about |= {package: version(package) for package in EXTRAS.get(runtime, ())}
    return LatencyComparison(a=costs[0], b=costs[1], timings=tuple(timings), threads=threads, environment=about)


def check_runtime(runtime: str) -> None:
    """Check that what `runtime` needs is installed.

    Raises:
        MissingExtraError: an extra is not; names it.
    """
    exporter = {"onnx": "export", "onnxscript": "export"} if runtime in EXTRAS else {}
    for package, extra in {**EXTRAS.get(runtime, {}), **exporter}.items():
        import_extra(package, extra=extra)


_Launch = dict[int, tuple[list[list[float]], list[int]]]
"""By batch: seconds of turns of both sides, and the peaks of both processes."""


def _written(model: nn.Module, inputs: Tensor, runtime: str, path: Path) -> Path:
    """A file that the side's process opens."""
    model.eval()
    if runtime in EXTRAS:
        path = path.with_suffix(ONNX.suffix)
        ONNX.write(model, inputs[:1].repeat(2, *[1] * (inputs.dim() - 1)), path, {})
        return path
    try:
        torch.save(model, path)
    except Exception as error:  # a class defined in a function, say
        raise LatencyError(f"the model cannot be sent to a process of its own: {first_line(error)}") from error
    return path


def _launch(
    files: Sequence[Path],
    runtime: str,
    inputs: Tensor,
    batches: Sequence[int],
    threads: int,
    calls: dict[int, int],
    number: int,
) -> _Launch:
    """Both sides in new processes, all batches; `calls` of a turn are set by the first launch."""
    found: _Launch = {}
    given = inputs[: max(batches)].contiguous().numpy()
    with ExitStack() as stack:
        sides = [_Process(stack, path, runtime, threads, given) for path in files]
        for batch in batches:
            took = [one.warm_up(batch) for one in sides]
            calls.setdefault(batch, min(MOST_CALLS, max(3, math.ceil(TURN_SECONDS / max(took)))))
            seconds: list[list[float]] = [[], []]
            for round_ in range(ROUNDS):
                first = (number + round_) % 2
                for turn in (first, 1 - first, 1 - first, first):
                    seconds[turn].append(min(sides[turn].turn(batch, calls[batch])))
            found[batch] = seconds, [one.peak() for one in sides]
    return found


def _timing(runtime: str, batch: int, launches: Sequence[_Launch]) -> Timing:
    peaks = [int(median(launch[batch][1][index] for launch in launches)) for index in (0, 1)]
    return Timing(
        runtime=runtime,
        batch=batch,
        seconds_a=[launch[batch][0][0] for launch in launches],
        seconds_b=[launch[batch][0][1] for launch in launches],
        peak_bytes_a=peaks[0],
        peak_bytes_b=peaks[1],
    )


def _costs(model: nn.Module, example: Tensor, name: str) -> Costs:
    tensors = [*model.parameters(), *model.buffers()]
    return Costs(
        name=name,
        elements=sum(each.numel() for each in model.parameters()),
        nonzeros=sum(nonzeros(model).values()),
        weight_bytes=sum(each.numel() * each.element_size() for each in tensors),
        macs=sum(count_macs(model, example).values()),
        moved_bytes=bytes_moved(model, example),
    )


def _context(runtime: str) -> BaseContext:
    """The way that processes are started: those of torch as copies of one that has imported it, which takes seconds."""
    if runtime in EXTRAS:
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class _Process:
    """A side in a process of its own, which ends with `stack`."""

    def __init__(self, stack: ExitStack, path: Path, runtime: str, threads: int, inputs: Any) -> None:
        self._runtime = runtime
        self._pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=_context(runtime)))
        self._do(side.start, str(path), runtime, threads, inputs)

    def warm_up(self, batch: int) -> float:
        return float(self._do(side.warm_up, batch))

    def turn(self, batch: int, calls: int) -> list[float]:
        found: list[float] = self._do(side.turn, batch, calls)
        return found

    def peak(self) -> int:
        return int(self._do(side.peak_bytes))

    def _do(self, job: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self._pool.submit(job, *arguments).result()
        except PrunebenchError:
            raise
        except BrokenProcessPool as error:
            raise LatencyError(f"the process of a side in {self._runtime} ended: was its memory enough?") from error
        except Exception as error:  # the model's own code may raise anything
            raise LatencyError(f"the model fails in {self._runtime}: {first_line(error)}") from error
