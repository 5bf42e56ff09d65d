"""The environment a result was computed in: machine, device, versions, threads."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import torch

ARITHMETIC = 1
"""Version of what decides the bits of a training and of answers: raised where a change of prunebench changes any.

Unfinished trainings, dense models and answers of another version are made anew. A test holds a training's figures, so
that a change which needs a new version does not pass without one.
"""


def exact_fingerprint(device: torch.device) -> dict[str, str | int]:
    """Facts that the bytes of a result may depend on: build, processor or GPU, threads.

    The processor's name too: libraries choose kernels by more than its instruction set.
    """
    fingerprint: dict[str, str | int] = {
        "torch": str(torch.__version__),
        "device": device_name(device),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
    if device.type == "cpu":
        fingerprint["cpu"] = cpu_name()
    if device.type == "cuda":
        fingerprint["cuda"] = str(torch.version.cuda)
        fingerprint["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    return fingerprint


def environment(device: torch.device) -> dict[str, str | int]:
    """The whole description that a record carries."""
    packages = ("prunebench", "numpy", "torchvision", "safetensors", "pillow", "scikit-learn")
    return {
        **exact_fingerprint(device),
        "cpu": cpu_name(),
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{package: version for package in packages if (version := _version(package))},
    }


def device_name(device: torch.device) -> str:
    """`cpu`, or the GPU's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def cpu_name() -> str:
    """The processor's name, with family, model and stepping where the kernel tells: virtual machines hide the name."""
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    name = fields.get("model name", platform.machine())
    numbers = [fields[key] for key in ("cpu family", "model", "stepping") if key in fields]
    return f"{name} ({'/'.join(numbers)})" if numbers else name


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
