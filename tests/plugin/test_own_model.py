"""docs/own-model.md does what it says, for a model and data that are none of prunebench's."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from record_factory import make_baseline

from prunebench.baselines.collected import collect
from prunebench.baselines.scans import approved_scan, read_any_scan, write_scan_baseline
from prunebench.baselines.shelf import Approval, write_baseline
from prunebench.cli import main

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
MINE = """
import torch
from torch import nn

torch.manual_seed(0)
train_images, test_images = (torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8) for n in (300, 200))

def build():
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 2)]
    return nn.Sequential(*layers)

def answers(images):
    model = build()
    model.load_state_dict(torch.load("signnet.pth", weights_only=True))
    with torch.inference_mode():
        return model(images.float() / 255).argmax(dim=1)

train_labels, test_labels = answers(train_images), answers(test_images)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> pytest.Pytester:
    """A project with the tests of the page, in its order, and what it says is yours."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/own-model.md").read_text(encoding="utf-8"), re.DOTALL)
    *tests, planned = blocks
    assert 3 == len(tests)
    pytester.makepyfile(test_pruned="\n\n".join(tests))
    pytester.makepyfile(
        planned=f"from prunebench.documented.runs import DocumentedRun\n{planned}\nprint(sorted(RUN.sparsity))"
    )
    pytester.makepyfile(mine=MINE)
    pytester.makepyfile(mine_parts=MINE.partition("def answers")[0])
    pytester.run(
        sys.executable,
        "-c",
        "import torch; from mine_parts import build; torch.save(build().state_dict(), 'signnet.pth')",
    )
    git("init", "-q")
    git("add", "*.py", "signnet.pth")
    git("-c", "user.name=Somebody", "-c", "user.email=some@body.example", "commit", "-qm", "sign net")
    return pytester


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_the_page_works_from_the_first_record_to_a_change(project: pytest.Pytester) -> None:
    first = project.runpytest_subprocess("-p", "no:randomly", timeout=300)
    first.assert_outcomes(passed=3)
    first.stdout.fnmatch_lines(["NO_BASELINE signs/half-ci: *", "NO_BASELINE signs/scan-signnet-200: *"])
    records = project.path / ".prunebench" / "records"
    assert {"signs/half-ci", "signs/half-ci-seed1", "signs/half-ci-seed2"} == {*collect(records).records}
    for record in collect(records).records.values():
        write_baseline(make_baseline(record), project.path / "baselines")
    (scan,) = (records / "scans" / "signs").iterdir()
    for made in (*collect(records).records.values(), read_any_scan(scan)):
        assert (git("rev-parse", "HEAD"), False, "signnet") == (made.revision, made.dirty, made.model)
    for arguments in (
        ("plot", "sensitivity", scan, "-o", "s.png"),
        ("plan", "--scan", scan, "--max-drop", 2, "--output", "table.toml"),
    ):
        done = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert 0 == done.exit_code, done.output
    project.run(sys.executable, "planned.py").stdout.fnmatch_lines(["*'0.weight', '4.weight'*"])

    at = datetime.now(UTC).isoformat(timespec="seconds")
    approval = Approval(by="Somebody <some@body.example>", at=at, reason="first", replaced=None)
    write_scan_baseline(approved_scan(read_any_scan(scan), approval), project.path / "baselines")

    strict = ("-p", "no:randomly", "--prunebench-strict=yes", "--prunebench-times=no")
    project.runpytest_subprocess(*strict, timeout=300).assert_outcomes(passed=3)

    tests = project.path / "test_pruned.py"
    clean = tests.read_text()
    tests.write_text(clean.replace('"4.weight": 0.6', '"4.weight": 0.9'))
    worse = project.runpytest_subprocess(*strict, "-k", "not procedure", timeout=300)
    worse.assert_outcomes(failed=1, passed=1, deselected=1)
    worse.stdout.fnmatch_lines(["*approve * --only signs/half-ci --incomparable signs/half-ci *"])

    tests.write_text(clean)  # the tree is clean again, but was not when these were made
    git("config", "user.name", "Somebody")
    for arguments in ((records, "--only", "signs/half-ci"), (max((records / "scans" / "signs").iterdir()),)):
        refused = CliRunner().invoke(main, ["baseline", "approve", *map(str, arguments), "--reason", "worse"])
        assert (2, True) == (refused.exit_code, "made from a dirty tree" in refused.output), refused.output
