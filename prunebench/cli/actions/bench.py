"""The work of `prunebench bench`: pytest on the packaged suite and baselines, in the folder it is called in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import prunebench
from prunebench.errors import StorageError
from prunebench.storage.files import BASELINES, RUN_FOLDER

PACKAGE = Path(prunebench.__file__).parent


def bench(arguments: tuple[str, ...]) -> None:
    """Run the suite, of the wheel or of this checkout, in a process of its own; exit as that does."""
    for suite, baselines in (
        (PACKAGE / "_bench", PACKAGE / "_bench" / BASELINES),
        (PACKAGE.parent / "benchmarks", PACKAGE.parent / BASELINES),
    ):
        if (suite / "conftest.py").is_file():
            own = [f"--prunebench-baselines={baselines}", f"--prunebench-records={RUN_FOLDER}"]
            command = [sys.executable, "-m", "pytest", str(suite), "--rootdir=.", "--import-mode=importlib", *own]
            sys.exit(subprocess.run([*command, *arguments], check=False).returncode)  # noqa: S603 - the user's own arguments
    raise StorageError(f"'{PACKAGE}' has no benchmarks: install prunebench again, from its wheel or a whole checkout")
