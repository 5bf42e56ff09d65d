"""What pruning buys: sizes and latency of a pruned model beside the dense one, in every runtime.

    python benchmarks/studies/what_pruning_buys.py --workload cifar10 --checkpoint vgg.pth --data PATH --json buys.jsonl

Pruned are the documented runs, where they are of the workload's model, and whatever `--prune GRANULARITY=SPARSITY` asks
for: all layers but the last by that much. What is pruned by channel is shrunk. Nothing is fine-tuned: neither sizes nor
times depend on it. Each comparison is kept in the JSON lines as soon as it is made, and not made again.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor, nn

from prunebench.data import Dataset
from prunebench.documented.runs import RUNS
from prunebench.latency.measure import LAUNCHES, LatencyComparison, Timing, compare_latency
from prunebench.measure import MIB, count_macs, file_size_bytes, nominal_size_bits
from prunebench.models import prunable_parameters
from prunebench.packing import packed_bytes
from prunebench.pruning import prune_
from prunebench.shrink import shrunk
from prunebench.workloads import dense_model, find_workload

HEADERS = ["model", "parameters", "nonzero", "nominal MiB", "saved MiB", "packed MiB", "MACs"]


def main() -> None:
    """Prune, measure, print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="cifar10")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--prune", action="append", default=[], metavar="GRANULARITY=SPARSITY")
    parser.add_argument("--runtimes", default="eager,compile,onnx,openvino")
    parser.add_argument("--batches", default="1,64")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--launches", type=int, default=LAUNCHES)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    workload = find_workload(options.workload)
    data = workload.data(options.data)
    dense = dense_model(workload, data, checkpoint=options.checkpoint, laid_out=False).model.eval()
    batches = [int(each) for each in options.batches.split(",")]
    inputs = data.test.fed(data.test.inputs[torch.arange(max(batches)) % len(data.test)])
    example = inputs[:1]
    rows, verdicts = [_sizes("dense", dense, dense, example)], []
    for name, model in _pruned(dense, data, options.prune):
        rows.append(_sizes(name, model, dense, example))
        for runtime in options.runtimes.split(","):
            kept = _read(options.json).get((options.workload, name, runtime))
            if kept is None:
                found = compare_latency(
                    dense, model, inputs, runtimes=[runtime], batches=batches, threads=options.threads,
                    launches=options.launches,
                )  # fmt: skip
                kept = _keep(options.json, (options.workload, name, runtime), found)
            timings = [Timing(**each) for each in kept["timings"]]
            verdicts.append([name, runtime, *(str(timing.ratio) for timing in timings)])
            print(*verdicts[-1], sep="  ", flush=True)
    print(f"\n{tabulate(rows, headers=HEADERS)}\n")
    print(tabulate(verdicts, headers=["model", "runtime", *(f"batch {each}" for each in batches)]))


def _pruned(dense: nn.Module, data: Dataset, asked: list[str]) -> Iterator[tuple[str, nn.Module]]:
    weights = prunable_parameters(dense)
    example = data.test.fed(data.test.inputs[:8])
    wanted: list[tuple[str, dict[str, float], str]] = [
        (run.name, dict(run.sparsity), "element") for run in RUNS.values() if run.sparsity.keys() == weights.keys()
    ]
    for text in asked:
        granularity, _, sparsity = text.partition("=")
        plan = dict.fromkeys(weights, float(sparsity)) | {list(weights)[-1]: 0.0}
        wanted.append((text, plan, granularity))
    for name, plan, granularity in wanted:
        model = copy.deepcopy(dense)
        prune_(model, plan, granularity=granularity, example=example)
        yield name, (shrunk(model, example).model if granularity.endswith("channel") else model)


def _sizes(name: str, model: nn.Module, dense: nn.Module, example: Tensor) -> list[str]:
    elements, whole = (sum(each.numel() for each in one.parameters()) for one in (model, dense))
    kept = sum(int(each.count_nonzero()) for each in model.parameters())
    return [
        name,
        f"{elements:,}",
        f"{100 * kept / whole:.2f} %",
        f"{nominal_size_bits(model) / 8 / MIB:.2f}",
        f"{file_size_bytes(model.state_dict()) / MIB:.2f}",
        f"{packed_bytes(model.state_dict()) / MIB:.2f}",
        f"{sum(count_macs(model, example).values()):,}",
    ]


def _read(path: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {tuple(each["key"]): each for each in map(json.loads, lines)}


def _keep(path: Path, key: tuple[str, ...], found: LatencyComparison) -> dict[str, Any]:
    kept = {"key": key, "timings": [asdict(each) for each in found.timings],
            "threads": found.threads, "environment": found.environment}  # fmt: skip
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(kept) + "\n")
    return kept


if __name__ == "__main__":
    main()
