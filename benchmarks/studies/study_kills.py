"""Kill a study at random, again and again, and resume it: is every record there, once, and the one it ought to be?

    python benchmarks/studies/study_kills.py --kills 50

Sixteen runs of a small network: two criteria, two totals, four seeds. Each step sleeps, so that a run takes seconds on
a busy machine too, and most kills meet an unfinished training. First, all runs one after the other, undisturbed: the
records that are expected. Then half of the kills in two processes of this machine, and half on a Ray cluster of a head
and two nodes on loopback. At random moments a worker process, a node that has a run, or the driver gets signal 9. Four
of five kills wait until the study has got on since the one before, so that it ends on a slow machine too. A killed
driver is started again, a lost node is replaced. When all runs are done, the study begins anew in an empty folder,
until all kills are spent; then it is left to finish. In every second study on Ray nodes alone are killed: a training
that is resumed there (`after node`) was resumed after the loss of a node.

`missing`, `twice` and `different` are of records, and ought to be 0. A record is there twice where one that was there
at a kill has changed by the end. Records are compared without times, dates and `resumed_after`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate

from prunebench.experiments.executors import LocalExecutor
from prunebench.experiments.studies import run_study
from prunebench.experiments.study import read_study

NET = """
import time
from torch import nn

class Net(nn.Sequential):
    def forward(self, inputs):
        time.sleep({step} if self.training else 0)
        return super().forward(inputs)

def build():
    return Net(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
"""
DATA = """
import torch

def load():
    numbers = torch.Generator().manual_seed(0)
    targets = torch.arange(120) % 3
    images = torch.randn(120, 1, 6, 6, generator=numbers) + targets[:, None, None, None]
    return (images[:60], targets[:60]), (images[60:], targets[60:])
"""
TOML = """
[workload.small]
model = "net:build"
data = "data:load"
recipe.dense = { epochs = 2, learning_rate = 0.05 }
recipe.ci = { epochs = 5, learning_rate = 0.02, batch_size = 15 }
"""
STUDY = """
[study]
workload = "small"
seeds = SEEDS
[study.grid]
criterion = ["magnitude", "taylor"]
total = [0.5, 0.8]
"""
SHARE_LATER = 0.8
"""Share of the kills that wait until the study has got on since the kill before."""

RECORDS = Path(".prunebench/studies/study/records")


def main() -> None:
    """Kill and resume, in both places, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=4, help="of each method and total: four runs a seed")
    parser.add_argument("--step", type=float, default=0.15, help="seconds that each of the 20 steps of a run sleeps")
    parser.add_argument("--every", type=float, default=2, help="seconds that a kill waits, in the mean")
    parser.add_argument("--only", choices=("processes", "two_nodes"), help="all kills there")
    options = parser.parse_args()
    chosen = [place for place in (processes, two_nodes) if options.only in {None, place.__name__}]
    numbers = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        os.environ |= {"PRUNEBENCH_CACHE": str(Path("cache").absolute()), "OMP_NUM_THREADS": "1"}
        Path("study.toml").write_text(STUDY.replace("SEEDS", str(list(range(options.seeds)))), encoding="utf-8")
        write_project(step=0)
        expected = undisturbed()
        write_project(step=options.step)
        rows = []
        for index, chosen_place in enumerate(chosen):
            with chosen_place() as place:
                kills = (options.kills + index) // len(chosen)
                rows.append(endure(place, expected, kills, numbers, options.every).cells(chosen_place.__name__))
        print(tabulate(rows, headers="keys"))


def write_project(*, step: float) -> None:
    """Write a project with the workload `small`, each step of which sleeps so many seconds, to the current folder."""
    for name, text in (("data.py", DATA), ("net.py", NET.format(step=step)), ("prunebench.toml", TOML)):
        Path(name).write_text(text, encoding="utf-8")


@dataclass(kw_only=True)
class Tally:
    """Kills, and what became of the studies."""

    kills: Counter[str] = field(default_factory=Counter)
    studies: int = 0
    records: int = 0
    missing: int = 0
    twice: int = 0
    different: int = 0
    resumed: int = 0
    after_node: int = 0
    failed: int = 0

    def cells(self, place: str) -> dict[str, object]:
        """A row of the table."""
        kinds = {kind: self.kills[kind] for kind in ("worker", "node", "driver")}
        others = {name.replace("_", " "): value for name, value in vars(self).items() if name != "kills"}
        return {"killed": place, **kinds, **others}


class Processes:
    """Two processes of this machine."""

    options: tuple[str, ...] = ("--workers", "2")
    kinds: tuple[str, ...] = ("worker", "driver")

    def busy(self, driver: int) -> list[int]:
        """Processes that do runs of the driver."""
        return children(driver)

    def kill(self, kind: str, driver: subprocess.Popen[bytes], numbers: random.Random) -> bool:
        """Kill one of the kind; False where there is none at work."""
        if kind == "driver":
            driver.kill()
            driver.wait()
            return True
        found = self.busy(driver.pid)
        if found:
            os.kill(numbers.choice(found), signal.SIGKILL)
        return bool(found)


