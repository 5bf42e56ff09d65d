"""Methods by name: what is asked for on the command line or in a file is what the record says and the masks obey."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest
from small_project import DATA, invoke

from prunebench.documented.method import Method
from prunebench.gate import Status, check_record, compare_records
from prunebench.planning.allocations import allocation_names
from prunebench.pruning import criterion_names
from prunebench.pruning.schedules import pruning_schedule_names
from prunebench.records import RunRecord, case_id, family, in_families, read_record

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

NET = """
from torch import nn

def build():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )
"""
TOML = """
[workload.mine]
model = "methods_net:build"
data = "small_data:load"
keep_dense = ["0.weight"]
[workload.mine.recipe.dense]
epochs = 2
learning_rate = 0.1
[workload.mine.recipe.ci]
epochs = 2
learning_rate = 0.01
batch_size = 30
[run.gradual]
workload = "mine"
criterion = "wanda"
allocation = "global"
total = 0.6
pruning_schedule = { name = "gradual", end = 0.4 }
evidence_examples = 50
[run.half]
workload = "mine"
sparsity = 0.5
"""
ELEMENTS = {"0.weight": 72, "3.weight": 576, "6.weight": 5120}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "methods_net.py").write_text(NET)
    (tmp_path / "small_data.py").write_text(DATA)
    (tmp_path / "prunebench.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record_of(*arguments: str) -> RunRecord:
    invoke("run", *arguments, "--json", "record.json")
    record = read_record("record.json")
    assert Status.FAIL not in {verdict.status for verdict in check_record(record)}
    return record


@pytest.mark.parametrize("criterion", ["random", "taylor", "snip", "fisher", "wanda", "movement"])
def test_every_criterion_of_elements_prunes_exactly_the_total(criterion: str) -> None:
    record = record_of("--criterion", criterion, "--allocation", "global", "--total", "0.6", "--no-finetune")
    assert sum(ELEMENTS.values()) - round(0.6 * sum(ELEMENTS.values())) == sum(each.nonzeros for each in record.layers)
    assert 72 == record.layers[0].nonzeros  # kept dense
    assert f"mine/global-0.6-ci~{criterion}-oneshot" == case_id(record)
    assert (criterion == "random") == (record.evidence is None)


@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "bn_scale", "geometric_median"])
def test_channels_go_by_any_criterion(criterion: str) -> None:
    Path("prunebench.toml").write_text(TOML.replace('keep_dense = ["0.weight"]', 'keep_dense = ["3.*", "6.*"]'))
    record = record_of("half", "--criterion", criterion, "--granularity", "channel", "--no-finetune")
    assert {"0.weight": 36, "1.weight": 4, "1.bias": 4}.items() <= record.nonzeros.items()


def test_n_of_m_is_a_granularity_and_what_does_not_divide_is_named() -> None:
    record = record_of("half", "--granularity", "2:4", "--no-finetune")
    assert [288, 2560] == [each.nonzeros for each in record.layers[1:]]
    assert case_id(record) == "mine/half-ci~2%3A4-oneshot"
    Path("prunebench.toml").write_text(TOML.replace('keep_dense = ["0.weight"]', ""))
    assert "'0.weight'" in invoke("run", "half", "--granularity", "2:4", code=2).output


def test_a_schedule_of_a_file_is_followed_and_its_trace_is_in_the_record() -> None:
    record = record_of("gradual")
    assert ("mine/gradual-ci~wanda~gradual", {"end": 0.4}) == (case_id(record), record.method.schedule_settings)
    tuned = record.finetuning
    assert tuned is not None
    kept = [sum(change.kept.values()) for change in tuned.trace]
    assert sorted(kept, reverse=True) == kept
    assert sum(each.nonzeros for each in record.layers) == kept[-1]
    assert 8 == tuned.trace[-1].step  # 0.4 of 20 steps
    assert (1, 2) == (tuned.first_final, len(tuned.losses))


@pytest.mark.parametrize("schedule", [each for each in pruning_schedule_names() if each != "weight-rewinding"])
def test_every_schedule_ends_with_the_planned_zeros(schedule: str) -> None:
    record = record_of("half", "--pruning-schedule", schedule)
    assert [288, 2560] == [each.nonzeros for each in record.layers[1:]]
    assert schedule == record.method.pruning_schedule


def test_weights_are_rewound_to_the_checkpoint_that_is_named() -> None:
    asked = ["half", "--pruning-schedule", "weight-rewinding", "--recipe", "dense", "--schedule-setting", "rewind_to=1"]
    assert "expected a checkpoint" in invoke("run", *asked, code=2).output
    invoke("run", "half", "--no-finetune", "--save", "early.safetensors")
    record = record_of(*asked, "--early", "early.safetensors")
    assert record.finetuning is not None
    assert record.checkpoints.pruned == record.finetuning.trace[0].rewound_to  # what --save wrote


def test_recalibration_changes_the_answers_and_no_weight() -> None:
    plain = record_of("half", "--no-finetune")
    other = record_of("half", "--no-finetune", "--recalibrate")
    assert "mine/half-ci~recalibrated-oneshot" == case_id(other)
    assert (plain.masks_digest, plain.nonzeros) == (other.masks_digest, other.nonzeros)
    assert plain.checkpoints.pruned != other.checkpoints.pruned


def test_evidence_is_as_many_training_examples_as_asked_and_told_of() -> None:
    asked = ["--criterion", "taylor", "--total", "0.5", "--no-finetune", "--evidence-examples"]
    found = {record_of(*asked, count).evidence for count in ("50", "60")}
    assert 2 == len(found)
    again = record_of(*asked, "60")
    assert again.evidence in found


def test_a_total_is_the_same_experiment_whatever_it_comes_to_on_other_weights() -> None:
    asked = ["--allocation", "global", "--total", "0.5", "--no-finetune"]
    before = record_of(*asked)
    Path("prunebench.toml").write_text(TOML.replace("learning_rate = 0.1", "learning_rate = 0.2"))
    after = record_of(*asked)
    assert before.run_digest == after.run_digest
    assert [each.sparsity for each in before.layers] != [each.sparsity for each in after.layers]
    verdicts = compare_records({case_id(before): before}, {case_id(after): after})
    assert Status.FAIL not in {verdict.status for verdict in verdicts}


@pytest.mark.parametrize(
    ("of", "cost"),
    [
        ("size", lambda record: record.pruned_size_bits / record.dense_size_bits),
        ("macs", lambda record: sum(each.macs * each.nonzeros / prod(each.shape) for each in record.layers)
         / sum(each.macs for each in record.layers)),
    ],
)  # fmt: skip
def test_a_total_of_a_cost_is_reached_and_the_case_says_which(of: str, cost: Callable[[RunRecord], float]) -> None:
    record = record_of("--allocation", "global", "--total", "0.5", "--total-of", of, "--no-finetune")
    assert f"mine/global-0.5-{of}-ci-oneshot" == case_id(record)
    assert of == record.method.total_of
    assert 0.49 < cost(record) <= 0.5


def test_limits_are_by_pattern_and_a_limit_of_0_keeps_a_layer_dense() -> None:
    asked = ["--total", "0.3", "--limit", "3.*=0.0625", "--no-finetune"]
    record = record_of("--allocation", "global", *asked)
    assert 576 - 36 == record.layers[1].nonzeros
    assert "mine/global-0.3-limited-ci-oneshot" == case_id(record)
    assert {"3.*": 0.0625} == record.method.limits
    asked = ["--limit", "6.*=0", "--granularity", "channel", "--total", "0.05", "--no-finetune"]
    assert 5120 == record_of(*asked, "--criterion", "geometric_median").layers[2].nonzeros  # which has no channels


def test_a_file_has_totals_of_costs_and_limits_too() -> None:
    added = '[run.small]\nworkload = "mine"\ntotal = 0.5\ntotal_of = "size"\nlimits = 0.7\n'
    Path("prunebench.toml").write_text(TOML + added)
    record = record_of("small", "--no-finetune")
    assert record.pruned_size_bits <= record.dense_size_bits / 2
    assert ("size", {"*": 0.7}) == (record.method.total_of, record.method.limits)
    Path("prunebench.toml").write_text(TOML + '[run.small]\nworkload = "mine"\nlimits = 0.7\n')
    assert "limits needs total, the share to prune in [0, 1]" in invoke("check", code=2).output


def test_every_case_of_a_recipe_is_in_its_family() -> None:
    record = record_of("half", "--granularity", "2:4", "--criterion", "wanda", "--no-finetune")
    others = ["mine/half-ci", "mine/a-ci~taylor-seed1", "mine/half-long", "mine/half-ci%2Dx~taylor"]
    assert others[:2] == in_families(others, [family(record)])
    assert [case_id(record)] == in_families([case_id(record)], [family(record)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["half", "--criterion", "tayler"], "unknown criterion 'tayler'.*did you mean 'taylor'"),
        (["half", "--granularity", "4:2"], "granularity N:M must have N from 1 to M - 1, got '4:2'"),
        (["half", "--granularity", "3:4"], "3:4"),
        (["half", "--total", "0.5"], "run 'half' says how much to prune: expected no --total, or no run"),
        (["half", "--limit", "3.*=0.5"], "run 'half' says how much to prune: expected no --limit, or no run"),
        (["--total", "0.5", "--limit", "3.*"], r"--limit takes LAYERS=MOST, such as 'conv1\.\*=0\.5', got '3\.\*'"),
        (["--total", "0.5", "--limit", "3.*=2"], r"sparsity of '3\.\*' must be in \[0, 1\], got 2"),
        (["--total", "0.5", "--limit", "x=0.5"], "unknown layer 'x'"),
        (["--total", "0.9", "--limit", "*=0.5"], "nonzeros cannot be had: the largest sparsities allowed leave"),
        ([], "nothing to prune: expected a run, such as run3, or --total"),
        (["--total", "0.5", "--allocation", "globl"], "unknown allocation 'globl'.*did you mean 'global'"),
        (["half", "--criterion", "bn_scale"], "scores output channels: expected granularity 'channel', got 'element'"),
        (["half", "--pruning-schedule", "gradual", "--schedule-setting", "ende=1"], "unknown setting .*'ende'"),
        (["half", "--pruning-schedule", "gradual", "--schedule-setting", "end"], "takes NAME=VALUE, such as end=0.7"),
        (["half", "--pruning-schedule", "rigl", "--granularity", "2:4"], "'rigl' grows single elements"),
        (["half", "--criterion", "taylor", "--evidence-examples", "301"], "evidence takes 1 to 300 examples"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(arguments: list[str], said: str) -> None:
    output = invoke("run", *arguments, code=2).output
    assert re.search(said, output), output
    assert 1 == output.strip().count("\n") + 1, output


def test_methods_lists_every_part_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = invoke("methods").output.splitlines()
    assert max(map(len, lines)) <= 80
    listed = {line.split()[0] for line in lines if re_named(line)}
    assert {*criterion_names(), *allocation_names(), *pruning_schedule_names(), "channel", "2:4"} <= listed


def re_named(line: str) -> bool:
    return line[:2] == "  " and line[2:3] not in ("", " ")


def test_the_documented_method_has_no_departures() -> None:
    assert {} == Method().departures
    assert "" == Method().words
