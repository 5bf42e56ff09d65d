"""Where the accuracy floors come from: every run from several seeds, and a lower limit for one more.

    python benchmarks/studies/floors.py --workload shapes --seeds 5

Each seed trains its own dense model where the workload trains itself (else all start from --checkpoint) and fine-tunes
every run. The floor is the lower prediction limit of a normal distribution for one further run,
`mean - t(0.999, k - 1) * s * sqrt(1 + 1/k)` (Hahn and Meeker, Statistical Intervals, 1991, section 4.8), rounded down.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import torch
from scipy.stats import t
from tabulate import tabulate
from tqdm import tqdm

from prunebench.documented.runs import RUNS
from prunebench.experiments.executors import LocalExecutor, in_order
from prunebench.experiments.flow import execute, prepare
from prunebench.records import RunRecord, keep_record
from prunebench.storage.files import cache_folder
from prunebench.workloads import DEFAULT_WORKLOAD, find_workload, is_current, train_dense

CONFIDENCE = 0.999


def main() -> None:
    """Fine-tune every run from every seed, and print the floors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default=DEFAULT_WORKLOAD)
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="seeds at once; they share the threads")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    records: dict[str, list[RunRecord]] = {name: [] for name in RUNS}
    with LocalExecutor(workers=options.workers, threads=max(1, torch.get_num_threads() // options.workers)) as executor:
        jobs = [partial(execute_all, options, seed) for seed in seeds]
        for found in tqdm(in_order(executor, jobs), total=len(seeds), desc="seeds"):
            for record in found:
                records[record.run].append(record)
                keep_record(record)
    print(floors_table(records))


def execute_all(options: argparse.Namespace, seed: int) -> list[RunRecord]:
    """All runs with one seed, the dense model included where the workload trains itself."""
    workload, checkpoint, cpu = find_workload(options.workload), options.checkpoint, torch.device("cpu")
    if checkpoint is None:
        checkpoint = cache_folder() / "checkpoints" / f"{workload.name}-study-seed{seed}.safetensors"
        if not is_current(checkpoint, cpu):
            train_dense(workload, workload.data(options.data), output=checkpoint, seed=seed, device=cpu)
    setting = prepare(workload, options.recipe, data_path=options.data, checkpoint=checkpoint, device=cpu, seed=seed)
    return [execute(run, setting) for run in RUNS.values()]


def floors_table(records: dict[str, list[RunRecord]]) -> str:
    """Accuracy and change after fine-tuning by run: mean, standard deviation, least, and the floors that follow."""
    rows = []
    for name, found in records.items():
        tuned = [record.finetuning.best.percent for record in found if record.finetuning]
        changes = [change for record in found if (change := record.change_after_finetuning) is not None]
        rows.append(
            [
                name,
                len(tuned),
                *(f"{value:.2f}" for value in (mean(tuned), stdev(tuned), min(tuned))),
                f"{lower_limit(tuned):.1f}",
                *(f"{value:+.2f}" for value in (mean(changes), min(changes))),
                f"{stdev(changes):.2f}",
                f"{lower_limit(changes):+.1f}",
            ]
        )
    headers = ["run", "n", "best %", "s", "least", "floor", "change", "least", "s", "floor"]
    return tabulate(rows, headers=headers, disable_numparse=True, colalign=["left", *["right"] * 9])


def lower_limit(values: list[float]) -> float:
    """Lower prediction limit for one further value, rounded down to a tenth."""
    k = len(values)
    limit = mean(values) - float(t.ppf(CONFIDENCE, k - 1)) * stdev(values) * math.sqrt(1 + 1 / k)
    return math.floor(limit * 10) / 10


if __name__ == "__main__":
    main()
