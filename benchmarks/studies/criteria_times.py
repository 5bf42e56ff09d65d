"""Time of each criterion beside magnitude and beside one evaluation pass, on the CIFAR VGG.

    python benchmarks/studies/criteria_times.py --rounds 5

A criterion's time is that of its evidence, of so many examples, and of the masks of run 3. The pass evaluates as many
images. All sides are taken in every round, one after the other; told is the median of the rounds' ratios. Random images
and weights: times do not depend on what they show.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from tabulate import tabulate
from tqdm import tqdm

from prunebench.data import Examples
from prunebench.documented.runs import RUNS
from prunebench.machine.environment import cpu_name
from prunebench.machine.layout import lay_out_
from prunebench.machine.memory import keep_freed_memory
from prunebench.models import build_model
from prunebench.pruning import CRITERIA, Criterion, gather_evidence, plan_masks
from prunebench.tasks import evaluate

PASS = "evaluation"
MAGNITUDE = "magnitude"


def main() -> None:
    """Take the rounds, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=1_000)
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (options.examples, 3, 32, 32), dtype=torch.uint8)
    data = Examples(pixels.contiguous(memory_format=torch.channels_last), torch.randint(0, 10, (options.examples,)))
    model = lay_out_(build_model("vgg"), data.fed(data.inputs[:1])).eval()
    sides: dict[str, Callable[[], object]] = {
        criterion.name: partial(masks, model, data, criterion) for criterion in CRITERIA.values()
    }
    sides[PASS] = partial(evaluate, model, data)
    taken = [one_round(sides, number) for number in tqdm(range(options.rounds), desc="rounds")]
    print(
        f"{cpu_name()}, {torch.get_num_threads()} threads; torch {torch.__version__}; {options.examples:,} examples\n"
    )
    rows = [
        [name, f"{median(each[name] for each in taken):.2f}",
         *(f"{median(each[name] / each[other] for each in taken):.3g}" for other in (MAGNITUDE, PASS))]
        for name in sides
    ]  # fmt: skip
    headers = ["criterion", "seconds", "of magnitude", "of one pass"]
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


def masks(model: torch.nn.Module, data: Examples, criterion: Criterion) -> object:
    """The masks of run 3, evidence and all; channels by a criterion of channels, the classifier left out."""
    plan = RUNS["run3"].sparsity
    evidence = gather_evidence(model, data, needs=criterion.needs, examples=len(data), seed=0)
    granularity = "channel" if criterion.by_channel else "element"
    example = data.fed(data.inputs[:1])
    return plan_masks(model, plan, criterion=criterion, granularity=granularity, example=example, evidence=evidence)


def one_round(sides: dict[str, Callable[[], object]], number: int) -> dict[str, float]:
    """Seconds of each side, in an order of this round's own."""
    order = random.Random(number).sample(list(sides), len(sides))
    taken = {}
    for name in order:
        start = time.perf_counter()
        sides[name]()
        taken[name] = time.perf_counter() - start
    return taken


if __name__ == "__main__":
    main()
