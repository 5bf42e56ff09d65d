"""How often a comparison of latencies is wrong: the same model twice, and one that does a tenth more.

    python benchmarks/studies/latency.py --comparisons 100

Side B is side A again, or A with 2 of its 20 equal layers run once more: 10 % more work. Counted is what the comparison
says of B.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median

import torch
from tabulate import tabulate
from torch import nn
from tqdm import tqdm

from prunebench.latency import measure
from prunebench.latency.measure import LAUNCHES, ROUNDS, Timing, compare_latency
from prunebench.latency.ratio import Outcome
from prunebench.machine.environment import cpu_name

LAYERS, REPEATED = 20, 2
SIZE = 16


def main() -> None:
    """Compare, count, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=100, help="of each kind")
    parser.add_argument("--launches", type=int, default=LAUNCHES, help="pairs of processes of a comparison")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the raw seconds")
    options = parser.parse_args()
    measure.PRELOADED.append(measure.__name__)  # a process imports this file again: its imports are then there
    dense = layers()
    kinds = {"the same model twice": copy.deepcopy(dense), "B does 10 % more": longer(dense)}
    taken: dict[str, list[Timing]] = {kind: [] for kind in kinds}
    for _ in tqdm(range(options.comparisons), desc="comparisons"):
        for kind, other in kinds.items():  # in turn, so that neither has the better hour
            found = compare_latency(
                dense, other, torch.rand(1, SIZE, SIZE, SIZE), threads=options.threads, launches=options.launches
            )
            taken[kind] += found.timings
    if options.json:
        options.json.write_text(json.dumps({kind: [asdict(each) for each in all_] for kind, all_ in taken.items()}))
    print(
        f"torch {torch.__version__}, {cpu_name()}, threads {options.threads}; {options.launches} launches of {ROUNDS} "
    )
    print(f"rounds; {options.comparisons} comparisons of each kind\n")
    headers = ["B is", *map(str, Outcome), "ratio", "half width, median"]
    print(tabulate(rows(taken), headers=headers, disable_numparse=True))


def layers() -> nn.Sequential:
    """Equal convolutions, so that work can be counted in layers."""
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Conv2d(SIZE, SIZE, 3, padding=1) for _ in range(LAYERS)))


def longer(model: nn.Sequential) -> nn.Sequential:
    """The same with some of its layers run once more."""
    return nn.Sequential(*copy.deepcopy(model), *copy.deepcopy(model[:REPEATED]))


def rows(taken: dict[str, list[Timing]]) -> Iterator[list[str]]:
    """One line a kind."""
    for kind, timings in taken.items():
        ratios = [each.ratio for each in timings]
        said = Counter(each.outcome for each in ratios)
        half = median((each.upper - each.lower) / 2 for each in ratios)
        middle = median(each.estimate for each in ratios)
        yield [kind, *(str(said[each]) for each in Outcome), f"{middle:.3f}", f"{half:.3f}"]


if __name__ == "__main__":
    main()
