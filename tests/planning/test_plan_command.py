"""`prunebench plan` as a user meets it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from gate.scan_documents import CONTRADICTORY, edited
from planning.scan_factory import make_scan, vgg_scan
from torch import nn

from prunebench.cli import main
from prunebench.data import Dataset, Examples
from prunebench.documented.tables import read_table
from prunebench.measure import count_macs
from prunebench.models import load_state, prunable_parameters, save_state, state_digest
from prunebench.models import registry as model_registry
from prunebench.planning import measure_on, read_plan
from prunebench.sensitivity import read_scan, write_scan
from prunebench.tasks.evaluation import evaluate
from prunebench.training import Recipe
from prunebench.workloads import BUILT_IN, ComposedWorkload

TARGET_OPTIONS = "--size, --nonzeros, --file-size or --macs"


class Tiny(nn.Module):
    """Two linear layers on 3x2x2 images."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(12, 32)
        self.output = nn.Linear(32, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.output(torch.relu(self.hidden(images.flatten(1) - 0.5)))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["plan", *(str(argument) for argument in arguments)])


def assert_one_clear_line(result: Result, *parts: str) -> None:
    assert (2, 1) == (result.exit_code, len(result.stderr.strip().splitlines())), result.output
    assert result.stderr.startswith("error: ")
    for part in parts:
        assert part in result.stderr


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.json"
    write_scan(vgg_scan(), path)
    return path


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, one_thread: None) -> Callable[..., Result]:
    """`plan` on a workload of a tiny model that is right about most of its images, with the scan of it."""
    torch.manual_seed(0)
    model = Tiny()
    sets = []
    for count in (400, 200):
        images = torch.randint(0, 256, (count, 3, 2, 2), dtype=torch.uint8)
        labels = model(images.float() / 255).argmax(dim=1)
        labels[: count // 20] = (labels[: count // 20] + 1) % 4
        sets.append(Examples(images, labels))
    data = Dataset(name="tiny", train=sets[0], test=sets[1], classes=tuple("abcd"), origin="made up")
    quick = Recipe(epochs=1, batch_size=64, learning_rate=0.01)
    workload = ComposedWorkload(
        name="tiny", builder="tiny-plan", load=lambda _path, _progress: data, recipes={"quick": quick}
    )
    monkeypatch.setattr(model_registry, "OWN", {**model_registry.OWN, "tiny-plan": Tiny})
    monkeypatch.setitem(BUILT_IN, "tiny", workload)
    save_state(model.state_dict(), tmp_path / "tiny.safetensors")
    weights = prunable_parameters(model)
    zeros = dict.fromkeys(weights, 0.0)
    measure = measure_on(model, data.train)
    grid = (0.2, 0.4, 0.6, 0.8, 0.95)
    scan = make_scan(
        {name: tuple(weight.shape) for name, weight in weights.items()},
        {name: {s: measure({**zeros, name: s}).accuracy for s in grid} for name in weights},
        base=evaluate(model, data.train).accuracy,
        macs=count_macs(model, (3, 2, 2)),
        others=36,
        model="tiny-plan",
    )
    write_scan(
        scan.model_copy(update={"model_digest": state_digest(model.state_dict())}),
        tmp_path / "tiny.json",
    )
    common = ("--workload", "tiny", "--checkpoint", tmp_path / "tiny.safetensors")
    return lambda *arguments: call("--scan", tmp_path / "tiny.json", *common, *arguments)


# Plans from a scan


def test_a_plan_at_the_size_of_run3_runs_and_lints(scan_file: Path, tmp_path: Path) -> None:
    result = call("--scan", scan_file, "--nonzeros", 2_710_807, "--output", tmp_path / "mine.toml")
    assert 0 == result.exit_code, result.output
    assert len(read_table(tmp_path / "mine.toml").sparsity) == 9
    assert ["nominal", "size,", "MiB", "10.34", "35.20", "29.37"] in [
        line.split() for line in result.output.splitlines()
    ]
    assert "--rule optimal --nonzeros 2710807" in (tmp_path / "mine.toml").read_text()
    lint = CliRunner().invoke(main, ["lint", str(tmp_path / "mine.toml")])
    assert (0, True) == (lint.exit_code, "29.37" in lint.output)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-drop", 10, "--cost", "macs"],
        ["--file-size", 30],
        ["--rule", "documented", "--max-drop", 3],
        ["--rule", "documented", "--max-drop", 5, "--size", 30],
        ["--rule", "compounding", "--max-drop", 3, "--previous", "run1"],
        ["--rule", "erk", "--nonzeros", 807_150],
        ["--rule", "uniform", "--macs", 20],
        ["--size", 1, "--extrapolate", "--step", 0.05],
    ],
)
def test_every_rule_writes_a_table_that_can_be_read(scan_file: Path, tmp_path: Path, arguments: list[object]) -> None:
    table, record = tmp_path / "table.toml", tmp_path / "plan.json"
    result = call("--scan", scan_file, *arguments, "--output", table, "--json", record)
    assert 0 == result.exit_code, result.output
    plan = read_plan(record).plan
    assert plan is not None
    assert plan.sparsity == dict(read_table(table).sparsity)
    assert f"{plan.nonzeros:,}" in result.output


