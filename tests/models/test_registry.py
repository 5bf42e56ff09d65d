"""Names for model builders: what is known, what is refused, and which parameters of a model pruning may touch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunebench.errors import UnknownNameError
from prunebench.models import VGG, build_model, model_names, prunable_parameters, register_model, registry


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))


def tiny() -> nn.Module:
    return nn.Linear(4, 2)


def test_every_registered_name_builds_a_model_that_can_be_pruned() -> None:
    for name in model_names():
        with torch.device("meta"):
            assert prunable_parameters(build_model(name))


def test_names_are_sorted_and_begin_with_what_is_built_in() -> None:
    register_model("zeta", tiny)
    register_model("alpha", tiny)
    assert ("alpha", "vgg", "zeta") == model_names()


def test_each_call_builds_a_model_of_its_own() -> None:
    register_model("tiny", tiny)
    assert build_model("tiny") is not build_model("tiny")


def test_vgg_is_the_documented_class() -> None:
    with torch.device("meta"):
        assert VGG is type(build_model("vgg"))


def test_an_unknown_model_is_refused_with_the_known_names_and_a_hint() -> None:
    with pytest.raises(UnknownNameError) as caught:
        build_model("vg")
    assert "unknown model 'vg': expected one of vgg; did you mean 'vgg'?" == str(caught.value)


def test_a_taken_name_is_refused_for_another_builder_and_keeps_its_own() -> None:
    with pytest.raises(ValueError, match="model 'vgg' is already registered"):
        register_model("vgg", tiny)
    with torch.device("meta"):
        assert VGG is type(build_model("vgg"))


def test_the_same_builder_may_register_twice() -> None:
    register_model("tiny", tiny)
    register_model("tiny", tiny)
    assert "tiny" in model_names()


def test_weights_are_prunable_and_biases_and_batch_norms_are_not() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv1d(2, 2, 1), nn.Linear(2, 2))
    assert ["0.weight", "2.weight", "3.weight"] == list(prunable_parameters(model))
