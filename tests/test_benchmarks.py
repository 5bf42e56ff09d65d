"""`pytest benchmarks/` as users start it: sizes and floors are asserted however pytest-benchmark is switched."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pytest_here import run_pytest
from record_factory import make_baseline

from prunebench.baselines.shelf import read_baseline, write_baseline
from prunebench.models import save_state
from prunebench.sensitivity import read_scan
from prunebench.workloads import BUILT_IN, find_workload
from prunebench.workloads.dense import own_checkpoint

pytest_plugins = ["pytester"]

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run_benchmarks(pytester: pytest.Pytester, *arguments: object, suite: Path = BENCHMARKS) -> tuple[int, str]:
    return run_pytest(pytester, suite, "-p", "no:cacheprovider", *arguments)


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


TINY_SETTING = """
from types import SimpleNamespace
import pytest, torch
from torch import nn
from prunebench.data import load_digits
from prunebench.workloads import BUILT_IN, find_workload
from prunebench.workloads.dense import own_checkpoint

@pytest.fixture(scope="session")
def setting():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10))
    workload = BUILT_IN["digits"]
    dense = SimpleNamespace(model=model, origin="tiny.safetensors")
    return SimpleNamespace(workload=workload, recipe_name="quick", data=load_digits(), dense=dense)
