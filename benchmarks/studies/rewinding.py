"""Fine-tuning and learning-rate rewinding of ResNet-20 at three densities, beside Renda, Frankle, Carbin 2020.

    python benchmarks/studies/rewinding.py --checkpoint resnet20-12fca82f.th --data CIFAR10 --images 12800 --seeds 1

Rounds prune 20 % of what is left, as there: 3, 7 and 10 of them leave 51, 21 and 10.7 % of the prunable weights, by one
threshold for all layers. Everything is trained as long: a round of iterative pruning an epoch, one-shot pruning as many
epochs as there are rounds. Told is the model after the last epoch, so no epoch is chosen on the test images.

- one-shot, iterative: fine-tuning at the dense training's last learning rate, 0.001;
- rewinding: learning rates of a whole training again, compressed into the epochs there are, at the dense one's 0.1.

Their training is 182 epochs of 50,000 images for each round.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch
from tabulate import tabulate

from prunebench.documented.method import Method
from prunebench.experiments.flow import Setting, execute, prepare
from prunebench.experiments.requests import resolve
from prunebench.machine.environment import cpu_name
from prunebench.machine.memory import keep_freed_memory
from prunebench.records import keep_record
from prunebench.report.progress import ProgressBar
from prunebench.training import Recipe
from prunebench.workloads import RequestedRun, find_workload

DENSITIES = {3: (51, 91.54, 92.29), 7: (21, 90.67, 91.89), 10: (10.7, 88.51, 91.01)}
"""By rounds: percent of the weights left; Renda's medians of one-shot fine-tuning and of iterative rewinding."""

FINE_TUNING = Recipe(epochs=1, batch_size=128, learning_rate=0.001, learning_rate_schedule="constant")
REWINDING = replace(FINE_TUNING, learning_rate=0.1, learning_rate_schedule="one_cycle")
METHODS = {"one-shot": FINE_TUNING, "iterative": FINE_TUNING, "learning-rate-rewinding": REWINDING}


def main() -> None:
    """Execute the runs, each kept as a record, and print the changes against the dense model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="cifar10-resnet20-padding")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, help="of a training epoch, drawn afresh each; default: all")
    parser.add_argument("--rounds", type=int, nargs="*", default=list(DENSITIES))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    keep_freed_memory()
    print(f"{cpu_name()}, {torch.get_num_threads()} threads; torch {torch.__version__}\n")
    headers = ["left, %", "method", "epochs", "seeds", "dense, %", "last epoch, %", "change", "Renda's change"]
    print(tabulate(list(rows(options)), headers=headers, tablefmt="github", disable_numparse=True))


def rows(options: argparse.Namespace) -> Iterator[list[object]]:
    """A line for each density and method."""
    workload = find_workload(options.workload)
    with ProgressBar() as progress:
        setting = prepare(
            workload, data_path=options.data, checkpoint=options.checkpoint, device=torch.device("cpu"),
            progress=progress,
        )  # fmt: skip
        dense = setting.dense_evaluation.accuracy
        for rounds in options.rounds:
            density, fine_tuned, rewound = DENSITIES[rounds]
            published = {"one-shot": fine_tuned - 91.71, "learning-rate-rewinding": rewound - 91.71}
            for method in METHODS:
                found = [one(setting, method, rounds, seed, options.images, progress) for seed in range(options.seeds)]
                told = f"{published[method]:+.2f}" if method in published else ""
                yield [f"{density:g}", method, rounds, len(found), f"{dense:.2f}", f"{mean(found):.2f}",
                       f"{mean(found) - dense:+.2f}", told]  # fmt: skip


def one(setting: Setting, name: str, rounds: int, seed: int, images: int | None, progress: ProgressBar) -> float:
    """Percent of right answers after the last epoch."""
    recipe = replace(METHODS[name], images_per_epoch=images, augmentation=setting.recipe.augmentation)
    if name == "one-shot":
        recipe = replace(recipe, epochs=rounds)
    asked = Method(
        allocation="global", total=1 - 0.8**rounds, pruning_schedule=name,
        schedule_settings={} if name == "one-shot" else {"rounds": rounds},
    )  # fmt: skip
    requested = RequestedRun(name=f"{name}-{rounds}", workload=setting.workload.name, method=asked)
    run = resolve(requested, setting.workload, setting.dense.model, setting.data, seed=seed)
    record = execute(run, replace(setting, recipe_name="study", recipe=recipe, seed=seed), progress=progress)
    keep_record(record)
    assert record.finetuning is not None, "it was fine-tuned"
    return record.finetuning.last.percent


if __name__ == "__main__":
    main()
