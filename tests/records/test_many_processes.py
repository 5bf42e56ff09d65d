"""Many processes at once, and processes that are killed."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import record_factory
from record_factory import make_record

import prunebench
from prunebench.baselines.approval import approve
from prunebench.baselines.shelf import list_baselines, read_baseline
from prunebench.records import case_id, keep_record, read_record

PROCESSES = 16
KILLS = 200

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: a fresh process takes seconds to import")


def test_sixteen_processes_recording_and_approving_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    replies = context.SimpleQueue()
    processes = [context.Process(target=_record_and_approve, args=(tmp_path, n, replies)) for n in range(PROCESSES)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside torch's idle threads
        for process in processes:
            process.start()
    steps = [replies.get() for _ in processes]
    for process in processes:
        process.join()
    assert [0] * PROCESSES == [process.exitcode for process in processes]

    kept = [read_record(path) for path in (tmp_path / "records").iterdir()]
    assert sorted((n, again) for n in range(PROCESSES) for again in range(3)) == sorted(
        (record.seed, len(record.timings.prune)) for record in kept
    )
    baselines = {case: read_baseline(path) for case, path in list_baselines(tmp_path / "baselines").items()}
    assert {f"digits/own{n}-quick" for n in range(PROCESSES)} | {"digits/common-quick"} == baselines.keys()
    last, replaced = baselines["digits/common-quick"].digest, dict(steps)
    for _ in range(PROCESSES):  # every approval of the common case replaced exactly one other
        last = replaced.pop(last)
    assert (None, {}) == (last, replaced)


def _record_and_approve(folder: Path, number: int, replies: Any) -> None:
    for again in range(3):
        record = make_record(seed=number)
        timings = record.timings.model_copy(update={"prune": [0.0] * again})
        keep_record(record.model_copy(update={"timings": timings}), folder / "records")
    own, common = make_record(run=f"own{number}"), make_record(run="common", wrong=number)
    approve({case_id(own): own}, folder / "baselines", reason="own", by="somebody")
    (made,) = approve({case_id(common): common}, folder / "baselines", reason="common", by=f"process {number}")
    replies.put((made.digest, made.approval.replaced))


def test_killed_writers_leave_every_file_whole(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("killed_writers.py")), str(tmp_path), str(KILLS)]
    paths = os.pathsep.join([str(Path(prunebench.__file__).parents[1]), str(Path(record_factory.__file__).parent)])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert (0, f"{KILLS} kills, every file whole\n") == (done.returncode, done.stdout), done.stderr
