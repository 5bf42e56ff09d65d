"""One side of a comparison: a model in a process of its own. Only what its runtime needs is imported here."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

WARM_UP = 5
"""Calls before anything is timed, for each batch: compilation, first touch of memory, caches."""

Opened = tuple[Callable[[Any], object], Callable[[Any], Any]]
"""What is called with inputs, and what makes those of a numpy array."""


_SIDE: list[Any] = []
"""What is called, and inputs for the largest batch; set by `start`, for this process has one side."""


def start(path: str, runtime: str, threads: int, inputs: Any) -> None:
    """Open the model at `path`; `inputs` is a numpy array (largest batch, ...)."""
    call, convert = RUNTIMES[runtime](path, threads)
    _SIDE[:] = call, convert(inputs)


def warm_up(batch: int) -> float:
    """Seconds of the last of the calls that do not count."""
    return turn(batch, WARM_UP)[-1]


def turn(batch: int, calls: int) -> list[float]:
    """Seconds of each of so many calls, after one that does not count: another side had the processor."""
    call, inputs = _SIDE
    given, seconds = inputs[:batch], []
    call(given)
    for _ in range(calls):
        begun = time.perf_counter()
        call(given)
        seconds.append(time.perf_counter() - begun)
    return seconds


def peak_bytes() -> int:
    """Most memory that this process had at once, with its libraries."""
    status = Path("/proc/self/status")
    if status.is_file():  # there, ru_maxrss also counts the process that started this one, as it was then
        (line,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _torch(path: str, threads: int, *, compiled: bool = False) -> Opened:
    import torch  # noqa: PLC0415 - the process of another runtime has no need of it

    # Before the first parallel work: torch's threads take the setting from the one that starts them.
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    model = torch.load(path, weights_only=False).eval()  # written a moment ago by the process that started this one
    if compiled:
        model = torch.compile(model, dynamic=False)

    def call(inputs: Any) -> object:
        with torch.inference_mode():
            return model(inputs)

    return call, torch.from_numpy


def _onnx(path: str, threads: int) -> Opened:
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, {name: inputs}), lambda inputs: inputs


def _openvino(path: str, threads: int) -> Opened:
    import openvino  # noqa: PLC0415

    # Where a processor computes in bf16, OpenVINO would: that is another model than the one the others run.
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32",
               "CPU_DENORMALS_OPTIMIZATION": True}  # fmt: skip
    request = openvino.Core().compile_model(path, "CPU", options).create_infer_request()
    return lambda inputs: request.infer([inputs], share_inputs=True), lambda inputs: inputs


RUNTIMES: dict[str, Callable[[str, int], Opened]] = {
    "eager": _torch,
    "compile": partial(_torch, compiled=True),
    "onnx": _onnx,
    "openvino": _openvino,
}
