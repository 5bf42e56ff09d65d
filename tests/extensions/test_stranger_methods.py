"""A criterion and a granularity of strangers, one file each, in the library."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from extensions.test_strangers import FILES, HERE, install
from pytest_here import run_pytest
from torch import nn

import prunebench as pb
from prunebench.cli import main
from prunebench.errors import PlanError
from prunebench.pruning import criterion_names, granularity_names, known_granularity
from prunebench.records import case_id

pytest_plugins = ["pytester"]

KINDS = ("criterion", "granularity", "schedule")
TOML = (
    FILES["allocation"].partition("[run.half]")[0]
    + """[run.small]
workload = "mine"
criterion = "gradient"
granularity = "rows"
allocation = "global"
total = 0.4
pruning_schedule = { name = "one-cycle", frequency = 5 }
floor = { change = -60, size_percent = 70 }
"""
)


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in KINDS:
        install(HERE / f"stranger_{kind}", tmp_path / kind)
        monkeypatch.syspath_prepend(str(tmp_path / kind))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*(str(tmp_path / kind) for kind in KINDS), str(HERE.parents[1])]))


def model_and_data() -> tuple[nn.Module, pb.Examples]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return model, pb.Examples(torch.randn(20, 3, 6, 6), torch.randint(0, 3, (20,)))


@pytest.mark.parametrize("name", ["gradient", "stranger_criterion:Gradient"])
def test_a_criterion_prunes_scans_and_is_allocated_by(name: str) -> None:
    model, data = model_and_data()
    criterion = pb.find_criterion(name)
    evidence = pb.gather_evidence(model, data, needs=criterion.needs)
    found = pb.method_masks(
        model, data.inputs[:2], criterion=criterion, allocation="global", total=0.5, evidence=evidence
    )
    scores = torch.cat([evidence.of("gradients", name).abs().flatten() for name in ("0.weight", "4.weight")])
    kept = torch.cat([found.masks[name].flatten() for name in ("0.weight", "4.weight")])
    assert torch.equal(scores > scores.median(), kept)
    scan = pb.sensitivity_scan(model, data, sparsities=(0.5,), criterion=name, evidence=evidence)
    assert "gradient" == scan.criterion
    assert "gradient" in criterion_names()


@pytest.mark.parametrize("name", ["rows", "stranger_granularity:Rows"])
def test_a_granularity_prunes_and_is_allocated_in(name: str) -> None:
    model, data = model_and_data()
    found = pb.method_masks(
        model, data.inputs[:2], granularity=name, allocation="uniform", total=0.5, keep_dense=["4.weight"]
    )
    rows = found.masks["0.weight"].flatten(0, 2)
    assert torch.equal(rows.all(dim=1), rows.any(dim=1))
    assert (108 + 12) / 2 / 120 == found.reached
    masks = pb.prune_(model, {"0.weight": 0.5, "4.weight": 0}, granularity=name)
    assert 54 == int(masks["0.weight"].sum())
    assert "rows" in granularity_names()


@pytest.mark.usefixtures("one_thread")
def test_every_command_and_pytest_take_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "prunebench.toml").write_text(TOML)
    monkeypatch.chdir(project)
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "cache"))
    for command in (
        ["check"],
        ["run", "small", "--json", "record.json"],
        ["scan", "--criterion", "gradient", "--granularity", "rows", "--sparsities", "0.5", "--json", "scan.json"],
        ["run", "--criterion", "stranger_criterion:Gradient", "--total", "0.3", "--no-finetune", "--json", "x.json"],
        ["report", "record.json", "scan.json", "-o", "page.html"],
        ["methods"],
    ):
        done = CliRunner().invoke(main, ["--quiet", *command])
        assert 0 == done.exit_code, f"{command}: {done.output}"
    assert {"gradient", "rows", "one-cycle"} <= {line.split()[0] for line in done.output.splitlines() if line.strip()}
    record = pb.read_record("record.json")
    assert "mine/small-quick~gradient~rows~one-cycle" == case_id(record)
    assert "~gradient~rows~one-cycle" in (project / "page.html").read_text()
    code, printed = run_pytest(pytester, "prunebench.toml", "-q", "-p", "no:cacheprovider")
    assert (0, True) == (code, "3 passed" in printed), printed


def test_a_record_makes_nothing_be_imported_that_is_not_installed_by_name() -> None:
    known = known_granularity("rows")
    assert known is not None
    assert "rows" == known.name
    assert known_granularity("stranger_granularity:Rows") is None
    assert known_granularity("9:8") is None


def test_channels_cannot_be_scored_for_rows() -> None:
    model, _ = model_and_data()
    with pytest.raises(PlanError, match="expected granularity 'channel', got 'rows'"):
        pb.prune_(model, {"0.weight": 0.5, "4.weight": 0}, granularity="rows", criterion="geometric_median")