"""


@pytest.fixture
def tiny_suite(tmp_path: Path) -> Path:
    """The benchmark of sensitivity on a network of 278 weights."""
    suite = tmp_path / "suite"
    (suite / "tiny").mkdir(parents=True)
    (suite / "pytest.ini").write_text("[pytest]\n")
    shutil.copy(BENCHMARKS / "conftest.py", suite)
    shutil.copy(BENCHMARKS / "test_sensitivity.py", suite / "tiny")
    (suite / "tiny" / "conftest.py").write_text(TINY_SETTING)
    return suite


def test_sensitivity_is_shown_and_gated_with_a_baseline_and_without(
    tiny_suite: Path, pytester: pytest.Pytester
) -> None:
    code, printed = run_benchmarks(pytester, "--benchmark-save=here", suite=tiny_suite)
    assert 0 == code, printed
    assert "NO_BASELINE  digits/scan-vgg-400" in printed
    assert "sensitivity of" in printed
    assert 1 == sum(
        ["layer", "elements", "is", "0.5", "0.7", "0.9", "worst", "drop"] == line.split()
        for line in printed.splitlines()
    )
    (saved,) = Path(".benchmarks").rglob("*_here.json")
    content = json.loads(saved.read_text())
    (benchmark,) = content["benchmarks"]
    assert (400, 6) == (benchmark["extra_info"]["images"], benchmark["extra_info"]["points"])
    assert {"digits/scan-vgg-400": "NO_BASELINE"} == content["prunebench"]
    (kept,) = (tiny_suite / ".prunebench" / "records").iterdir()
    scan = read_scan(kept)
    write_baseline(make_baseline(scan), tiny_suite / "baselines")
    # Without times: a scan of milliseconds on a busy machine takes half as long again, which is INCONCLUSIVE.
    judged = ("--benchmark-disable", "--prunebench-strict=yes", "--prunebench-times=no")
    code, printed = run_benchmarks(pytester, *judged, suite=tiny_suite)
    assert 0 == code, printed
    assert "7 of 7 checks passed, 1 case" in printed

    everything_right = base64.b64encode(np.packbits(np.ones(400, dtype=bool)).tobytes()).decode("ascii")
    point = scan.points[0].model_copy(
        update={
            "correct": 400,
            "correct_bits": everything_right,
            "lost": 0,
            "gained": 400 - scan.base_correct,
            "accuracy": 100.0,
            "low": 100.0,
            "high": 100.0,
        }
    )
    better = scan.model_copy(update={"points": [point, *scan.points[1:]]})
    write_baseline(make_baseline(better), tiny_suite / "baselines")
    code, printed = run_benchmarks(pytester, "--benchmark-disable", suite=tiny_suite)
    assert 1 == code, printed
    assert "1 of 8 checks of digits/scan-vgg-400 failed" in printed
    said = " ".join(printed.split())
    assert f"FAIL digits/scan-vgg-400 Accuracy with {point.layer} pruned to sparsity 0.5 fell by " in said


@pytest.mark.parametrize("switch", [[], ["--benchmark-disable"], ["--benchmark-save=here"]])
def test_a_wrong_size_fails_with_benchmarking_on_off_or_saved(
    switch: list[str], wrong_table: Path, untrained_checkpoint: Path, pytester: pytest.Pytester
) -> None:
    chosen = ["-k", "test_evaluation and (run1 or wrong)"]
    options = ["--workload", "digits", "--checkpoint", untrained_checkpoint, "--table", wrong_table]
    options += ["--test-images", 20]
    code, printed = run_benchmarks(pytester, *chosen, *options, *switch)
    assert 1 == code, printed
    assert "1 failed, 1 passed" in printed
    said = " ".join(printed.split())
    assert "Size: 15.8534 MiB. Promised: at least 15.8550, at most 15.8650 (documented 15.86, within 0.005" in said
    assert "Look closer with 'prunebench check' and 'prunebench run RUN --no-finetune'" in said


def test_a_saved_benchmark_carries_sizes(untrained_checkpoint: Path, pytester: pytest.Pytester) -> None:
    options = ["--checkpoint", untrained_checkpoint, "--benchmark-save=here", "-k", "test_pruning and run5"]
    options += ["--workload", "digits", "--test-images", 20]
    code, printed = run_benchmarks(pytester, *options)
    assert 0 == code, printed
    (saved,) = Path(".benchmarks").rglob("*_here.json")
    (benchmark,) = json.loads(saved.read_text())["benchmarks"]
    assert ("test_pruning[run5]", 32 * 807_150) == (benchmark["name"], benchmark["extra_info"]["size_bits"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workload", "imagenet"], "unknown workload 'imagenet'"),
        (["--recipe", "huge"], "unknown recipe 'huge'"),
        (["--table", "absent.toml"], "cannot read the table 'absent.toml'"),
        (["--checkpoint", "absent.pth"], "no checkpoint at 'absent.pth'"),
        (["--workload", "digits", "--test-images", 601], "test images must be between 1 and 600, got 601"),
    ],
)
def test_bad_options_are_one_line_and_not_a_traceback(
    arguments: list[str], message: str, pytester: pytest.Pytester
) -> None:
    code, printed = run_benchmarks(pytester, *arguments, "-k", "test_pruning and run1")
    assert code in {2, 4}, printed
    assert message in printed
    assert "Traceback" not in printed


def test_a_run_of_another_model_is_one_line_and_not_a_traceback(pytester: pytest.Pytester) -> None:
    workload = BUILT_IN["digits-vit"]
    save_state(workload.build().state_dict(), Path("vit.safetensors"))
    options = ["--workload", workload.name, "--checkpoint", "vit.safetensors"]
    code, printed = run_benchmarks(pytester, *options, "-k", "test_pruning and run1")
    assert 1 == code, printed
    assert "\nerror: unknown layer 'backbone.conv0.weight'" in printed
    assert "During handling" not in printed


@pytest.mark.parametrize(
    ("asked", "collected"), [((), False), ((BENCHMARKS / "speed",), True), ((BENCHMARKS / "test_runs.py",), False)]
)
def test_speed_comparisons_run_only_when_asked_for_by_path(
    asked: tuple[Path, ...], collected: bool, pytester: pytest.Pytester
) -> None:
    code, printed = run_pytest(pytester, "--collect-only", "-q", "-p", "no:cacheprovider", *(asked or (BENCHMARKS,)))
    assert 0 == code, printed
    assert collected == ("test_speed[" in printed)


@pytest.mark.parametrize("name", ["digits", "shapes"])
def test_baselines_are_of_the_dense_model_that_is_trained_here(name: str) -> None:
    """Another name would make every accuracy incomparable on every machine."""
    workload = find_workload(name)
    own = own_checkpoint(workload, workload.data()).name
    kept = [read_baseline(path).record for path in sorted((BENCHMARKS.parent / "baselines" / name).glob("run*.json"))]
    assert {own} == {record.checkpoints.origin for record in kept}
