"""Floors of benchmarks/methods: every criterion and pruning schedule at three totals, from several seeds.

    python benchmarks/studies/method_floors.py --workload digits-vit

Each seed trains its own dense model where the workload does so, and draws its own evidence. Floors are written after
every case, and those that are there are not measured again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from method_cases import AMOUNTS, FLOORS, SEEDS, Case, cases, floors_of, kept_floors, prepared
from tabulate import tabulate

from prunebench.experiments.flow import Setting, fine_tune, prune
from prunebench.machine.memory import keep_freed_memory
from prunebench.report.progress import ProgressBar
from prunebench.storage.documents import render
from prunebench.storage.files import write_text
from prunebench.tasks import evaluate
from prunebench.workloads import find_workload, is_current, own_checkpoint, train_dense


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=list(AMOUNTS), default="digits-vit")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", default="", help="cases whose name begins so")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--output", type=Path, default=FLOORS)
    options = parser.parse_args()
    keep_freed_memory()
    with ProgressBar() as progress:
        settings = [setting(options, seed, progress) for seed in range(options.seeds)]
    for case in cases(options.workload):
        values = {name: floor["values"] for name, floor in kept_floors(options.output).items()}
        if case.id not in values and case.name.startswith(options.only):
            values[case.id] = [figure(case, each) for each in settings]
            write_text(options.output, render({"floors": floors_of(values)}))
            print(case.id, *(f"{value:.2f}" for value in values[case.id]), flush=True)
    found = [[name, *floor.values()] for name, floor in kept_floors(options.output).items()]
    print(tabulate(found, headers=["case", "n", "values", "interval", "floor"]))


def setting(options: argparse.Namespace, seed: int, progress: ProgressBar) -> Setting:
    """The workload with the dense model of a seed."""
    workload, checkpoint = find_workload(options.workload), options.checkpoint
    if checkpoint is None and workload.trains_itself:
        data, cpu = workload.data(options.data, progress.loading), torch.device("cpu")
        checkpoint = own_checkpoint(workload, data, seed=seed)
        progress.stage(f"seed {seed}: dense training")
        if not is_current(checkpoint, cpu):
            train_dense(workload, data, output=checkpoint, seed=seed, device=cpu, progress=progress)
    amount = AMOUNTS[options.workload]
    return prepared(workload, amount, seed=seed, data_path=options.data, checkpoint=checkpoint, progress=progress)


def figure(case: Case, setting: Setting) -> float:
    """The figure that has a floor, in percent or points."""
    run = case.run(setting)
    pruned = prune(run, setting)
    if case.kind == "criterion":
        return evaluate(pruned.model, setting.data.test, task=setting.workload.task).accuracy
    training = fine_tune(run, setting, pruned)
    training.discard()
    return training.best.evaluation.accuracy - setting.dense_evaluation.accuracy


if __name__ == "__main__":
    main()
