"""prunebench.toml: what it means, and one sentence for everything it should not hold."""

# ruff: noqa: E501 - a case a line

from __future__ import annotations

from pathlib import Path

import pytest

from prunebench.data import Normalization
from prunebench.errors import WorkloadError
from prunebench.workloads import find_requested_run, find_workload, read_configuration
from prunebench.workloads.configuration import find_file

GOOD = """
[workload.signs]
model = "vgg"
data = "prunebench:digits"
checkpoint = "signs.pth"
normalize = { mean = [0.5, 0.5, 0.5], std = [0.2, 0.2, 0.2] }
keep_dense = "classifier.weight"

[workload.signs.recipe.ci]
epochs = 2
learning_rate = 0.01
optimizer = "adamw"
betas = [0.8, 0.99]
augmentation = { crop_padding = 1, flip = false }

[run.half]
workload = "signs"
recipe = "ci"
sparsity = { "*" = 0.5, "backbone.conv0.weight" = 0 }
measure = ["shrunk", "latency:onnx"]
floor = { change = -0.5, size_percent = 55, latency_ratio = 1.3 }

[run.erk]
workload = "signs"
allocation = "erk"
total = 0.8
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "prunebench.toml"
    path.write_text(GOOD)
    return path


def test_a_file_is_read_as_it_is_meant(file: Path) -> None:
    found = read_configuration(file)
    workload, half, erk = found.workloads["signs"], found.runs["half"], found.runs["erk"]
    assert ("vgg", file.parent / "signs.pth", ("classifier.weight",)) == (
        workload.model,
        workload.checkpoint(),
        workload.keep_dense,
    )
    recipe = workload.recipes["ci"]
    assert ("adamw", (0.8, 0.99), 2, False) == (recipe.optimizer, recipe.betas, recipe.epochs, recipe.augmentation.flip)
    assert Normalization(mean=(0.5,) * 3, std=(0.2,) * 3) == workload.data().test.normalization
    assert [("change", -0.5, None), ("latency_ratio", 1.3, None), ("size_percent", None, 55)] == [
        (floor.figure, floor.least, floor.most) for floor in half.floors
    ]
    assert ("shrunk", "latency:onnx") == half.measures
    assert ({"*": 0.5, "backbone.conv0.weight": 0}, ("erk", 0.8)) == (
        half.sparsity,
        (erk.method.allocation, erk.method.total),
    )


def test_one_number_is_for_all(file: Path) -> None:
    file.write_text(GOOD.replace('{ "*" = 0.5, "backbone.conv0.weight" = 0 }', "0.5"))
    assert {"*": 0.5} == read_configuration(file).runs["half"].sparsity


def test_the_table_of_a_pyproject_says_the_same(file: Path) -> None:
    text = GOOD.replace("[workload", "[tool.prunebench.workload").replace("[run", "[tool.prunebench.run")
    pyproject = file.with_name("pyproject.toml")
    pyproject.write_text('[project]\nname = "x"\n')
    file.unlink()
    assert find_file(file.parent) is None
    pyproject.write_text(text)
    assert pyproject == find_file(file.parent)
    assert {"half", "erk"} == {*read_configuration(pyproject).runs}


def test_the_file_of_the_folder_is_found(file: Path) -> None:
    run, workload = find_requested_run("half")
    assert ("half", "signs", "signs", "signs") == (
        run.name,
        workload.name,
        find_workload().name,
        find_workload("prunebench.toml:signs").name,
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs = 2", "epoch = 2", "unknown key 'workload.signs.recipe.ci.epoch': expected one of .*did you mean 'epochs'"),
        ("epochs = 2", "epochs = 0", "'workload.signs.recipe.ci.epochs': .*greater than or equal to 1, got 0"),
        ("epochs = 2", 'epochs = "2"', "'workload.signs.recipe.ci.epochs': .*integer, got '2'"),
        ("epochs = 2\n", "", "'workload.signs.recipe.ci.epochs' is missing"),
        ("learning_rate = 0.01", "learning_rate = nan", "'workload.signs.recipe.ci.learning_rate': .*nan"),
        ('optimizer = "adamw"', 'optimizer = "adam"', "'workload.signs.recipe.ci.optimizer': .*'sgd' or 'adamw', got 'adam'"),
        ('model = "vgg"\n', "", "'workload.signs.model' is missing"),
        ('model = "vgg"', "modle = 3", "unknown key 'workload.signs.modle'|'workload.signs.model' is missing"),
        ("std = [0.2, 0.2, 0.2]", "std = [0.2, 0.2]", "workload 'signs': normalize needs one mean and one std a channel, got 3 and 2"),
        ("std = [0.2, 0.2, 0.2]", "std = [0.2, 0.2, 0]", "std of normalize must be finite numbers above 0, got 0"),
        ('"*" = 0.5', '"*" = 50', "'run.half.sparsity.\\*': .*less than or equal to 1, got 50.*did you mean 0.5"),
        ('"*" = 0.5', '"*" = "half"', "'run.half.sparsity.\\*': .*number"),
        ("change = -0.5", "chang = -0.5", "unknown key 'run.half.floor.chang': expected one of accuracy, .*did you mean 'change'"),
        ("total = 0.8", "", "run 'erk': allocation needs total"),
        ("total = 0.8", "total = 0.8\nsparsity = 0.5", "run 'erk' needs either sparsity, or total"),
        ("total = 0.8", 'total = 0.8\ncriterion = "tayler"', "run 'erk': unknown criterion 'tayler'.*did you mean 'taylor'"),
        ("total = 0.8", 'total = 0.8\npruning_schedule = {name = "gradual", ende = 1}', "run 'erk': unknown setting .*'ende'"),
        ("total = 0.8", 'total = 0.8\npruning_schedule = {end = 1}', "'run.erk.pruning_schedule.name' is missing"),
        ("total = 0.8", 'total = 0.8\nmeasure = "speed"', "run 'erk': unknown measure 'speed': expected one of latency, "),
        ('recipe = "ci"', 'recipe = "cj"', "run 'half': unknown recipe 'cj': expected one of ci"),
        ("[run.half]", "[runs.half]", "unknown key 'runs': expected one of run, workload; did you mean 'run'"),
        ("epochs = 2", "epochs = = 2", "is not TOML"),
    ],
)  # fmt: skip
def test_what_should_not_be_there_is_said_in_a_sentence(file: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(WorkloadError, match=said) as raised:
        read_configuration(file)
    assert ("\n" not in str(raised.value), True) == (True, str(file) in str(raised.value))


@pytest.mark.parametrize("text", ["", "[tool]\n"])
def test_a_file_that_describes_nothing_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(WorkloadError, match=r"describes nothing|unknown key 'tool'"):
        read_configuration(file)
