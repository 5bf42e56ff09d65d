"""Processes and results that the speed comparisons share, and their summary: printed, and written where asked."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import jobs
import pytest
from remains import Remains
from report import Findings, surroundings, text, write_section
from sides import OURS, Comparison, Measurement, Sides, measure, processes

from prunebench.errors import PrunebenchError

FINDINGS = pytest.StashKey[Findings]()


def pytest_configure(config: pytest.Config) -> None:
    """A document that cannot take the section is found out now, not after a quarter of an hour."""
    if (path := config.getoption("--speed-report")) is not None:
        try:
            surroundings(path)
        except PrunebenchError as error:
            raise pytest.UsageError(str(error)) from error


@pytest.fixture(scope="session")
def told(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Says on the terminal, past the capturing, what is going on: it takes minutes."""
    reporter = pytestconfig.pluginmanager.getplugin("terminalreporter")
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def tell(line: str) -> None:
        around = capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()
        with around:
            if reporter and reporter.isatty:
                reporter.rewrite(f"{line:<110}", erase=True)

    return tell


@pytest.fixture(scope="session")
def findings(pytestconfig: pytest.Config) -> Findings:
    """What the summary is made of."""
    return pytestconfig.stash.setdefault(FINDINGS, Findings())


@pytest.fixture(scope="session")
def sides(findings: Findings, told: Callable[[str], None]) -> Iterator[Sides]:
    """The processes; what they need is loaded, and the dense digits trained, before the first is timed."""
    with processes() as running:
        told("loading data and models")
        _, _, findings.images = running.run(OURS, jobs.make_ready)
        yield running


@pytest.fixture(scope="session")
def measured(
    sides: Sides, findings: Findings, told: Callable[[str], None], pytestconfig: pytest.Config
) -> Callable[[Comparison], Measurement]:
    """Each comparison, measured when it is first asked for."""
    most = pytestconfig.getoption("--speed-rounds") or sys.maxsize

    def find(comparison: Comparison) -> Measurement:
        if comparison.name not in findings.measurements:
            fewer = replace(comparison, rounds=min(comparison.rounds, most))
            findings.measurements[comparison.name] = measure(fewer, sides, told=told)
        return findings.measurements[comparison.name]

    return find


@pytest.fixture(scope="session")
def remains(findings: Findings) -> list[Remains]:
    """Where a profile is put for the summary."""
    return findings.remains


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash.get(FINDINGS, None)
    if found is None or not found.measurements:
        return
    terminalreporter.section("speed against what a user would run instead")
    terminalreporter.line(text(found))
    path: Path | None = config.getoption("--speed-report")
    if path is not None:
        write_section(path, text(found))
        terminalreporter.line(f"written to {path}")