class TwoNodes(Processes):
    """A Ray cluster: a head, and two nodes of a core each.

    Each node has a folder of its own, as a machine has. In one that they share, a node that is killed while Ray unpacks
    the project leaves a part of it, which the others take for all (Ray 2.60: `download_and_unpack_package`).
    """

    kinds = ("worker", "node", "driver")

    def __init__(self, cluster: Any, folder: str) -> None:
        self.cluster, self.folder = cluster, folder
        self.options = ("--on", cluster.address)

    def fill(self) -> None:
        """Start nodes until there are two."""
        for _ in range(10):
            with suppress(Exception):  # a busy machine does not start one within the 30 s that Ray gives it
                while len(self.cluster.worker_nodes) < 2:
                    self.cluster.add_node(num_cpus=1, temp_dir=tempfile.mkdtemp(dir=self.folder))

    def busy(self, driver: int) -> list[int]:  # noqa: ARG002 - the cluster has one
        """Processes that do runs of the driver."""
        return sorted(pid for node in self.cluster.worker_nodes for pid in children(raylet(node)))

    def kill(self, kind: str, driver: subprocess.Popen[bytes], numbers: random.Random) -> bool:
        """Kill one of the kind; a lost node is replaced. False where there is none at work."""
        if kind != "node":
            return super().kill(kind, driver, numbers)
        nodes = sorted((node for node in self.cluster.worker_nodes if children(raylet(node))), key=raylet)
        if nodes:
            self.cluster.remove_node(numbers.choice(nodes), allow_graceful=False)
            self.fill()
        return bool(nodes)


def raylet(node: Any) -> int:
    """The process of a Ray node that the processes of its runs belong to."""
    return int(node.all_processes["raylet"][0].process.pid)


@contextmanager
def processes() -> Iterator[Processes]:
    """Two processes of this machine."""
    yield Processes()


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """A Ray cluster on loopback."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - Ray is an extra

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's name; else they wait for all other processes
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            nodes = TwoNodes(cluster, folder)
            nodes.fill()
            yield nodes
        finally:
            cluster.shutdown()  # type: ignore[no-untyped-call]


def children(parent: int) -> list[int]:
    """Processes that do runs, by the process that started them: those of a Ray node where they have one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            line = (path / "cmdline").read_bytes()
            does_runs = b"spawn_main" in line or line.startswith(b"ray::_done")
            if int(fields[1]) == parent and fields[0] != "Z" and does_runs:
                found.append(int(path.name))
    return sorted(found)


def undisturbed() -> dict[str, Any]:
    """The records of one process that nobody disturbs."""
    with LocalExecutor(workers=1, threads=1) as executor:
        run_study(read_study("study.toml"), executor)
    return {name: timeless(record) for name, record in records().items()}


def start(options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """The study's command, for the first time or to go on."""
    command = [sys.executable, "-m", "prunebench.cli", "--quiet", "study", "run", "study.toml", "--retry", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - as above


def records() -> dict[str, Any]:
    """The records that are there, by file, those of failures left out."""
    found = {path.name: json.loads(path.read_bytes()) for path in RECORDS.glob("*.json")}
    return {name: record for name, record in found.items() if "error" not in record}


def timeless(record: Mapping[str, Any]) -> dict[str, Any]:
    """All that does not say when, or how often a training was resumed; nor the digest, which is of that too."""
    kept = {name: value for name, value in record.items() if name not in {"created", "timings", "digest"}}
    tuned = {name: value for name, value in record["finetuning"].items() if name != "resumed_after"}
    return kept | {"finetuning": tuned}


def endure(place: Processes, expected: Mapping[str, Any], kills: int, numbers: random.Random, seconds: float) -> Tally:
    """Kill so many processes of studies, about `seconds` after they got on, and check each study once it is done."""
    tally = Tally()
    while tally.kills.total() < kills:
        RECORDS.parent.rename(f"study-{time.monotonic_ns()}")
        only_nodes = "node" in place.kinds and tally.studies % 2 == 0
        seen: dict[str, Any] = {}
        driver, before = start(place.options), progress()
        while True:
            kind = "node" if only_nodes else numbers.choice(place.kinds)
            pause = numbers.expovariate(1 / seconds) if tally.kills.total() < kills else None
            code = ended(driver, pause, after=before if numbers.random() < SHARE_LATER else None)
            seen |= records()
            if code == 0:
                break
            if code == 1:  # a run failed, after three kills
                tally.failed += len(expected) - len(seen)
            elif code is not None:
                sys.exit(f"the command ended with {code}")
            elif not place.kill(kind, driver, numbers):
                continue
            else:
                tally.kills[kind] += 1
                print(f"{kind} killed, {tally.kills.total()} of {kills}; {len(seen)} records", file=sys.stderr)
            before = progress()
            if driver.poll() is not None:
                driver = start(place.options)
        check(tally, records(), seen, expected, only_nodes=only_nodes)
        print(tally, file=sys.stderr)
    return tally


def progress() -> set[str]:
    """Names that change as a study gets on: of records, and of unfinished trainings."""
    return {path.name for folder in (RECORDS, Path("cache/training")) for path in folder.glob("*.[jp]*[nt]")}


def ended(driver: subprocess.Popen[bytes], seconds: float | None, *, after: set[str] | None) -> int | None:
    """The exit status of the driver; None where it goes on `seconds` after it got further than `after`."""
    while after is not None and driver.poll() is None and progress() <= after:
        time.sleep(0.2)
    with suppress(subprocess.TimeoutExpired):
        return driver.wait(seconds)
    return None


def check(
    tally: Tally, found: Mapping[str, Any], seen: Mapping[str, Any], expected: Mapping[str, Any], *, only_nodes: bool
) -> None:
    """Add a study that is done to the tally."""
    resumed = sum(record["finetuning"]["resumed_after"] > 0 for record in found.values())
    tally.studies += 1
    tally.records += len(found)
    tally.missing += len(expected.keys() - found.keys())
    tally.twice += sum(found.get(name) != record for name, record in seen.items())
    tally.different += sum(timeless(record) != expected.get(name) for name, record in found.items())
    tally.resumed += resumed
    tally.after_node += resumed if only_nodes else 0


if __name__ == "__main__":
    main()
