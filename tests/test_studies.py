"""Every study of benchmarks/studies runs from its options to its table, on little."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
import torch
from record_factory import make_record
from torch import nn

from prunebench.data import Augmentation, Dataset, Examples
from prunebench.documented.runs import DocumentedRun
from prunebench.experiments.executors import Executor, Job
from prunebench.experiments.study import read_study
from prunebench.models import save_state
from prunebench.records import keep_record
from prunebench.sensitivity import sensitivity_scan, write_scan
from prunebench.training import Recipe
from prunebench.workloads import BUILT_IN, DENSE, Workload

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "benchmarks" / "studies"
SPARSITY = {"0.weight": 0.3, "3.weight": 0.5, "6.weight": 0.0}
RUN = DocumentedRun(name="run3", model="small", sparsity=SPARSITY, source="made here")


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10),
    )  # fmt: skip


def images(count: int) -> Examples:
    pixels = torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(count), dtype=torch.uint8)
    return Examples(pixels.contiguous(memory_format=torch.channels_last), torch.arange(count) % 10)


DATA = Dataset(name="small", train=images(60), test=images(50), classes=tuple("abcdefghij"), origin="made here")
RECIPE = Recipe(epochs=1, batch_size=20, learning_rate=0.05, augmentation=Augmentation(crop_padding=1))


class Small(Workload):
    name = "small"
    model = "small"
    recipes = MappingProxyType({"quick": RECIPE, DENSE: RECIPE})
    trains_itself = True

    def build(self) -> nn.Module:
        return small()

    def data(self, source: Path | None = None, progress: Any = None) -> Dataset:
        """As of a data set that has to be decoded."""
        if progress is not None:
            progress(10)
        return DATA


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Iterator[Path]:
    """A folder with a scan and a checkpoint; records are kept in it."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = small()
    save_state(model.state_dict(), Path("small.safetensors"))
    for mode in ("exact", "adaptive"):
        scan = sensitivity_scan(model, DATA.test, sparsities=(0.5, 0.9), mode=mode, model_name="small")
        write_scan(scan, Path(f"{mode}.json"))
    for seed in range(3):
        keep_record(make_record(seed=seed), Path("records"))
    yield tmp_path
    torch.set_num_threads(1)


