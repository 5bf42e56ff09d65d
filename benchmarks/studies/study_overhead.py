"""The time that a study takes beside its runs: in one process, in two, and on a Ray cluster of two nodes on loopback.

    python benchmarks/studies/study_overhead.py
    python benchmarks/studies/study_overhead.py --workload digits-vit --runs 'total = [0.5, 0.6, 0.7, 0.8, 0.9]'

The same study is executed in each place, by a process of its own. Overhead is what the workers had beyond the runs'
own seconds, in percent of these: wall time x workers / sum - 1. All counts from the start of the process: imports,
data and dense model (from the cache, where a study before made it), evidence, records, and workers that wait. Parts:

- `before`: until the first run begins, all workers;
- `at the end`: workers that have nothing more to do while the last runs are finished;
- `between`: the rest.

All is wall time, so that on a shared machine it is the runs' seconds that are longest. `different` are records that are
not those of one process, byte for byte but for times and dates; it ought to be 0.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from study_kills import TwoNodes, records, timeless, two_nodes, write_project
from tabulate import tabulate

from prunebench.experiments.executors import LocalExecutor
from prunebench.experiments.ray_executor import RayExecutor
from prunebench.experiments.studies import Done, StudyProgress, run_study
from prunebench.experiments.study import PlannedRun, read_study

STUDY = """
[study]
workload = "{workload}"
seeds = {seeds}
[study.grid]
{runs}
"""
DOCUMENTED = 'run = ["run1", "run2", "run3", "run4", "run5"]'
WORKERS = {"one process": 1, "two processes": 2, "two nodes": 2}


def main() -> None:
    """Execute the study in each place and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="digits", help="or `small`, which is of study_kills.py")
    parser.add_argument("--step", type=float, default=0, help="seconds that each of 20 steps of `small` sleeps")
    parser.add_argument("--runs", default=DOCUMENTED, help="a line of [study.grid]")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=WORKERS, default=list(WORKERS))
    parser.add_argument("--here", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(execute(*options.here)))
        return
    text = STUDY.format(workload=options.workload, runs=options.runs, seeds=list(range(options.seeds)))
    os.environ["OMP_NUM_THREADS"] = "1"
    expected: dict[str, Any] = {}
    rows = []
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            Path("study.toml").write_text(text, encoding="utf-8")
            write_project(step=options.step)
            with place(name) as address:
                row = measured(name, address)
            found = {name: timeless(record) for name, record in records().items()}
        expected = expected or found
        different = sum(found.get(name) != record for name, record in expected.items())
        rows.append(row | {"different": f"{different} of {len(expected)}"})
    print(tabulate(rows, headers="keys", floatfmt=".1f"))


@contextlib.contextmanager
def place(name: str) -> Iterator[str]:
    """The address of a new Ray cluster, where the place is one; else nothing."""
    if name != "two nodes":
        yield ""
        return
    with two_nodes() as nodes:
        assert isinstance(nodes, TwoNodes), "what it gives"
        yield nodes.cluster.address


def measured(name: str, address: str) -> dict[str, object]:
    """A row of the table, of the study in the current folder."""
    begun = time.time()
    command = [sys.executable, __file__, "--here", name, address]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603 - as above
    wall, workers, runs = time.time() - begun, WORKERS[name], json.loads(done.stdout)
    own = sum(run["seconds"] for run in runs)
    before = workers * min(run["done"] - run["seconds"] - begun for run in runs)
    last = sorted(run["done"] for run in runs)[-workers:]
    end = sum(begun + wall - each for each in last)
    parts = {"overhead %": workers * wall - own, "before": before, "at the end": end}
    parts["between"] = workers * wall - own - before - end
    percent: Mapping[str, object] = {part: 100 * seconds / own for part, seconds in parts.items()}
    return {"in": name, "runs": len(runs), "wall s": wall, "runs' own s": own, **percent}


class Times(StudyProgress):
    """Notes when runs are done, and how long they took."""

    def __init__(self) -> None:
        self.runs: list[dict[str, float]] = []

    def done(self, planned: PlannedRun, outcome: Done, left: int, seconds: float) -> None:  # noqa: ARG002
        """Note it."""
        self.runs.append({"done": time.time(), "seconds": outcome.seconds})


def execute(name: str, address: str) -> list[dict[str, float]]:
    """Execute the study in the current folder, as its command does; when each run was done, and its seconds."""
    study, times = read_study("study.toml"), Times()
    on_ray = name == "two nodes"
    with (
        RayExecutor(address, resources=study.resources, threads=1)
        if on_ray
        else LocalExecutor(workers=WORKERS[name], threads=1)
    ) as executor:
        run_study(study, executor, progress=times)
    return times.runs


if __name__ == "__main__":
    main()
