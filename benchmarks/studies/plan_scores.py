"""What of a few images tells best how accurate a plan is on all the others? Scores that plans could be chosen by.

    PRUNEBENCH_DATA=PATH python benchmarks/studies/plan_scores.py TABLE.toml --checkpoint PATH

Plans about a table, its layers' densities varied at equal size, are evaluated on all test images of CIFAR-10. Then,
many times, some images are drawn to choose by: how well does a score on them rank the plans by accuracy on the others
(Spearman), and how many points of it are lost by taking the plan of the best score?
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from scipy.stats import spearmanr
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prunebench.data import Examples, whole_batches
from prunebench.documented.tables import find_run
from prunebench.machine.devices import Precision
from prunebench.machine.memory import keep_freed_memory
from prunebench.planning import Inventory, as_large_as
from prunebench.pruning import prune_
from prunebench.tasks import CLASSIFICATION, answering
from prunebench.workloads import dense_model, find_workload

REPEATS = 100
SPREAD = 0.12
"""Of the logarithm of a layer's density: as wide as `prunebench plan --search` begins."""


def logits_of(model: nn.Module, data: Examples, precision: Precision) -> Tensor:
    with answering(model, precision):
        return torch.cat([model(images).float() for images, _ in whole_batches(data, batch_size=500)])


def scores(logits: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
    """Each score of each image, higher is better."""
    smooth = CLASSIFICATION.graded(logits, labels)
    accurate = (logits.argmax(dim=1) == labels).float()
    return {
        "accuracy": accurate,
        "smooth accuracy": smooth,
        "their mean, as plans are chosen": (accurate + smooth) / 2,
        "cross-entropy": -cross_entropy(logits, labels, reduction="none"),
        "probability of the right class": logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="a table, or a documented run")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--tables", type=int, default=25)
    parser.add_argument("--images", type=int, default=2000, help="to choose by")
    parser.add_argument("--precision", choices=get_args(Precision), default="bf16")
    options = parser.parse_args()
    keep_freed_memory()
    workload = find_workload("cifar10")
    data = workload.data()
    base = dense_model(workload, data, checkpoint=options.checkpoint).model
    inventory = Inventory.of_model(base, data.test.fed(data.test.inputs[:1]))
    kept = inventory.kept(find_run(options.table).sparsity)
    limit = inventory.total("size", kept)
    draws = np.random.default_rng(0)
    measured: dict[str, list[Tensor]] = {}
    for number in range(options.tables):
        shares = {name: count * float(np.exp(SPREAD * draws.standard_normal())) for name, count in kept.items()}
        plan = as_large_as(limit, shares, kept, inventory=inventory, cost="size") if number else kept
        model = copy.deepcopy(base)
        prune_(model, inventory.sparsity(plan))
        found = scores(logits_of(model, data.test, options.precision), data.test.targets)
        for name, of_each in found.items():
            measured.setdefault(name, []).append(of_each)
        print(f"plan {number + 1} of {options.tables}: {100 * found['accuracy'].mean():.2f} %", flush=True)
    stacked = {name: torch.stack(plans) for name, plans in measured.items()}
    ranks: dict[str, list[float]] = {name: [] for name in stacked}
    lost: dict[str, list[float]] = {name: [] for name in stacked}
    for _ in range(REPEATS):
        drawn = torch.from_numpy(draws.permutation(len(data.test)))
        choosing, others = drawn[: options.images], drawn[options.images :]
        truth = 100 * stacked["accuracy"][:, others].mean(dim=1)
        for name, plans in stacked.items():
            score = plans[:, choosing].mean(dim=1)
            ranks[name].append(spearmanr(score, truth).statistic)
            lost[name].append(float(truth.max() - truth[score.argmax()]))
    rows = [[name, f"{np.mean(ranks[name]):.3f}", f"{np.mean(lost[name]):.2f}"] for name in stacked]
    headers = [f"score, {options.images:,} images", "rank correlation", "points lost by choosing"]
    print("\n" + tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
