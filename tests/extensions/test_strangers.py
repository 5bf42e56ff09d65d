"""Packages of strangers, one file each, work in every command and in `pytest prunebench.toml`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pytest_here import run_pytest
from record_factory import make_record
from schedule_checks import FINAL, kept, pruner, trained

import prunebench as pb
from prunebench.cli import main
from prunebench.pruning.schedules import pruning_schedule_names
from prunebench.records import keep_record

pytest_plugins = ["pytester"]

HERE = Path(__file__).parent
MOST_LINES = 40

FILES = {
    "workload": """
[run.half]
workload = "strokes"
sparsity = { "*" = 0.5 }
floor = { change = -20, size_percent = 60 }
""",
    "model": """
[workload.mine]
model = "stranger_model:separable"
model_arguments = { width = 8 }
data = "prunebench:digits"
[workload.mine.recipe.dense]
epochs = 2
learning_rate = 0.05
[workload.mine.recipe.quick]
epochs = 1
learning_rate = 0.01
[run.half]
workload = "mine"
sparsity = { "*" = 0.5, "0.weight" = 0 }
floor = { change = -20, size_percent = 70 }
""",
    "allocation": """
[workload.mine]
model = "prunebench:vit"
model_arguments = { width = 16, depth = 1 }
data = "prunebench:digits"
keep_dense = "positions.weight"
[workload.mine.recipe.dense]
epochs = 2
learning_rate = 0.005
optimizer = "adamw"
[workload.mine.recipe.quick]
epochs = 1
learning_rate = 0.001
optimizer = "adamw"
[run.half]
workload = "mine"
allocation = "spare-first"
total = 0.5
floor = { change = -30, size_percent = 60 }
""",
}
WORKLOADS = {"workload": "strokes", "model": "mine", "allocation": "mine"}
KINDS = [*FILES]


@pytest.fixture
def folder(
    request: pytest.FixtureRequest, pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project's folder with a prunebench.toml, beside an installed package of a stranger's."""
    kind = request.param
    installed = tmp_path / "site-packages"
    install(HERE / f"stranger_{kind}", installed)
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]))
    project = tmp_path / "project"
    project.mkdir()
    (project / "prunebench.toml").write_text(FILES[kind])
    monkeypatch.chdir(project)
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("prunebench.storage.revisions._prunebench_revision", lambda _: None)  # of a dirty checkout
    return project


def install(package: Path, target: Path) -> None:
    """What an installer leaves behind: the module, and its metadata with entry points."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    shutil.copytree(package, target, ignore=shutil.ignore_patterns("pyproject.toml", "__pycache__"))
    metadata = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = project.get("entry-points", {})
    lines = [f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
             for group, names in points.items()]  # fmt: skip
    (metadata / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def command() -> Callable[..., Result]:
    def run(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(main, [*arguments])
        assert code == done.exit_code, done.output
        return done

    return run


@pytest.mark.parametrize("kind", [*KINDS, "criterion", "format", "granularity", "schedule"])
def test_a_stranger_writes_one_short_file(kind: str) -> None:
    (file,) = (HERE / f"stranger_{kind}").glob("*.py")
    assert len(file.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize(("folder", "kind"), [(kind, kind) for kind in KINDS], indirect=["folder"], ids=KINDS)
def test_every_command_takes_it(
    folder: Path, kind: str, command: Callable[..., Result], pytester: pytest.Pytester
) -> None:
    workload = ("--workload", WORKLOADS[kind])
    assert "All of this works" in command("check", *workload).output
    command("train", *workload)
    assert "checks passed" in command("run", "half").output
    command("data", *workload)
    command("scan", *workload, "--sparsities", "0.5,0.9", "--json", "scan.json")
    command("plot", "sensitivity", "scan.json", "-o", "curves.png")
    command("plan", *workload, "--scan", "scan.json", "--max-drop", "5", "--output", "optimal.toml")
    rule = "spare-first" if kind == "allocation" else "erk"
    command("plan", *workload, "--rule", rule, "--size", "60", "--measure", "--output", "table.toml")
    searched = ("--scan", "scan.json", "--size", "60", "--search", "2", "--images", "50")
    command("plan", *workload, *searched, "--output", "searched.toml")
    command("lint", "table.toml", *workload)
    command("run", "table.toml", *workload, "--save", "weights.safetensors", "--json", "record.json")
    command("plot", "weights", "weights.safetensors", *workload, "-o", "weights.svg")
    command("plot", "parameters", "record.json", "-o", "parameters.svg")
    command("plot", "frontier", "record.json", "-o", "frontier.svg")
    case = f"{WORKLOADS[kind]}/half-quick"
    assert "NO_BASELINE" in command("compare", ".prunebench/records", "--only", case, code=2).output
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "config", "user.name", "A"], check=True)
    command("baseline", "approve", ".prunebench/records", "--only", case, "--reason", "first")
    assert case in command("baseline", "list").output
    command("run", "half")
    command("compare", ".prunebench/records", "--only", case, "--no-times")
    assert sorted(["optimal.toml", "table.toml", "searched.toml"]) == sorted(
        path.name for path in folder.glob("*.toml") if path.name != "prunebench.toml"
    )
    options = ["-p", "no:cacheprovider", "--prunebench-strict=yes", "--prunebench-times=no"]
    code, printed = run_pytest(pytester, "prunebench.toml", *options)
    assert (0, True) == (code, "3 passed" in printed), printed


def test_a_report_format_of_a_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(HERE / "stranger_format", tmp_path / "site-packages")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    for record in (make_record(), make_record(run="other", finetuning=None)):
        keep_record(record, tmp_path / "records")
    for name in ("csv", "stranger_format:Csv"):
        target = tmp_path / f"{name.partition(':')[0]}.csv"
        arguments = ["report", str(tmp_path / "records"), "--format", name, "--output", str(target)]
        assert 0 == CliRunner().invoke(main, arguments).exit_code
        header, *rows = target.read_text().splitlines()
        assert ("case,status,size percent,change", 2) == (header, len(rows))


def test_a_pruning_schedule_of_a_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(HERE / "stranger_schedule", tmp_path / "site-packages")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    assert "one-cycle" in pruning_schedule_names()
    schedule = pb.find_pruning_schedule("one-cycle", {"frequency": 4})
    assert schedule == pb.find_pruning_schedule("stranger_schedule:OneCycle", {"frequency": 4})
    training = trained(pruner(schedule))
    assert [0, 4, 8, 12, 16, 17] == [change.step for change in training.trace]
    assert {name: kept(name, sparsity) for name, sparsity in FINAL.items()} == training.trace[-1].kept
