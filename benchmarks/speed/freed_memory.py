"""Keeping freed memory against giving it back: images a second in training and evaluation, interleaved.

    python benchmarks/speed/freed_memory.py --pairs 5

Each side runs in processes of its own, in turn, because the setting cannot be taken back.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from tabulate import tabulate
from torch.nn.functional import cross_entropy

from prunebench.environment import environment
from prunebench.memory import keep_freed_memory
from prunebench.models import build_model

BATCH = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--side", choices=("plain", "kept"), help="measure one side in this process")
    options = parser.parse_args()
    if options.side:
        print(json.dumps(images_a_second(keep=options.side == "kept")))
        return
    sides: dict[str, list[dict[str, float]]] = {"plain": [], "kept": []}
    for _ in range(options.pairs):
        for side, found in sides.items():
            command = [sys.executable, __file__, "--side", side]
            found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))  # noqa: S603
    rows = []
    for job in ("train", "evaluate"):
        plain, kept = ([one[job] for one in sides[side]] for side in ("plain", "kept"))
        ratios = [new / old for new, old in zip(kept, plain, strict=True)]
        figures = (median(plain), median(kept), median(ratios), min(ratios), max(ratios))
        rows.append([job, *(f"{figure:.2f}" for figure in figures), len(ratios)])
    print(tabulate(rows, headers=["job", "plain, img/s", "kept, img/s", "ratio", "least", "most", "n"]))
    print(
        "torch {torch}, {cpu}, {threads} threads, batch {batch}".format(batch=BATCH, **environment(torch.device("cpu")))
    )


def images_a_second(*, keep: bool) -> dict[str, float]:
    """Best of three batches each, after one batch that is not counted."""
    if keep:
        keep_freed_memory()
    model = build_model("vgg").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(BATCH, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (BATCH,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def train() -> None:
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    def evaluate() -> None:
        with torch.inference_mode():
            model.eval()(images)

    return {"train": _best(train), "evaluate": _best(evaluate)}


def _best(job: Callable[[], None]) -> float:
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return BATCH / min(seconds[1:])


if __name__ == "__main__":
    main()
