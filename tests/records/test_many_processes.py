"""Many processes at once, and processes that are killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from record_factory import make_baseline, make_record

from prunebench.approval import approve
from prunebench.records import case_id, keep_record, list_baselines, read_baseline, read_record, write_baseline

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
    versions = [make_baseline(make_record(wrong=wrong)) for wrong in (10, 20)]
    path = write_baseline(versions[0], tmp_path / "baselines")
    records = tmp_path / "records"

    def write_for_ever() -> None:
        while True:
            for version in versions:
                write_baseline(version, tmp_path / "baselines")
                keep_record(version.record, records)

    chance = random.Random(0)
    for _ in range(KILLS):
        _kill_amid(write_for_ever, started=records, after=chance.uniform(0, 0.004))
        assert read_baseline(path) in versions
        for kept in records.glob("*.json"):
            assert read_record(kept) in [version.record for version in versions]
            kept.unlink()


def _kill_amid(work: Callable[[], None], *, started: Path, after: float) -> None:
    """Kill a process that does `work`, `after` seconds from its first sign of life in the folder `started`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    while not (started.is_dir() and any(started.iterdir())):
        time.sleep(0.0005)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    assert signal.SIGKILL == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) * -1
    for leftover in started.glob(".*.tmp"):
        leftover.unlink()