def test_a_limit_that_does_not_bind_is_no_riddle(scan_file: Path) -> None:
    for size in (29, 120):
        assert "smaller --step" not in call("--scan", scan_file, "--size", size).output
    slack = call("--scan", scan_file, "--size", 75, "--step", 0.5).output
    assert "of dense where 75.00 % is allowed: by these curves no candidate sparsities in between lose less." in slack


def test_sparsities_are_not_compounded_twice(scan_file: Path, tmp_path: Path) -> None:
    compounded = tmp_path / "compounded.json"
    write_scan(read_scan(scan_file).model_copy(update={"compounding": True}), compounded)
    refused = call("--scan", compounded, "--rule", "compounding", "--max-drop", 3)
    assert_one_clear_line(refused, "compounded already", "--rule documented")
    assert 0 == call("--scan", compounded, "--rule", "documented", "--max-drop", 3).exit_code


def test_a_size_out_of_reach_is_one_line_with_what_can_be_reached(scan_file: Path) -> None:
    result = call("--scan", scan_file, "--size", 2)
    assert_one_clear_line(result, "size 2.00 % of dense cannot be met", "allow is 2.06 %", "scan higher sparsities")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--size", 30], ["--rule optimal", "--scan FILE"]),
        (["--scan", "absent.json", "--size", 30], ["absent.json"]),
        (["--scan", "SCAN"], ["either --max-drop or one of", TARGET_OPTIONS]),
        (["--scan", "SCAN", "--size", 30, "--max-drop", 1], ["either --max-drop or one of"]),
        (["--scan", "SCAN", "--size", 30, "--macs", 1], ["only one of"]),
        (["--scan", "SCAN", "--size", -1], ["-1"]),
        (["--scan", "SCAN", "--size", "nan"], ["finite", "nan"]),
        (["--scan", "SCAN", "--rule", "documented", "--max-drop", "nan"], ["finite", "nan"]),
        (["--scan", "SCAN", "--size", 30, "--caution", "inf"], ["finite", "inf"]),
        (["--scan", "SCAN", "--size", 30, "--json", "SCAN"], ["--json would overwrite", "scan.json'"]),
        (["--scan", "SCAN", "--size", 30, "--output", "SCAN"], ["--output would overwrite", "scan.json'"]),
        (["--rule", "erk", "--size", 30, "--checkpoint", "SCAN", "--output", "SCAN"], ["--output would overwrite"]),
        (["--scan", "SCAN", "--size", 30, "--output", "x", "--json", "./x"], ["--output and --json would both write"]),
        (["--scan", "SCAN", "--size", 30, "--step", 0], ["'--step'", "0.001<=x<=0.5"]),
        (["--scan", "SCAN", "--size", 30, "--step", "1e-7"], ["'--step'", "1e-07", "0.001<=x<=0.5"]),
        (["--scan", "SCAN", "--max-drop", 5, "--step", "1e-320"], ["'--step'", "0.001<=x<=0.5"]),
        (["--scan", "SCAN", "--max-drop", 5, "--step", "nan"], ["'--step'", "finite"]),
        (["--scan", "SCAN", "--nonzeros", 10**400], ["'--nonzeros'", "0<=x<=9223372036854775807"]),
        (["--scan", "SCAN", "--rule", "documented", "--size", 30], ["needs --max-drop"]),
        (["--scan", "SCAN", "--rule", "compounding", "--max-drop", 1, "--size", 9], ["takes no target"]),
        (["--scan", "SCAN", "--rule", "compounding", "--max-drop", 1, "--previous", "run9"], ["unknown run 'run9'"]),
        (["--scan", "SCAN", "--rule", "erk", "--max-drop", 1], ["--rule erk needs one of", TARGET_OPTIONS]),
        (["--scan", "SCAN", "--rule", "erk", "--nonzeros", 5], ["cannot be had"]),
        (["--scan", "SCAN", "--rule", "best", "--size", 30], ["unknown rule 'best'", "optimal"]),
        (["--scan", "SCAN", "--size", 30, "--previous", "run1"], ["--previous is for --rule compounding"]),
        (["--rule", "erk", "--size", 30, "--search", 5], ["--search", "neither --rule nor --max-drop"]),
        (["--scan", "SCAN", "--max-drop", 3, "--search", 5], ["--search", "one of", TARGET_OPTIONS]),
        (["--scan", "SCAN", "--size", 30, "--finetune"], ["--finetune", "--measure or --search"]),
        (["--scan", "SCAN", "--size", 0.2937], ["'--size'", "expected percent: 29.37 for 0.2937, or 0.2937% if"]),
        (["--scan", "SCAN", "--macs", "0.5"], ["'--macs'", "expected percent: 50 for 0.5"]),
        (["--scan", "SCAN", "--size", "0.5%"], ["size 0.50 % of dense cannot be met"]),
        (["--scan", "SCAN", "--size", 30, "--measure", "--workload", "none"], ["unknown workload 'none'"]),
        (["--scan", "SCAN", "--size", 30, "--output", "/proc/none/t.toml"], ["cannot write"]),
    ],
)
def test_bad_input_is_one_line(scan_file: Path, arguments: list[object], parts: list[str]) -> None:
    before = scan_file.read_bytes()
    result = call(*(scan_file if argument == "SCAN" else argument for argument in arguments))
    assert_one_clear_line(result, *parts)
    assert before == scan_file.read_bytes()


