"""`prunebench init` writes a file that works, `check` says what was found and what will not work."""

# ruff: noqa: E501 - a case a line

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prunebench.cli import main
from prunebench.workloads import read_configuration

NET = """
from torch import nn

def build(classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.ReLU(), nn.Linear(8, classes))

def fails():
    raise RuntimeError("no weights\\nat all")

def nothing():
    return nn.Sequential(nn.BatchNorm2d(3))

def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
"""
DATA = """
import torch
from prunebench import Dataset, Examples, load_digits

def short():
    digits = load_digits()
    return Dataset(name="short", train=digits.train, test=Examples(digits.test.inputs[:, :, :8, :8], digits.test.targets))

def beyond():
    digits = load_digits()
    return (digits.train, Examples(digits.test.inputs, digits.test.targets + 5))

def one():
    return load_digits().train
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "net_to_check.py").write_text(NET)
    (tmp_path / "data_to_check.py").write_text(DATA)
    return tmp_path


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def test_the_example_is_a_file_that_works(folder: Path) -> None:
    assert 0 == command("init").exit_code
    described = read_configuration(folder / "prunebench.toml")
    assert ({"mine"}, {"half"}) == ({*described.workloads}, {*described.runs})
    checked = command("check")
    assert (0, True) == (checked.exit_code, checked.output.rstrip().endswith("All of this works.")), checked.output


@pytest.mark.parametrize("form", ["torchvision:squeezenet1_1", "net_to_check:build", "prunebench:vit"])
def test_a_model_of_any_kind_is_described(folder: Path, form: str) -> None:
    done = command("init", "--model", form, "--data", "prunebench:digits")
    assert 0 == done.exit_code, done.output
    assert form in (folder / "prunebench.toml").read_text()
    read_configuration(folder / "prunebench.toml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "vgg"), "--data is missing"),
        (("--model", "net_to_check:bild", "--data", "x:y"), "has no 'bild'; did you mean 'build'?"),
        (("--model", "net_to_check:fails", "--data", "x:y"), "cannot be built: RuntimeError: no weights"),
        (("--model", "no_such:build", "--data", "x:y"), "no module 'no_such'"),
        (("--model", "torchvision:resnet19", "--data", "x:y"), "did you mean 'resnet18'|unknown model of torchvision"),
        (("--name", "shapes"), "'shapes' is a workload of prunebench's own"),
        (("--name", "a b"), "--name must be of letters"),
        (("--model", "vgg", "--data", "x:y", "--checkpoint", "no.pth"), "name it .safetensors"),
    ],
)
def test_what_init_cannot_describe_is_said_and_nothing_written(
    folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = command("init", *arguments)
    assert 2 == done.exit_code
    assert any(part in done.output for part in said.split("|")), done.output
    assert not (folder / "prunebench.toml").exists()


def test_init_overwrites_nothing(folder: Path) -> None:
    (folder / "prunebench.toml").write_text("mine")
    done = command("init")
    assert (2, "mine") == (done.exit_code, (folder / "prunebench.toml").read_text())


@pytest.mark.parametrize(
    ("model", "data", "more", "said"),
    [
        ("net_to_check:fails", "prunebench:digits", "", "cannot be built: RuntimeError: no weights"),
        ("net_to_check:nothing", "prunebench:digits", "", "nothing to prune"),
        ("net_to_check:lazy", "prunebench:digits", "", "has no shape before the first batch"),
        ("net_to_check:build", "data_to_check:short", "", "training inputs have shape (3, 16, 16), test inputs (3, 8, 8)"),
        ("net_to_check:build", "data_to_check:beyond", "", "labels go up to 14, the model has 10 scores"),
        ("net_to_check:build", "data_to_check:one", "", "gives a Examples: expected a prunebench.Dataset"),
        ("net_to_check:build", "folder:none", "", "no data at"),
        ("net_to_check:build", "npz:none.npz", "", "cannot read"),
        ("net_to_check:build", "prunebench:digitz", "", "did you mean 'digits'"),
        ("net_to_check:build", "prunebench:digits", 'keep_dense = "fc*"', "unknown layer in keep_dense 'fc*'"),
        ("net_to_check:build", "prunebench:digits", 'checkpoint = "none.pth"', "none.pth"),
        ("net_to_check:build", "prunebench:digits", "model_arguments = { clases = 3 }", "unexpected keyword argument 'clases'"),
    ],
)  # fmt: skip
def test_what_will_not_work_is_said_with_its_reason(folder: Path, model: str, data: str, more: str, said: str) -> None:
    (folder / "prunebench.toml").write_text(
        f'[workload.mine]\nmodel = "{model}"\ndata = "{data}"\n{more}\n'
        "[workload.mine.recipe.ci]\nepochs = 1\nlearning_rate = 0.1\n"
        '[run.half]\nworkload = "mine"\nsparsity = 0.5\n'
    )
    done = command("check")
    assert 2 == done.exit_code, done.output
    assert said in done.output, done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("sparsity", "said"),
    [
        ('{ "fc.*" = 0.5 }', "unknown layer 'fc.*'"),
        ("{}", "no sparsity for '3.weight'"),
        ('{ "*" = 0.5, "1.weight" = 0.2 }', "'1.weight' is kept dense by its workload"),
    ],
)
def test_a_run_that_does_not_fit_the_model_is_said(folder: Path, sparsity: str, said: str) -> None:
    (folder / "prunebench.toml").write_text(
        '[workload.mine]\nmodel = "net_to_check:build"\ndata = "prunebench:digits"\nkeep_dense = "1.weight"\n'
        "[workload.mine.recipe.ci]\nepochs = 1\nlearning_rate = 0.1\n"
        "[workload.mine.recipe.dense]\nepochs = 1\nlearning_rate = 0.1\n"
        f'[run.half]\nworkload = "mine"\nsparsity = {sparsity}\n'
    )
    done = command("check")
    assert (2, True) == (done.exit_code, said in done.output), done.output
