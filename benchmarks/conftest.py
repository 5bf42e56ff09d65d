"""Options of the suite, what its tests share, and the curves of scans in the summary."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunebench.documented.runs import RUNS
from prunebench.documented.tables import find_run
from prunebench.errors import PrunebenchError
from prunebench.experiments.flow import Setting, prepare
from prunebench.machine.devices import resolve_device
from prunebench.machine.memory import keep_freed_memory
from prunebench.report import scan_heading, scan_table
from prunebench.report.progress import ProgressBar
from prunebench.sensitivity import Scan
from prunebench.workloads import BUILT_IN, DEFAULT_WORKLOAD, find_workload

SCANS = pytest.StashKey[list[Scan]]()
SLOW = [Path(__file__).parent / name for name in ("methods", "speed")]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("prunebench benchmarks")
    group.addoption("--workload", default=DEFAULT_WORKLOAD, help=f"{', '.join(BUILT_IN)} (default: {DEFAULT_WORKLOAD})")
    group.addoption("--recipe", help="quick (default) or full: on cifar10 the documented recipe")
    group.addoption("--checkpoint", type=Path, help="dense checkpoint: .safetensors, .pth or .pt")
    group.addoption("--data", type=Path, help="CIFAR-10: a folder or archive (default: PRUNEBENCH_DATA)")
    group.addoption("--test-images", type=int, help="ask only so many, as a quick look: the records are of other data")
    group.addoption("--device", default="cpu", help="cpu (default), cuda, cuda:1, mps or auto")
    group.addoption("--precision", default="fp32", choices=("fp32", "bf16"), help="arithmetic of training")
    group.addoption("--seed", type=int, default=0, help="seed of fine-tuning")
    group.addoption("--speed-report", type=Path, help="with benchmarks/speed: the document to write its section to")
    group.addoption("--speed-rounds", type=int, help="with benchmarks/speed: at most so many rounds, for a quick look")
    group.addoption("--table", action="append", default=[], help="TOML table of your own to run too; may be repeated")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SCANS] = []


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Comparisons of methods and of speed take long: each runs when asked for by its path, as `benchmarks/speed`."""
    asked = [(config.invocation_params.dir / argument.split("::")[0]).resolve() for argument in config.args]
    is_asked = any(collection_path in (path, *path.parents) for path in asked)
    return True if collection_path in SLOW and not is_asked else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "run" in metafunc.fixturenames:
        try:
            tables = [find_run(path) for path in metafunc.config.getoption("--table")]
        except PrunebenchError as error:
            raise pytest.UsageError(str(error)) from error
        runs = [*RUNS.values(), *tables]
        metafunc.parametrize("run", runs, ids=[run.name for run in runs], scope="session")


@pytest.fixture(scope="session")
def setting(pytestconfig: pytest.Config, progress: ProgressBar) -> Setting:
    """The data, the dense model and its answers: loaded, trained where needed, and evaluated once."""
    option = pytestconfig.getoption
    keep_freed_memory()
    try:
        return prepare(
            find_workload(option("--workload")),
            option("--recipe"),
            data_path=option("--data"),
            checkpoint=option("--checkpoint"),
            device=resolve_device(option("--device")),
            precision=option("--precision"),
            seed=option("--seed"),
            test_images=option("--test-images"),
            progress=progress,
        )
    except PrunebenchError as error:
        pytest.exit(f"error: {error}", returncode=2)


@pytest.fixture(scope="session")
def progress(prunebench_progress: ProgressBar) -> ProgressBar:
    """The plugin's bar on the terminal."""
    return prunebench_progress


@pytest.fixture(scope="session")
def scans(pytestconfig: pytest.Config) -> list[Scan]:
    """Where a test puts the scans it made, for the summary."""
    return pytestconfig.stash[SCANS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for scan in config.stash[SCANS]:
        terminalreporter.section("sensitivity")
        terminalreporter.line(scan_heading(scan))
        terminalreporter.line("")
        terminalreporter.line(str(scan_table(scan)))
