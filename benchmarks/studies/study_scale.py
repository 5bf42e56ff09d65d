"""A study of 100,000 runs on 1,000 workers: what the driver takes, and how long its results take to read.

    prunebench study run real.toml                                   # some runs, whose records and times are taken
    python benchmarks/studies/study_scale.py .prunebench/studies/real/records

The study is ten models by eight criteria, five totals and 250 seeds. `run_study` executes it with an executor in the
place of a cluster: each run ends, by a clock that is not this machine's, after the seconds of the record that it takes,
the one of the nearest total. All that the driver does in between is done, and its time passes on that clock too. Each
record has a seed and right answers of its own, drawn about those of the record taken, and is written as any other.
Then `prunebench study` reads, tests, draws and exports the results, each in a process of its own.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import heapq
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from prunebench.experiments.executors import Job, Outcome
from prunebench.experiments.flow import Setting
from prunebench.experiments.rows import RunRow, row_of
from prunebench.experiments.studies import Done, Prepared, prepared_workload, run_study
from prunebench.experiments.study import PlannedRun, Study, read_study
from prunebench.records import RunRecord, read_record
from prunebench.storage.documents import content_digest, render

MODELS = 10
TOTALS = (0.5, 0.7, 0.8, 0.9, 0.95)
CRITERIA = ("magnitude", "taylor", "snip", "fisher", "wanda", "movement", "geometric_median", "random")
POINTS_APART = 0.4
"""Between a criterion and the next."""
SPREAD = 0.3
"""Standard deviation over seeds, in points."""
MIB = 2**20


def main() -> None:
    """Simulate, read, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, help="folder of records of runs")
    parser.add_argument("--runs", type=int, default=100_000, help="about so many")
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, help="keep the study there")
    options = parser.parse_args()
    records = [record for path in sorted(options.records.glob("*.json")) if (record := read_record(path)).finetuning]
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        stack.enter_context(contextlib.chdir(folder))
        seeds = max(1, round(options.runs / MODELS / len(TOTALS) / len(CRITERIA)))
        study = planned_study(seeds)
        executor = Simulated(records, options.workers)
        run_study(study, executor)
        print(tabulate(driver_rows(study, executor), disable_numparse=True, colalign=("left", "right")), "\n")
        print(tabulate(command_rows(), headers=["command", "seconds", "of processor", "MiB"], floatfmt=".1f"))


def planned_study(seeds: int) -> Study:
    """The study, whose models are never built."""
    names = [f"model{number}" for number in range(MODELS)]
    recipe = "recipe.ci]\nepochs = 4\nlearning_rate = 0.01\n"
    described = [
        f'[workload.{name}]\nmodel = "no:model"\ndata = "no:data"\n[workload.{name}.{recipe}' for name in names
    ]
    Path("prunebench.toml").write_text("".join(described), encoding="utf-8")
    study = {"name": '"scale"', "workload": names, "seeds": list(range(seeds)), "failure_limit": 0}
    grid = {"criterion": list(CRITERIA), "allocation": '"global"', "total": list(TOTALS)}
    text = "".join(
        [f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
         for name, table in (("study", study), ("study.grid", grid), ("study.reference", {"criterion": '"magnitude"'}))]
    )  # fmt: skip
    Path("study.toml").write_text(text, encoding="utf-8")
    return read_study("study.toml")


@dataclass(frozen=True)
class Template:
    """A record as its file has it, and what its digest is of; to be made another by its seed and right answers."""

    record: RunRecord
    row: RunRow
    file: str
    content: str
    digest: str

    def made(self, seed: int, bits: str) -> Done:
        """The answer of a run of that seed, as many answers right, but others."""
        content, file = (text.replace(self.row.correct_bits, bits) for text in (self.content, self.file))
        content = content.replace(f'"seed":{self.record.seed}', f'"seed":{seed}')
        digest = hashlib.sha256(content.encode("ascii")).hexdigest()
        file = file.replace(f'"seed": {self.record.seed}', f'"seed": {seed}').replace(self.digest, digest)
        return Done(record=file, row=replace(self.row, correct_bits=bits), seconds=self.row.seconds)