def test_help_imports_no_torch_and_names_the_rules() -> None:
    """In a process of its own: this one has torch already."""
    script = """
import sys
from prunebench.cli import main
main(["plan", "--help"], standalone_mode=False)
assert "torch" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (0, "") == (result.returncode, result.stderr)
    assert all(rule in result.stdout for rule in ("optimal", "documented", "erk", "lamp"))


# Plans that are measured


@pytest.mark.parametrize("rule", ["uniform", "global", "global_normalized", "erk", "lamp"])
def test_allocators_need_no_scan(tiny: Callable[..., Result], tmp_path: Path, rule: str) -> None:
    arguments = ("--workload", "tiny", "--checkpoint", tmp_path / "tiny.safetensors", "--json", tmp_path / "p.json")
    result = call("--rule", rule, "--nonzeros", 300, "--measure", *arguments)
    assert 0 == result.exit_code, result.output
    record = read_plan(tmp_path / "p.json")
    assert record.plan is not None
    assert 300 == record.plan.nonzeros
    assert record.reported is not None


@pytest.mark.parametrize("options", [("--rule", "global"), ("--rule", "lamp"), ("--rule", "erk"), ("--search", 4)])
def test_layers_that_the_workload_keeps_dense_stay_dense(
    tiny: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[object, ...]
) -> None:
    monkeypatch.setitem(BUILT_IN, "tiny", replace(BUILT_IN["tiny"], keep_dense=("output.weight",)))
    model = ("--workload", "tiny", "--checkpoint", tmp_path / "tiny.safetensors", "--json", tmp_path / "p.json")
    result = call("--nonzeros", 300, *options, *model)
    assert 0 == result.exit_code, result.output
    plan = read_plan(tmp_path / "p.json").plan
    assert plan is not None
    assert (300, 0.0) == (plan.nonzeros, plan.sparsity["output.weight"])


def test_predicted_stands_beside_measured(tiny: Callable[..., Result]) -> None:
    result = tiny("--size", 50, "--measure")
    assert 0 == result.exit_code, result.output
    assert "measured - predicted" in result.output
    assert "200 test images" in result.output


def test_a_plan_that_is_measured_to_lose_more_than_asked_says_so(tiny: Callable[..., Result], tmp_path: Path) -> None:
    scan = read_scan(tmp_path / "tiny.json")
    flat = [point.model_copy(update={"accuracy": scan.base_accuracy, "lost": 0, "gained": 0}) for point in scan.points]
    write_scan(scan.model_copy(update={"points": flat}), tmp_path / "tiny.json")
    unmeasured = tiny("--max-drop", 1)
    assert 0 == unmeasured.exit_code, unmeasured.output
    assert "as if layers did not disturb one another" in unmeasured.output
    result = tiny("--max-drop", 1, "--measure")
    assert 1 == result.exit_code, result.output
    assert "points, more than the 1 of --max-drop." in result.output


def test_images_that_plans_were_chosen_by_are_not_reported(tiny: Callable[..., Result]) -> None:
    result = tiny("--size", 50, "--search", 2, "--choose-on", "test", "--images", 80)
    assert 0 == result.exit_code, result.output
    assert "Measured on 80 test images" in result.output
    assert "120 test images" in result.output


def test_a_search_keeps_its_trials_and_goes_on_from_them(tiny: Callable[..., Result], tmp_path: Path) -> None:
    arguments = ("--size", 40, "--search", 4, "--images", 100, "--json", tmp_path / "r.json")
    first = tiny(*arguments, "--output", tmp_path / "t.toml")
    assert 0 == first.exit_code, first.output
    record = read_plan(tmp_path / "r.json")
    assert ["base", "start", "start", "start"] == [trial.kind for trial in record.trials[:4]]
    assert first.stderr.count("nonzeros") == len({tuple(trial.sparsity.items()) for trial in record.trials})
    assert record.plan is not None
    assert "search" == record.plan.rule
    again = tiny(*arguments)
    assert (0, 0) == (again.exit_code, again.stderr.count("nonzeros"))
    assert record == read_plan(tmp_path / "r.json")
    other = tiny("--size", 60, "--search", 1, "--images", 100, "--json", tmp_path / "r.json")
    assert 0 == other.exit_code, other.output
    assert record.trials == read_plan(tmp_path / "r.json").trials[: len(record.trials)]


def test_a_search_needs_no_scan(tiny: Callable[..., Result], tmp_path: Path) -> None:
    model = ("--workload", "tiny", "--checkpoint", tmp_path / "tiny.safetensors", "--json", tmp_path / "r.json")
    result = call("--nonzeros", 300, "--search", 3, *model)
    assert 0 == result.exit_code, result.output
    record = read_plan(tmp_path / "r.json")
    assert ["base", "start", "start"] == [trial.kind for trial in record.trials[:3]]
    assert record.plan is not None
    assert 300 >= record.plan.nonzeros


def test_the_table_that_was_pruned_by_is_not_overwritten(scan_file: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.toml"
    assert 0 == call("--scan", scan_file, "--size", 30, "--output", table).exit_code
    before = table.read_text()
    arguments = ("--rule", "compounding", "--max-drop", 1, "--previous", table)
    assert_one_clear_line(call("--scan", scan_file, *arguments, "--output", table), "--output would overwrite")
    assert before == table.read_text()


def test_a_device_may_be_named_twice(scan_file: Path) -> None:
    assert 0 == call("--scan", scan_file, "--size", 30, "--output", "/dev/null", "--json", "/dev/null").exit_code


def test_a_plan_without_measurements_keeps_those_of_its_file(tiny: Callable[..., Result], tmp_path: Path) -> None:
    tiny("--size", 40, "--search", 1, "--images", 100, "--json", tmp_path / "r.json")
    before = read_plan(tmp_path / "r.json")
    assert before.trials
    done = tiny("--size", 55, "--json", tmp_path / "r.json")
    assert 0 == done.exit_code, done.output
    after = read_plan(tmp_path / "r.json")
    assert before.plan != after.plan
    assert (before.trials, before.base_digest, before.settings) == (after.trials, after.base_digest, after.settings)


def test_a_file_keeps_one_model(scan_file: Path, tiny: Callable[..., Result], tmp_path: Path) -> None:
    tiny("--size", 40, "--search", 1, "--images", 100, "--json", tmp_path / "r.json")
    before = (tmp_path / "r.json").read_bytes()
    other = call("--scan", scan_file, "--size", 40, "--json", tmp_path / "r.json", "--output", tmp_path / "t.toml")
    assert_one_clear_line(other, "of another model")
    assert not (tmp_path / "t.toml").exists()
    assert before == (tmp_path / "r.json").read_bytes()
    call("--scan", scan_file, "--size", 40, "--json", tmp_path / "new.json")
    assert read_scan(scan_file).model_digest == read_plan(tmp_path / "new.json").base_digest


def test_a_table_says_how_it_was_made(tiny: Callable[..., Result], tmp_path: Path) -> None:
    result = tiny("--size", 30, "--measure", "--finetune", "--step", 0.02, "--output", tmp_path / "t.toml")
    assert 0 == result.exit_code, result.output
    table = (tmp_path / "t.toml").read_text()
    assert "# --rule optimal --size 30 --step 0.02 --measure --finetune\n" in table
    assert ", fine-tuned " in table
    assert "--caution" not in table


def test_a_search_by_what_fine_tuning_reaches(tiny: Callable[..., Result], tmp_path: Path) -> None:
    result = tiny("--size", 30, "--search", 2, "--finetune", "--images", 100, "--json", tmp_path / "r.json")
    assert 0 == result.exit_code, result.output
    record = read_plan(tmp_path / "r.json")
    assert all((trial.kind == "base") == (trial.measured.finetuned is None) for trial in record.trials)
    assert "seed 0" in record.settings
    assert "fine-tuned" in result.output
    assert_one_clear_line(tiny("--size", 30, "--search", 1, "--json", tmp_path / "r.json"), "another file for --json")


def test_measurements_of_two_precisions_are_not_mixed(tiny: Callable[..., Result], tmp_path: Path) -> None:
    arguments = ("--size", 40, "--search", 3, "--images", 100, "--json", tmp_path / "r.json")
    result = tiny(*arguments, "--precision", "bf16", "--output", tmp_path / "t.toml")
    assert 0 == result.exit_code, result.output
    assert "bf16" in read_plan(tmp_path / "r.json").settings
    assert "--size 40 --precision bf16 --search 3" in (tmp_path / "t.toml").read_text()
    assert_one_clear_line(tiny(*arguments), "another precision", "another file for --json")


def test_a_scan_of_other_weights_is_refused(tiny: Callable[..., Result], tmp_path: Path) -> None:
    save_state(Tiny().state_dict(), tmp_path / "other.safetensors")
    result = tiny("--size", 30, "--measure", "--checkpoint", tmp_path / "other.safetensors")
    assert_one_clear_line(result, "is of other weights", "--checkpoint")


def test_a_scan_of_a_model_that_the_workload_has_not_is_refused(scan_file: Path, tiny: Callable[..., Result]) -> None:
    result = tiny("--size", 30, "--measure", "--scan", scan_file)
    assert_one_clear_line(result, "is of other layers, of a model called 'vgg'", "'tiny-plan'", "--workload")


def test_a_scan_is_known_by_its_weights_and_not_by_the_name_it_was_given(
    tiny: Callable[..., Result], tmp_path: Path
) -> None:
    write_scan(read_scan(tmp_path / "tiny.json").model_copy(update={"model": "mine"}), tmp_path / "tiny.json")
    assert 0 == tiny("--size", 30, "--measure").exit_code


def test_a_file_of_another_model_is_refused_before_anything_is_measured(
    tiny: Callable[..., Result], tmp_path: Path
) -> None:
    tiny("--size", 40, "--search", 1, "--images", 100, "--json", tmp_path / "r.json")
    save_state(Tiny().state_dict(), tmp_path / "other.safetensors")
    scan = read_scan(tmp_path / "tiny.json")
    other = state_digest(load_state(tmp_path / "other.safetensors"))
    write_scan(scan.model_copy(update={"model_digest": other}), tmp_path / "other.json")
    arguments = ("--scan", tmp_path / "other.json", "--checkpoint", tmp_path / "other.safetensors")
    result = tiny("--size", 40, "--measure", *arguments, "--json", tmp_path / "r.json", "--output", tmp_path / "t.toml")
    assert_one_clear_line(result, "of another model")
    assert not (tmp_path / "t.toml").exists()


# Scans that contradict themselves


@pytest.mark.parametrize("rule", ["optimal", "erk"])
@pytest.mark.parametrize("said", CONTRADICTORY)
def test_nothing_is_planned_by_a_scan_that_contradicts_itself(said: str, rule: str, tmp_path: Path) -> None:
    edited(tmp_path / "scan.json", **CONTRADICTORY[said])
    result = call("--rule", rule, "--size", 50, "--scan", tmp_path / "scan.json", "--output", tmp_path / "table.toml")
    assert_one_clear_line(result, "scan.json' cannot be used: the scan contradicts itself", said)
    assert not (tmp_path / "table.toml").exists()
