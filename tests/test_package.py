"""The package: a wheel holds what the commands need, and what is said of versions in several places agrees."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [
    Requirement(text)
    for texts in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in texts
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("dist")
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_a_wheel_holds_every_file_of_the_package_the_suite_the_baselines_and_the_licence(wheel: Path) -> None:
    found = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    own = {path for path in (ROOT / "prunebench").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    suite = {ROOT / "benchmarks" / f"{name}.py" for name in ("conftest", "test_runs", "test_sensitivity")}
    assert {path.relative_to(ROOT).as_posix() for path in own} <= found
    assert {f"prunebench/_bench/{path.name}" for path in suite} <= found
    assert {f"prunebench/_bench/{path.relative_to(ROOT)}" for path in (ROOT / "baselines").glob("*/*.json")} <= found
    assert {"prunebench/py.typed", f"prunebench-{PROJECT['version']}.dist-info/licenses/LICENSE"} <= found


def test_bench_of_a_wheel_finds_its_own_suite_and_passes_options_on(wheel: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-m", "prunebench.cli", "bench", "-k", "run3 or sensitivity", "--collect-only"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert 0 == done.returncode, done.stdout + done.stderr
    tests = {"test_pruning[run3]", "test_evaluation[run3]", "test_finetuning[run3]", "test_sensitivity"}
    assert tests == set(re.findall(r"<Function (.*)>", done.stdout))
    assert "<Dir _bench>" in done.stdout, "not that of the checkout"


def test_the_oldest_torch_of_the_sessions_is_the_lower_bound() -> None:
    pytest.importorskip("nox")
    versions = runpy.run_path(str(ROOT / "noxfile.py"))["TORCH"]
    assert list(versions) == sorted(versions, key=lambda version: tuple(map(int, version.split("."))))
    bounds = {each.name: str(each.specifier) for each in REQUIREMENTS}
    torch, torchvision = next(iter(versions.items()))
    assert (f">={torch}", f">={torchvision}") == (bounds["torch"], bounds["torchvision"])


def test_what_ci_installs_is_allowed_and_each_requirement_has_a_lower_bound() -> None:
    lines = (ROOT / ".ci/constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    for each in REQUIREMENTS:
        assert each.name == "prunebench" or ">=" in str(each.specifier), each
        assert (version := pinned.get(canonicalize_name(each.name))) is None or version in each.specifier, each


def test_the_citation_is_of_this_version() -> None:
    assert f"version: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
