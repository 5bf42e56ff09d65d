"""The time tier on stored seconds: how often does it fail where nothing became slower, and where something did?

    python benchmarks/studies/times.py

Each sample is a process of its own that prunes the VGG by the table of run 3 and evaluates it on the images of
`digits`, as a run does. Half of the processes have the machine to themselves. Beside the others, all cores are busy in
bursts: 0.05 to 2 s of work, as long a pause, drawn anew each time. Then pairs of records, none used twice, are judged
like a baseline and a new record:

- quiet, then quiet; and quiet, then bursts, as a baseline is made with care and CI runs wherever it is put;
- with the pruning times as they are recorded, half of them before everything else and half after it; and with the
  first half alone, taken one right after the other;
- at the defaults and without the absolute minimum, under which pruning this model hardly fails at all;
- and again with 0.1 s added to every new pruning time: what ought to fail.

Records of real runs hold the seconds of epochs too. These have evaluation alone to tell a busy machine by.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Event

import torch
from scipy.stats import binomtest
from tabulate import tabulate
from tqdm import tqdm

from prunebench.documented.runs import RUNS
from prunebench.experiments.executors import LocalExecutor, in_order
from prunebench.experiments.flow import PRUNING_SAMPLES, execute, prepare
from prunebench.gate import Thresholds
from prunebench.gate.timing import Samples, is_slower
from prunebench.models import build_model
from prunebench.training import Recipe
from prunebench.workloads import InMemoryWorkload, find_workload

DEFAULTS = Thresholds()
WITHOUT_MINIMUM = replace(DEFAULTS, time_minimum_seconds=0.0)
SLOWER_SECONDS = 0.1
BURST_SECONDS = (0.05, 2.0)


@dataclass(frozen=True)
class Seconds:
    """What one process took."""

    prune: list[float]
    evaluate: list[float]


Pairs = Sequence[tuple[Seconds, Seconds]]


def main() -> None:
    """Start the processes, judge the pairs, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40, help="of each kind; a pair is two processes")
    options = parser.parse_args()
    quiet, busy = take(3 * options.pairs, options.pairs)
    kinds: dict[str, Pairs] = {
        "quiet, then quiet": list(zip(quiet[::3], quiet[1::3], strict=True)),
        "quiet, then bursts": list(zip(quiet[2::3], busy, strict=True)),
    }
    threads, capability = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    print(f"torch {torch.__version__}, {capability}, {threads} threads; {options.pairs} pairs of each kind\n")
    headers = [
        "baseline, then new",
        "pruning times",
        "FAIL",
        "without the minimum",
        "95 % interval",
        "0.1 s longer: FAIL",
    ]
    alignment = ["left", "left", *["right"] * 4]
    print(tabulate(rows(kinds), headers=headers, disable_numparse=True, colalign=alignment))


def one_record() -> Seconds:
    """Seconds of a run without fine-tuning, of weights that nobody trained: pruning takes as long on any."""
    torch.manual_seed(0)
    untrained = InMemoryWorkload(
        name="untrained",
        recipes={"none": Recipe(epochs=1, batch_size=32, learning_rate=0.1)},
        module=build_model("vgg"),
        dataset=find_workload("digits").data(),
    )
    timings = execute(RUNS["run3"], prepare(untrained), finetune=False).timings
    return Seconds(prune=timings.prune, evaluate=timings.evaluate)


def take(quiet: int, busy: int) -> tuple[list[Seconds], list[Seconds]]:
    """So many records in quiet and beside bursts, mixed, so that neither has the better hour."""
    kinds = [False] * quiet + [True] * busy
    random.Random(0).shuffle(kinds)
    taken: dict[bool, list[Seconds]] = {False: [], True: []}
    for in_bursts in tqdm(kinds, desc="records"):
        taken[in_bursts].append(_beside_bursts(_one) if in_bursts else _one())
    return taken[False], taken[True]


def _one() -> Seconds:
    """A record made in a process of its own."""
    with LocalExecutor(workers=1, threads=torch.get_num_threads()) as process:
        seconds: Seconds = next(in_order(process, [one_record]))
    return seconds


def _beside_bursts(work: Callable[[], Seconds]) -> Seconds:
    stop = multiprocessing.Event()
    workers = [multiprocessing.Process(target=_bursts, args=(stop,)) for _ in range(multiprocessing.cpu_count())]
    for worker in workers:
        worker.start()
    try:
        return work()
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def _bursts(stop: Event) -> None:
    while not stop.is_set():
        end = time.perf_counter() + random.uniform(*BURST_SECONDS)
        while time.perf_counter() < end and not stop.is_set():
            pass
        stop.wait(random.uniform(*BURST_SECONDS))


def rows(kinds: dict[str, Pairs]) -> Iterator[list[str]]:
    """One line for each kind of pair and choice of pruning times."""
    for kind, pairs in kinds.items():
        for label, count in (("as recorded", None), ("the first half", PRUNING_SAMPLES)):
            fails = sum(_fails(old, new, count, DEFAULTS) for old, new in pairs)
            bare = sum(_fails(old, new, count, WITHOUT_MINIMUM) for old, new in pairs)
            found = sum(_fails(old, _slower(new), count, DEFAULTS) for old, new in pairs)
            limits = binomtest(bare, len(pairs)).proportion_ci(0.95)
            interval = f"{100 * limits.low:.1f} to {100 * limits.high:.1f} %"
            yield [kind, label, str(fails), str(bare), interval, str(found)]


def _fails(old: Seconds, new: Seconds, count: int | None, thresholds: Thresholds) -> bool:
    """Whether the pruning times are a FAIL; the others of the record tell whether the machine was busy."""
    others = Samples(before=old.evaluate, after=new.evaluate).ratio
    samples = Samples(before=old.prune[:count], after=new.prune[:count], others=[others])
    return is_slower(samples, thresholds)


def _slower(seconds: Seconds) -> Seconds:
    return replace(seconds, prune=[each + SLOWER_SECONDS for each in seconds.prune])


if __name__ == "__main__":
    main()
