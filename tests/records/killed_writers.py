"""Kills processes amid their writes and looks at every file: killed_writers.py FOLDER KILLS.

A program of its own and not part of its test: it forks for every kill, and a process without torch forks in no time.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from record_factory import make_baseline, make_record

from prunebench.baselines.shelf import read_baseline, write_baseline
from prunebench.records import keep_record, read_record


def main(folder: Path, kills: int) -> None:
    versions = [make_baseline(make_record(wrong=wrong)) for wrong in (10, 20)]
    path, records = write_baseline(versions[0], folder / "baselines"), folder / "records"

    def write_for_ever() -> None:
        while True:
            for version in versions:
                write_baseline(version, folder / "baselines")
                keep_record(version.record, records)

    chance = random.Random(0)
    interrupted = 0
    for _ in range(kills):
        kill_amid(write_for_ever, started=records, after=chance.uniform(0, 0.004))
        assert read_baseline(path) in versions
        interrupted += any(folder.glob("*/**/.*.tmp"))
        for kept in records.glob("*.json"):
            assert read_record(kept) in [version.record for version in versions]
        for file in (*records.iterdir(), *path.parent.glob(".*.tmp")):
            file.unlink()
    assert interrupted > kills / 10, f"only {interrupted} of {kills} kills came amid a write"
    print(f"{kills} kills, every file whole")


def kill_amid(work: Callable[[], None], *, started: Path, after: float) -> None:
    """Kill a process that does `work`, `after` seconds from its first sign of life in the folder `started`."""
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
    assert -signal.SIGKILL == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
