"""The work of `prunebench data`: show a workload's data set."""

from __future__ import annotations

from pathlib import Path

from prunebench.cli.shell import say, show
from prunebench.data import verify_source
from prunebench.report import data_table
from prunebench.report.progress import ProgressBar
from prunebench.workloads import find_workload


def data(workload: str | None, data: Path | None, verify: bool) -> None:
    """Show a workload's data: where from, how many images, digests."""

    chosen = find_workload(workload)
    with ProgressBar() as progress:
        found = chosen.data(data, progress.loading)
        show(data_table(found))
        if verify:
            again = verify_source(found, progress.loading)
            say(
                "verified: decoding the source again gives the same digest"
                if again
                else "nothing to verify: these images are read from their source each time, there is no decoded copy"
            )
