"""Scans in the plugin: judged, failed for, summarised and listed like records."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest
from gate.scan_documents import make_scan
from record_factory import make_baseline

# Before pytester, which forgets what was imported within a run: numpy cannot come twice.
import prunebench.pytest_report  # noqa: F401
from prunebench.baselines.collected import read_any_scan
from prunebench.baselines.shelf import write_baseline
from prunebench.records import case_id
from prunebench.sensitivity import Scan

pytest_plugins = ["pytester"]

CASE = "digits/scan-vgg-10000"
TESTS = """
from gate.scan_documents import PLACES, losing, make_scan
from record_factory import make_record

def test_same(prunebench_gate):
    prunebench_gate(make_scan())

def test_worse(prunebench_gate):
    prunebench_gate(make_scan(losing(PLACES[4], 60)))

def test_named(prunebench_gate):
    prunebench_gate(make_scan(), case="digits/scan-vgg-600")

def test_with_a_record(prunebench_gate):
    prunebench_gate(make_record(), make_scan())
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    pytester.syspathinsert(Path(__file__).parents[1])
    pytester.makepyfile(test_scans=TESTS)
    return pytester


def based(pytester: pytest.Pytester, *scans: Scan) -> None:
    for scan in scans:
        write_baseline(make_baseline(scan), pytester.path / "baselines")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    installed = any(entry.name == "prunebench" for entry in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "prunebench.pytest_plugin"]
    return pytester.runpytest_inprocess(*plugin, "-p", "no:hypothesispytest", "-p", "no:randomly", *arguments)


def test_a_worse_curve_fails_its_test_and_says_how_to_approve_it(project: pytest.Pytester) -> None:
    based(project, make_scan())
    result = run(project, "-k", "same or worse")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            f"prunebench gate: 1 of 11 checks of {CASE} failed",
            f"FAIL  {CASE}",
            "  Accuracy with backbone.conv1.weight pruned to sparsity 0.7 fell by *",
            "record: .prunebench/records/*-digits-scan-vgg-10000.json",
            f"    prunebench baseline approve .prunebench/records --only {CASE} --reason '...'",
            f"{CASE} *FAIL *-  93.00 *",
            "*= prunebench gate =*",
            "21 of 22 checks passed, 1 case. The others: 1 FAIL.",
        ]
    )
    kept = (project.path / ".prunebench" / "records").iterdir()
    assert {CASE} == {case_id(read_any_scan(path)) for path in kept}


def test_without_a_baseline_it_is_said_and_fails_in_strict_mode_only(project: pytest.Pytester) -> None:
    result = run(project, "-k", "same")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"NO_BASELINE  {CASE}", "0 of 1 checks passed, 1 case. The others: 1 NO_BASELINE."])
    run(project, "-k", "same", "--prunebench-strict=yes").assert_outcomes(failed=1)


def test_a_scan_of_another_case_than_the_one_named_is_incomparable(project: pytest.Pytester) -> None:
    based(project, make_scan())
    result = run(project, "-k", "named")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "INCOMPARABLE  digits/scan-vgg-600",
            "  Nothing could be compared. The record: it is of digits/scan-vgg-10000.",
        ]
    )


def test_records_and_scans_may_be_handed_over_at_once(project: pytest.Pytester) -> None:
    based(project, make_scan())
    result = run(project, "-k", "with_a_record")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["NO_BASELINE  digits/tiny-quick", "14 of 15 checks passed, 2 cases. The others: 1 NO_BASELINE."]
    )


def test_a_baseline_of_the_same_images_that_no_scan_was_made_for_is_unused(project: pytest.Pytester) -> None:
    based(project, make_scan(), make_scan(criterion="random"), make_scan(images=600))
    project.makepyfile(TESTS.split("def test_worse", maxsplit=1)[0])
    result = run(project)
    result.stdout.fnmatch_lines([f"unused baselines, *: {CASE}-random"])
