"""`pytest benchmarks/` as users start it: sizes and floors are asserted however pytest-benchmark is switched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run_benchmarks(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", BENCHMARKS, "-p", "no:randomly", "-p", "no:cacheprovider", *arguments]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=folder, env=alone
    )


@pytest.fixture
def wrong_table(tmp_path: Path) -> Path:
    """Run 1 with a documented size that is off by one in its last digit."""
    sparsity = dict.fromkeys((f"backbone.conv{i}.weight" for i in range(8)), 0.0) | {"classifier.weight": 0.0}
    sparsity |= {"backbone.conv4.weight": 0.3, "backbone.conv5.weight": 0.6, "backbone.conv6.weight": 0.6}
    sparsity |= {"backbone.conv7.weight": 0.8}
    lines = [f'"{name}" = {value}' for name, value in sparsity.items()]
    path = tmp_path / "wrong.toml"
    path.write_text("\n".join(["size_mib = 15.86", "[sparsity]", *lines]))
    return path


@pytest.mark.parametrize("switch", [[], ["--benchmark-disable"], ["--benchmark-save=here"]])
def test_a_wrong_size_fails_with_benchmarking_on_off_or_saved(
    switch: list[str], wrong_table: Path, untrained_checkpoint: Path, tmp_path: Path
) -> None:
    chosen = ["-k", "test_evaluation and (run1 or wrong)"]
    options = ["--checkpoint", untrained_checkpoint, "--table", wrong_table]
    done = run_benchmarks(tmp_path, *chosen, *options, *switch)
    assert 1 == done.returncode, done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert "FAIL wrong: size, MiB: 15.8534, expected 15.86" in done.stdout
    assert "look closer with 'prunebench lint wrong" in done.stdout


def test_a_saved_benchmark_carries_sizes(untrained_checkpoint: Path, tmp_path: Path) -> None:
    options = ["--checkpoint", untrained_checkpoint, "--benchmark-save=here", "-k", "test_pruning and run5"]
    done = run_benchmarks(tmp_path, *options)
    assert 0 == done.returncode, done.stdout
    (saved,) = (tmp_path / ".benchmarks").rglob("*_here.json")
    (benchmark,) = json.loads(saved.read_text())["benchmarks"]
    assert ("test_pruning[run5]", 32 * 807_150) == (benchmark["name"], benchmark["extra_info"]["size_bits"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workload", "imagenet"], "unknown workload 'imagenet'"),
        (["--budget", "huge"], "unknown budget 'huge'"),
        (["--table", "absent.toml"], "cannot read the table 'absent.toml'"),
        (["--checkpoint", "absent.pth"], "no checkpoint at 'absent.pth'"),
    ],
)
def test_bad_options_are_one_line_and_not_a_traceback(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run_benchmarks(tmp_path, *arguments, "-k", "test_pruning and run1")
    assert done.returncode in {2, 4}, done.stdout
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("asked", "collected"), [((), False), ((BENCHMARKS / "speed",), True), ((BENCHMARKS / "test_runs.py",), False)]
)
def test_speed_comparisons_run_only_when_asked_for_by_path(
    asked: tuple[Path, ...], collected: bool, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *map(str, asked or (BENCHMARKS,))], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert 0 == done.returncode, done.stdout
    assert collected == ("test_speed[" in done.stdout)
