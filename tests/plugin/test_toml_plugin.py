"""`pytest prunebench.toml`: its tests are chosen, repeated, spread and saved like any others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_here import run_pytest

pytest_plugins = ["pytester"]

RunTests = Callable[..., tuple[int, str]]
NET = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
"""
DATA = """
import torch
from sklearn.datasets import load_digits

def load():
    digits = load_digits()
    images, targets = torch.tensor(digits.images).float() / 16, torch.tensor(digits.target)
    return (images[:1200], targets[:1200]), (images[1200:], targets[1200:])
"""
TOML = """
[workload.mine]
model = "toml_net:build"
data = "toml_data:load"
[workload.mine.recipe.dense]
epochs = 3
learning_rate = 0.1
[workload.mine.recipe.ci]
epochs = 1
learning_rate = 0.01
[run.half]
workload = "mine"
sparsity = 0.5
floor = { change = -50, size_percent = 60 }
[run.high]
workload = "mine"
allocation = "erk"
total = 0.9
floor = { size_percent = 1 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "toml_net.py").write_text(NET)
    (folder / "toml_data.py").write_text(DATA)
    (folder / "prunebench.toml").write_text(TOML)
    return folder


@pytest.fixture
def run_tests(folder: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> RunTests:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(folder / "cache"))
    return lambda *arguments: run_pytest(pytester, *arguments)


def test_ids_are_readable_and_a_file_that_is_not_named_is_left_alone(run_tests: RunTests) -> None:
    _, printed = run_tests("prunebench.toml", "--collect-only", "-q")
    names = [
        f"prunebench.toml::{run}::{test}" for run in ("half", "high") for test in ("size", "accuracy", "finetuned")
    ]
    assert names == [line for line in printed.splitlines() if "::" in line]
    assert "no tests" in run_tests("--collect-only", "-q")[1]


def test_one_run_passes_its_floor_and_the_other_fails_with_it_named(folder: Path, run_tests: RunTests) -> None:
    code, printed = run_tests("prunebench.toml", "--benchmark-save=first")
    assert 1 == code
    assert "2 failed, 4 passed" in printed, printed
    assert "Promised: at most 1.0000 (floor of prunebench.toml)." in " ".join(printed.split()), printed
    (saved,) = folder.glob(".benchmarks/*/*_first.json")
    names = {each["name"] for each in json.loads(saved.read_text())["benchmarks"]}
    assert {"half::accuracy", "half::finetuned", "high::accuracy", "high::finetuned"} == names
    _, again = run_tests("prunebench.toml", "--lf", "-q")
    assert "2 failed, 4 deselected" in again, again


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        (("-x", "--benchmark-disable"), "1 failed, 3 passed"),
        (("-n", "2", "-k", "half"), "3 passed"),
    ],
)
def test_options_of_pytest_mean_what_they_mean(arguments: tuple[str, ...], outcome: str, run_tests: RunTests) -> None:
    _, printed = run_tests("prunebench.toml", *arguments)
    assert outcome in printed, printed


def test_one_test_runs_alone(run_tests: RunTests) -> None:
    code, printed = run_tests("prunebench.toml::half::finetuned")
    assert (0, True) == (code, "1 passed" in printed), printed


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sparsity = 0.5", "sparsities = 0.5", "unknown key 'run.half.sparsities'"),
        ('workload = "mine"\nsparsity', 'workload = "min"\nsparsity', "unknown workload 'min'"),
    ],
)
def test_a_bad_file_is_one_line_and_no_traceback(
    folder: Path, run_tests: RunTests, old: str, new: str, said: str
) -> None:
    assert old in TOML
    bad = folder / "bad.toml"
    bad.write_text(TOML.replace(old, new))
    code, printed = run_tests("bad.toml")
    assert 2 == code
    assert said in printed, printed
    assert "Traceback" not in printed
    assert "prunebench/" not in printed


def test_a_table_of_a_pyproject_is_collected_when_it_is_named(folder: Path, run_tests: RunTests) -> None:
    text = TOML.replace("[workload", "[tool.prunebench.workload").replace("[run", "[tool.prunebench.run")
    (folder / "pyproject.toml").write_text(text)
    try:
        code, printed = run_tests("pyproject.toml", "-k", "half and size")
    finally:
        (folder / "pyproject.toml").unlink()
    assert (0, True) == (code, "1 passed" in printed), printed
