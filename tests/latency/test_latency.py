"""Sides live in processes of their own and take turns; what is measured is kept raw. No time is asserted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from prunebench.cli import main
from prunebench.documented.runs import RUNTIMES
from prunebench.errors import LatencyError, MissingExtraError
from prunebench.latency import measure, side
from prunebench.latency.measure import compare_latency
from prunebench.models import build_model, save_state
from prunebench.report.latency import costs_table, latency_note, latency_table
from prunebench.storage.documents import read_document, verified

INPUTS = torch.rand(4, 6)


def linear(width: int = 6) -> nn.Module:
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 2))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 3)
    monkeypatch.setattr(measure, "TURN_SECONDS", 1e-6)


def test_every_runtime_that_can_be_asked_for_has_a_side() -> None:
    assert [*RUNTIMES] == [*side.RUNTIMES]


@pytest.mark.parametrize("runtime", ["eager", "onnx"])
def test_two_models_are_timed_in_processes_and_the_record_is_raw(runtime: str, tmp_path: Path) -> None:
    launches: list[tuple[int, int]] = []
    found = compare_latency(
        linear(), linear(3), INPUTS, runtimes=[runtime], batches=[4, 1], threads=1, launches=8,
        told=lambda done, total: launches.append((done, total)),
    )  # fmt: skip
    assert [(done, 8) for done in range(1, 9)] == launches
    assert [(runtime, 1), (runtime, 4)] == [(each.runtime, each.batch) for each in found.timings]
    for each in found.timings:
        for seconds in (each.seconds_a, each.seconds_b):
            assert [2 * measure.ROUNDS] * 8 == [len(launch) for launch in seconds]
            assert min(map(min, seconds)) > 0
        assert each.peak_bytes_a > 2**20
    assert (54, 48, 29, 24) == (found.a.macs + 6, found.a.macs, found.b.elements, found.b.macs)
    found.write(tmp_path / "times.json")
    content = verified(read_document(tmp_path / "times.json"), path=tmp_path / "times.json", newest=1)
    assert found.timings[0].seconds_a == content["comparisons"][0]["seconds_a"]


def test_tables_fit_80_columns() -> None:
    figures = [[0.0123, 0.0123, 0.0125, 0.0125, 0.0125, 0.0125]] * 8
    timing = measure.Timing(
        runtime="compile", batch=4096, seconds_a=figures, seconds_b=figures, peak_bytes_a=2**30, peak_bytes_b=2**30
    )
    costs = measure.Costs(
        name="vgg-pruned-finetuned-best.safetensors", elements=9_228_362, nonzeros=1, weight_bytes=2**25,
        macs=605_754_368, moved_bytes=2**26,
    )  # fmt: skip
    found = measure.LatencyComparison(
        a=costs, b=costs, timings=(timing,), threads=2, environment={"cpu": "a", "torch": "2"}
    )
    text = f"{costs_table(found)}\n{latency_table(found)}"
    assert 80 >= max(map(len, text.splitlines()))
    assert "no faster (1.00 to 1.00)" in text
    assert "99 %, of 8 pairs of processes" in latency_note(found)


def test_the_sides_begin_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A B B A, then B A A B; the next launch begins with the other."""
    turns: list[str] = []

    class Here:
        def __init__(self, stack: object, path: Path, *_: object) -> None:
            self.name = path.name

        def warm_up(self, batch: int) -> float:
            return 1.0

        def turn(self, batch: int, calls: int) -> list[float]:
            turns.append(self.name)
            return [2.0 if self.name == "a" else 1.0] * calls

        def peak(self) -> int:
            return 1

    monkeypatch.setattr(measure, "_Process", Here)
    found = compare_latency(linear(), linear(), INPUTS, threads=1, launches=8)
    assert 4 * ("abbabaababba" + "baababbabaab") == "".join(turns)
    assert 2 == pytest.approx(found.timings[0].ratio.estimate)


class Failing(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        if not torch.is_inference_mode_enabled():
            return super().forward(inputs)
        raise ValueError("no\nmore")


def test_a_model_that_fails_in_its_process_is_told_in_one_line() -> None:
    with pytest.raises(LatencyError, match=r"^the model fails in eager: ValueError: no$"):
        compare_latency(linear(), Failing(6, 2), INPUTS, threads=1, launches=8)


def test_a_model_that_cannot_be_sent_is_told_in_one_line() -> None:
    class Local(nn.Linear): ...

    with pytest.raises(LatencyError, match="cannot be sent to a process of its own"):
        compare_latency(Local(6, 2), linear(), INPUTS, threads=1, launches=8)


def test_without_the_extra_onnx_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'prunebench\[export\]'"):
        compare_latency(linear(), linear(), INPUTS, runtimes=["onnx"], threads=1, launches=8)


def test_the_peak_is_of_this_process_alone() -> None:
    assert 2**20 < side.peak_bytes() < 2**40


def test_the_command_prints_a_verdict_and_writes_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        save_state(build_model("vit", {"width": 16, "depth": 1}).state_dict(), tmp_path / f"{name}.safetensors")
    (tmp_path / "prunebench.toml").write_text(
        '[workload.mine]\nmodel = "prunebench:vit"\nmodel_arguments = { width = 16, depth = 1 }\n'
        'data = "prunebench:digits"\n[workload.mine.recipe.quick]\nepochs = 1\nlearning_rate = 0.01\n'
    )
    arguments = ["latency", "a.safetensors", "b.safetensors", "--batch", "2", "--threads", "1", "--launches", "8"]
    done = CliRunner().invoke(main, [*arguments, "--json", "times.json"])
    assert 0 == done.exit_code, done.output
    assert "A: a.safetensors" in done.stdout
    assert 1 == len(json.loads(Path("times.json").read_text())["comparisons"])
    done = CliRunner().invoke(main, [*arguments, "--runtime", "eager,tvm"])
    assert (2, True) == (done.exit_code, "expected some of eager, compile, onnx" in done.stderr)
