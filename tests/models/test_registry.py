"""Models by name: prunebench's own, others' and builders of one's own; what is refused, and what pruning may touch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from prunebench.errors import ImportedNameError, ModelError, UnknownNameError
from prunebench.models import VGG, architecture_digest, build_model, model_label, model_names, prunable_parameters

MODULE = """
from torch import nn

class Net(nn.Linear):
    def __init__(self, width=4):
        super().__init__(width, 2)

def number():
    return 3

def failing():
    raise RuntimeError("no weights\\nanywhere")

constant = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `my_nets.py` is; what a test imports is forgotten after it."""
    (tmp_path / "my_nets.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_every_name_builds_a_model_that_can_be_pruned() -> None:
    assert ("resnet20", "resnet56", "vgg", "vit") == model_names()
    for name in model_names():
        with torch.device("meta"):
            assert prunable_parameters(build_model(name))


def test_each_call_builds_a_model_of_its_own() -> None:
    assert build_model("resnet20") is not build_model("resnet20")


@pytest.mark.parametrize("name", ["vgg", "prunebench:vgg"])
def test_vgg_is_the_documented_class(name: str) -> None:
    with torch.device("meta"):
        assert VGG is type(build_model(name))


def test_arguments_reach_the_builder(folder: Path) -> None:
    with torch.device("meta"):
        assert 100 == build_model("resnet20", {"classes": 100}).linear.out_features
    assert 7 == build_model("my_nets:Net", {"width": 7}, folder=folder).in_features


def test_models_of_torchvision_are_built_without_pretrained_weights() -> None:
    torch.manual_seed(0)
    model = build_model("torchvision:squeezenet1_1", {"num_classes": 3})
    torch.manual_seed(0)
    assert ("SqueezeNet", 3) == (type(model).__name__, model.classifier[1].out_channels)
    assert torch.equal(
        model.features[0].weight, build_model("torchvision:squeezenet1_1", {"num_classes": 3}).features[0].weight
    )


def test_models_of_timm_are_built_by_name() -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        assert 5 == build_model("timm:resnet18", {"num_classes": 5}).fc.out_features


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("vg", UnknownNameError, "unknown model 'vg': expected one of resnet20, .*vgg.*; did you mean 'vgg'?"),
        ("torchvision:resnet19", UnknownNameError, "unknown model of torchvision 'resnet19'.*did you mean 'resnet1"),
        ("my_nets:Nett", ImportedNameError, "module 'my_nets' has no 'Nett'; did you mean 'Net'?"),
        ("no_nets:Net", ImportedNameError, "no module 'no_nets'"),
        ("my_nets:constant", ModelError, "is a int: expected a class or function that builds one"),
        ("my_nets:number", ModelError, "is built as a int: expected a torch.nn.Module"),
        ("my_nets:failing", ModelError, "model 'my_nets:failing' cannot be built: RuntimeError: no weights$"),
    ],
)
def test_what_builds_no_model_is_refused_in_one_line(
    folder: Path, name: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        build_model(name, folder=folder)
    assert "\n" not in str(caught.value)


def test_an_unknown_model_of_timm_is_refused_with_a_hint() -> None:
    pytest.importorskip("timm")
    with pytest.raises(ModelError, match=r"unknown model of timm 'resnet188': see .*did you mean 'resnet18"):
        build_model("timm:resnet188")


def test_an_argument_that_a_builder_does_not_take_is_named() -> None:
    with pytest.raises(ModelError, match=r"model 'vgg' cannot be built: TypeError: .*'depth'"):
        build_model("vgg", {"depth": 3})
    with pytest.raises(ModelError, match=r"model 'resnet20' cannot be built: ValueError: shortcut must be .*'none'"):
        build_model("resnet20", {"shortcut": "none"})


def test_a_label_names_the_builder_and_its_arguments_in_one_order() -> None:
    assert "vgg" == model_label("prunebench:vgg")
    assert "resnet20(classes=3, shortcut='padding')" == model_label("resnet20", {"shortcut": "padding", "classes": 3})


def test_the_architecture_digest_tells_architectures_apart_and_not_their_weights() -> None:
    same = {architecture_digest(build_model("resnet20")) for _ in range(2)}
    others = {architecture_digest(build_model("resnet20", {"shortcut": "padding"})), architecture_digest(nn.ReLU())}
    assert (1, 3) == (len(same), len(same | others))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: nn.Conv2d(2, 2, 3), lambda: nn.Conv2d(2, 2, 3, stride=2)),
        (lambda: nn.MultiheadAttention(8, 2), lambda: nn.MultiheadAttention(8, 4)),
        (lambda: nn.LSTM(2, 2), lambda: nn.LSTM(2, 2, batch_first=True)),
        (lambda: nn.AdaptiveAvgPool2d((None, 2)), lambda: nn.AdaptiveAvgPool2d((2, 2))),
        (lambda: nn.BatchNorm2d(3, momentum=None), lambda: nn.BatchNorm2d(3)),
    ],
)  # fmt: skip
def test_the_architecture_digest_tells_settings_apart_that_no_shape_shows(
    one: Callable[[], nn.Module], other: Callable[[], nn.Module]
) -> None:
    assert architecture_digest(one()) == architecture_digest(one())
    assert architecture_digest(one()) != architecture_digest(other())


def test_the_architecture_digest_does_not_depend_on_how_torch_words_modules_or_on_what_a_run_leaves_in_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.LayerNorm(4))
    digest = architecture_digest(model)
    for kind in map(type, model):
        monkeypatch.setattr(kind, "extra_repr", lambda self: "otherwise")
    model.eval()(torch.zeros(1, 1, 4, 4))
    model[0].calls = 7
    assert digest == architecture_digest(model)


def test_weights_are_prunable_and_biases_and_batch_norms_are_not() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv1d(2, 2, 1), nn.Linear(2, 2))
    assert ["0.weight", "2.weight", "3.weight"] == list(prunable_parameters(model))
