"""Accuracy before fine-tuning: every criterion by every allocation, at the sizes of two documented runs.

    python benchmarks/studies/criteria_by_allocations.py --checkpoint DENSE.pth --data CIFAR10 --images 2000

Single weights of the CIFAR-10 VGG are pruned, once, to as many as the run's table leaves. The column `table` takes the
table itself. Nothing is fine-tuned. Evidence is of 1,000 training images. The interval is Wilson's, at 95 %, over the
test images; all cells see the same ones, so two cells differ more clearly than their intervals say.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from scipy.stats import binomtest
from tabulate import tabulate
from tqdm import tqdm

from prunebench.documented.runs import RUNS, Run
from prunebench.errors import PlanError
from prunebench.experiments.flow import Setting, prepare
from prunebench.machine.environment import cpu_name
from prunebench.planning import allocation_names
from prunebench.planning.methods import method_masks
from prunebench.pruning import CRITERIA, Criterion, Evidence, Masks, gather_evidence, plan_masks
from prunebench.tasks import evaluate
from prunebench.workloads import find_workload

TABLE = "table"


def main() -> None:
    """Gather the evidence once, prune, evaluate, print a table for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=["run3", "run5"])
    parser.add_argument("--workload", default="cifar10")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, help="of the test set; default: all")
    parser.add_argument("--examples", type=int, help="that evidence is of")
    options = parser.parse_args()
    setting = prepare(
        find_workload(options.workload), data_path=options.data, checkpoint=options.checkpoint,
        device=torch.device("cpu"), test_images=options.images,
    )  # fmt: skip
    criteria = [criterion for criterion in CRITERIA.values() if not criterion.by_channel]
    evidence = {
        criterion.name: gather_evidence(
            setting.dense.model, setting.data.train, needs=criterion.needs, task=setting.workload.task,
            examples=options.examples, seed=0,
        )
        for criterion in tqdm(criteria, desc="evidence")
    }  # fmt: skip
    print(
        f"{cpu_name()}, {torch.get_num_threads()} threads; torch {torch.__version__}; {len(setting.data.test):,} images"
    )
    columns = [TABLE, *allocation_names()]
    for name in options.runs:
        run = RUNS[name]
        cells = [[cell(setting, run, criterion, column, evidence[criterion.name]) for column in columns]
                 for criterion in tqdm(criteria, desc=name)]  # fmt: skip
        rows = [[criterion.name, *row] for criterion, row in zip(criteria, cells, strict=True)]
        print(f"\n{name}; dense {setting.dense_evaluation.accuracy:.2f} %\n")
        print(tabulate(rows, headers=["criterion", *columns], tablefmt="github", disable_numparse=True))


def cell(setting: Setting, run: Run, criterion: Criterion, column: str, evidence: Evidence) -> str:
    """Percent of right answers and its interval; `-` where the two do not go together."""
    pruned = copy.deepcopy(setting.dense.model)
    try:
        masks_of(setting, run, criterion, column, evidence).apply_(pruned)
    except PlanError:
        return "-"
    found = evaluate(pruned, setting.data.test, task=setting.workload.task)
    limits = binomtest(found.correct_count, found.count).proportion_ci(0.95, method="wilson")
    return f"{found.accuracy:.1f} ({100 * limits.low:.1f} to {100 * limits.high:.1f})"


def masks_of(setting: Setting, run: Run, criterion: Criterion, column: str, evidence: Evidence) -> Masks:
    """Masks that leave as many elements as the table of `run`."""
    table = plan_masks(setting.dense.model, run.sparsity)
    if column == TABLE:
        return plan_masks(setting.dense.model, run.sparsity, criterion=criterion, evidence=evidence)
    pruned = sum(int((~mask.bool()).sum()) for mask in table.values())
    total = pruned / sum(mask.numel() for mask in table.values())
    example = setting.data.test.fed(setting.data.test.inputs[:1])
    return method_masks(
        setting.dense.model, example, criterion=criterion, allocation=column, total=total, evidence=evidence
    ).masks


if __name__ == "__main__":
    main()