class Simulated:
    """An executor whose workers are a heap of ends, by a clock of its own; and what was seen of the driver.

    Attributes:
        clock, worked: seconds that passed, and that all workers worked together.
        seconds, processor: of the driver, by this machine's clock and of its processor.
    """

    def __init__(self, records: Sequence[RunRecord], workers: int) -> None:
        self.workers, self.clock, self.worked, self.seconds, self.processor = workers, 0.0, 0.0, 0.0, 0.0
        self._records = records
        self._numbers = np.random.default_rng(0)
        self._hard = self._numbers.random(records[0].kept_accuracy.images)
        self._templates: dict[tuple[str, float, int], Template] = {}

    def shared(self, makes: Mapping[str, Job]) -> Mapping[str, Job]:
        """The same jobs, which nobody does."""
        return makes

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Ends of runs in their order on the clock; workers wait for the driver, which takes the time that it takes."""
        ends: list[tuple[float, int, Job, Template | None]] = []
        waiting, begun, since = iter(jobs), 0, (time.perf_counter(), time.process_time())
        while True:
            new = list(islice(waiting, self.workers - len(ends)))
            took = time.perf_counter() - since[0]
            self.clock, self.seconds = self.clock + took, self.seconds + took
            self.processor += time.process_time() - since[1]
            for job in new:
                template = self._template(job)
                seconds = template.row.seconds if template else 0.0
                self.worked += seconds
                begun += 1
                heapq.heappush(ends, (self.clock + seconds, begun, job, template))
            if not ends:
                return
            end, _, job, template = heapq.heappop(ends)
            self.clock = max(self.clock, end)
            outcome = Outcome(job=job, value=self._value(job, template))
            since = time.perf_counter(), time.process_time()
            yield outcome

    def _value(self, job: Any, template: Template | None) -> Prepared | Done:
        if template is None:
            record = self._records[0]
            digests = record.data.digest, record.checkpoints.dense
            return Prepared(setting=_never, digests=digests, images=record.data.train_images, macs=1, state_bytes=1)
        noisy = self._hard + self._numbers.normal(0, 0.05, len(self._hard))
        right = np.zeros(len(noisy), dtype=bool)
        right[np.argsort(noisy)[: template.row.correct]] = True
        return template.made(job.args[0].seed, _packed(right))

    def _template(self, job: Any) -> Template | None:
        """One of ten of a criterion and a total; None of a job that prepares a workload."""
        if job.func is prepared_workload:
            return None
        planned: PlannedRun = job.args[0]
        key = planned.parts["criterion"], planned.parts["total"], int(self._numbers.integers(10))
        if key not in self._templates:
            self._templates[key] = self._new_template(*key[:2])
        return self._templates[key]

    def _new_template(self, criterion: str, total: float) -> Template:
        """Of the record of the nearest total, with an accuracy about its own."""
        near = min(self._records, key=lambda each: abs(1 - sum(each.nonzeros.values()) / each.elements - total))
        tuned = near.finetuning
        assert tuned is not None, "others were left out"
        points = -POINTS_APART * CRITERIA.index(criterion) + float(self._numbers.normal(0, SPREAD))
        wanted = round(len(self._hard) * (tuned.best.percent + points) / 100)
        right = np.arange(len(self._hard)) < min(len(self._hard) - 1, max(1, wanted))
        best = tuned.best.model_copy(update={"correct": int(right.sum()), "correct_bits": _packed(right)})
        epochs = len(tuned.losses)
        changes = {
            "best": best, "last": best, "best_epoch": epochs,
            "selection_accuracies": [*[best.percent - 1] * (epochs - 1), best.percent],
        }  # fmt: skip
        weights = near.checkpoints.model_copy(update={"last": near.checkpoints.best})
        record = near.model_copy(update={"finetuning": tuned.model_copy(update=changes), "checkpoints": weights})
        content = record.model_dump(mode="json")
        plain = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return Template(record, row_of(record), render(content), plain, content_digest(content))


def _never() -> Setting:
    raise AssertionError("nobody executes these runs")


def _packed(right: NDArray[np.bool_]) -> str:
    return base64.b64encode(np.packbits(right).tobytes()).decode("ascii")


def driver_rows(study: Study, executor: Simulated) -> Iterator[tuple[str, str]]:
    """What the simulation came to."""
    runs = len(study.runs)
    sizes = [path.stat().st_size for path in map(study.record_path, study.runs)]
    yield "runs, workers", f"{runs:,}, {executor.workers:,}"
    yield "a run, s", f"{executor.worked / runs:.1f}"
    yield "workers waited, %", f"{100 * (1 - executor.worked / executor.workers / executor.clock):.2f}"
    yield "driver: ms a run", f"{1e3 * executor.seconds / runs:.2f}"
    yield "driver: ms of processor a run", f"{1e3 * executor.processor / runs:.2f}"
    yield "peak memory, MiB", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f}"
    yield "a record, kB", f"{fmean(sizes) / 1e3:.1f}"
    yield "all records, MiB", f"{sum(sizes) / MIB:,.0f}"
    yield "table of rows, MiB", f"{study.table.stat().st_size / MIB:,.0f}"
    kept = study.kept()
    some = study.runs[:: max(1, runs // 100)]
    same = sum(row_of(read_record(study.record_path(each))) == kept[each.id] for each in some)
    yield "records read again that say what their rows do", f"{same} of {len(some)}"


def command_rows() -> Iterator[list[object]]:
    """Each command on the results: seconds by the clock and of the processor, peak memory."""
    for arguments in (["status"], ["results"], ["plot", "-o", "plot.png"], ["export", "-o", "rows.csv"]):
        command = [sys.executable, "-m", "prunebench.cli", "study", arguments[0], "study.toml", *arguments[1:]]
        with Path(f"{arguments[0]}.txt").open("wb") as output:
            start = time.perf_counter()
            process = subprocess.Popen(command, stdout=output)  # noqa: S603
            _, code, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(code)
        if process.returncode:
            raise SystemExit(f"'study {arguments[0]}' ended with {process.returncode}")
        yield [f"study {arguments[0]}", seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]


if __name__ == "__main__":
    main()