def said(name: str, *arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    importlib.import_module(name).main()
    return capsys.readouterr().out


def here(_: Executor, jobs: Iterable[Job]) -> Iterator[Any]:
    """Each job in this process: others have the workloads that the study names."""
    return (job() for job in jobs)


def on_little(study: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small workload and run in the place of those that the study names."""
    monkeypatch.setattr(study, "find_workload", lambda name: Small())
    for attribute, value in (("find_run", lambda name: RUN), ("RUNS", {"run3": RUN}), ("in_order", here)):
        if hasattr(study, attribute):
            monkeypatch.setattr(study, attribute, value)


SMOKE = [
    ("aa", ["--models", "12", "--simulations", "3"], "nothing got worse"),
    ("power", ["--models", "3", "--simulations", "10"], "seeds a side"),
    ("floors", ["--workload", "small", "--seeds", "2"], "floor"),
    (
        "method_floors",
        ["--workload", "digits-vit", "--only", "magnitude", "--seeds", "2", "--output", "floors.json"],
        "digits-vit/magnitude-0.95",
    ),
    (
        "plan_scores",
        ["run3", "--checkpoint", "small.safetensors", "--tables", "3", "--images", "20"],
        "smooth accuracy",
    ),
    ("scan_work", ["exact.json", "adaptive.json"], "of the work"),
    ("adaptive_scans", ["exact.json", "adaptive.json", "--repeats", "2"], "highest within 1 points"),
    ("scan_memory", ["--batch", "2"], "MiB above"),
    ("evidence_memory", ["taylor", "--examples", "2"], "MiB above"),
    ("signatures", ["records"], "digits/quick"),
    ("shapes_picture", ["shapes.png"], "disc"),
    ("study_scale", ["records", "--runs", "400", "--workers", "50"], "study export"),
    ("times", ["--pairs", "1"], "quiet, then bursts"),
    ("bisections", ["--histories", "1", "--commits", "8", "--images", "2000"], "evaluations"),
    ("shrunk_answers", ["lstm", "--inputs", "20"], "55 + 7,084"),
    ("latency", ["--comparisons", "1", "--launches", "8"], "the same model twice"),
    (
        "what_pruning_buys",
        ["--prune", "channel=0.5", "--runtimes", "eager", "--batches", "1", "--launches", "8", "--json", "buys.jsonl"],
        "channel=0.5",
    ),
    ("criteria_by_allocations", ["run3", "--examples", "20"], "dense"),
    ("criteria_times", ["--rounds", "1", "--examples", "2"], "of one pass"),
    ("rewinding", ["--rounds", "3", "--images", "32", "--seeds", "1"], "learning-rate-rewinding"),
    ("adaptive_speed", ["--precision", "fp32"], "times as fast"),
    ("study_kills", ["--kills", "1", "--seeds", "1", "--step", "0.02", "--only", "processes", "--seed", "4"], "twice"),
    ("study_overhead", ["--workload", "small", "--runs", "total = 0.5", "--only", "one process"], "0 of 3"),
]


@pytest.mark.parametrize(("name", "arguments", "printed"), SMOKE, ids=[name for name, *_ in SMOKE])
def test_a_study_prints_its_table(
    name: str,
    arguments: list[str],
    printed: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = importlib.import_module(name)
    if hasattr(study, "find_workload"):
        on_little(study, monkeypatch)
    if name == "times":  # a process each, of seconds
        record = study.Seconds(prune=[0.1] * 10, evaluate=[0.1] * 3)
        monkeypatch.setattr(study, "_one", lambda: record)
        monkeypatch.setattr(study, "BURST_SECONDS", (0.001, 0.002))
    if name == "criteria_times":
        monkeypatch.setattr(study, "build_model", lambda name: small())
        first = replace(RUN, sparsity=dict.fromkeys(SPARSITY, 0.0) | {"0.weight": 0.5})  # which batch norm follows
        monkeypatch.setattr(study, "RUNS", {"run3": first})
    if name.startswith("study_"):  # which set them
        monkeypatch.setenv("PRUNEBENCH_CACHE", "cache")
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if name == "adaptive_speed":
        speed_on_little(study, monkeypatch)
    assert printed in said(name, *arguments, capsys=capsys, monkeypatch=monkeypatch)


def speed_on_little(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which has the small network."""

    class Here:
        def __init__(self, stack: object) -> None: ...

        def run(self, process: str, job: Any, round_: int = 0, settings: Any = None) -> tuple[float, float, Any]:
            return 1.0, 1.0, job(round_, **(settings or {}))()

    material = study.jobs.Material(name="small", test=DATA.test, train=DATA.train, state={})
    monkeypatch.setattr(study, "Sides", Here)
    monkeypatch.setattr(study.jobs, "material", lambda: material)
    monkeypatch.setattr(study.jobs, "vgg", lambda **_: small())
    monkeypatch.setattr(study.jobs, "TABLE", SPARSITY)


def test_times_of_one_record_are_what_the_study_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    study: Any = importlib.import_module("times")
    on_little(study, monkeypatch)
    monkeypatch.setattr(study, "build_model", lambda name: small())
    assert study.one_record().evaluate


READY = sorted(STUDIES.glob("*.toml"))


@pytest.mark.parametrize("path", READY, ids=[path.stem for path in READY])
def test_a_ready_study_is_read_and_its_table_is_in_the_docs(path: Path) -> None:
    study = read_study(path)
    assert study.count > 1
    assert set(study.workloads) <= set(BUILT_IN)
    page = (ROOT / "docs/measurements/ready-studies.md").read_text(encoding="utf-8")
    assert f"prunebench study run benchmarks/studies/{path.name}" in page


def test_mutants_are_scored_by_package_and_those_that_live_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By studies/mutants, from verdicts that are kept: 7 of 9 are killed, one of them by its time."""
    names = [f"prunebench.gate.floors.x_check__mutmut_{number}" for number in range(10)]
    codes = dict.fromkeys(names, 1) | dict(zip(names, (0, 0, -24, None), strict=False))
    Path("floors.py.meta").write_text(json.dumps({"exit_code_by_key": codes}))
    monkeypatch.setattr(importlib.import_module("mutants"), "FOLDER", Path())
    printed = said("mutants", "--children", "0", capsys=capsys, monkeypatch=monkeypatch).splitlines()
    assert ["gate", "9", "6", "1", "2", "78", "45 to 94"] == [cell.strip() for cell in printed[2].strip("|").split("|")]
    assert {f"mutmut show {name}" for name in names[:2]} == set(printed[3:])


def test_no_study_is_left_out() -> None:
    """Those that have tests of their own are named there."""
    named = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    studies = {path.stem for path in STUDIES.glob("*.py") if "def main(" in path.read_text(encoding="utf-8")}
    assert set() == {name for name in studies - {name for name, *_ in SMOKE} if f"studies/{name}" not in named}
