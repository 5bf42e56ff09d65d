"""Models that are not the VGG: what is unusual about them works, or one sentence says what does not."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_networks import CLASSES, images
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from prunebench.data import Augmentation, Dataset, ImageSet
from prunebench.errors import (
    CheckpointError,
    DataError,
    ModelError,
    PrunebenchError,
    TrainingError,
    UnknownNameError,
)
from prunebench.models import load_state, prunable_parameters, save_state
from prunebench.pipeline import Setting, execute, own_setting
from prunebench.runs import DocumentedRun
from prunebench.sensitivity import sensitivity_scan
from prunebench.training import Protocol

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

DATA = Dataset(name="signs", train=images(60, seed=1), test=images(40), classes=("a", "b", "c", "d"), origin="random")
PROTOCOL = Protocol(epochs=1, batch_size=20, learning_rate=0.01)


class Odd(nn.Module):
    """One weight under two names, a convolution that is given its input by name, a kernel of three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.volume = nn.Conv3d(1, 2, 3, padding=1)
        self.inner, self.again = nn.Linear(12, 12), nn.Linear(12, 12)
        self.again.weight = self.inner.weight
        self.counts = nn.Parameter(torch.ones(2, 2, dtype=torch.int64), requires_grad=False)
        self.classifier = nn.Linear(12, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        planes = self.volume(self.first(input=images).relu().unsqueeze(1)).flatten(1, 2).mean(dim=(2, 3))
        return self.classifier(self.again(self.inner(planes).relu()))


def odd() -> nn.Module:
    torch.manual_seed(0)
    return Odd()


def setting(model: nn.Module, data: Dataset = DATA) -> Setting:
    return own_setting(model, data, PROTOCOL)


def halved(model: nn.Module) -> DocumentedRun:
    sparsity = dict.fromkeys(prunable_parameters(model), 0.5)
    return DocumentedRun(name="half", model="odd", sparsity=sparsity, source="this test")


def test_an_odd_model_is_pruned_tuned_and_scanned() -> None:
    model = odd()
    record = execute(halved(model), setting(model))
    assert {"first.weight", "volume.weight", "inner.weight", "classifier.weight"} == {
        layer.name for layer in record.layers
    }
    assert record.nonzeros["inner.weight"] == 72
    assert record.finetuning is not None
    assert sensitivity_scan(model, DATA.test, sparsities=[0.5]).recomputed == "suffix"


def test_weights_that_share_memory_are_saved_each_in_full(tmp_path: Path) -> None:
    save_state(odd().state_dict(), tmp_path / "odd.safetensors")
    state = load_state(tmp_path / "odd.safetensors")
    assert torch.equal(state["inner.weight"], state["again.weight"])
    odd().load_state_dict(state)


def torch_pruned() -> nn.Module:
    model = odd()
    torch_prune.l1_unstructured(model.classifier, "weight", amount=0.5)
    model(DATA.test.images[:1].float())
    return model


def locked() -> nn.Module:
    model = odd()
    model.lock = threading.Lock()
    return model


class Planes(Odd):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return images, super().forward(images)


class Failing(Odd):
    def forward(self, images: Tensor) -> Tensor:
        raise ValueError("expected 224 rows\nand much else")


class Remembering(Odd):
    def get_extra_state(self) -> dict[str, int]:
        return {"epoch": 3}


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        (lambda: odd().half(), ModelError, r"weights are torch.float16: expected torch.float32, which .float\(\)"),
        (Planes, ModelError, r"answers 2 images with a tensor \(2, 3, 8, 8\) of torch.float32: expected float scores"),
        (Failing, ModelError, r"fails on images of shape \(2, 3, 8, 8\): ValueError: expected 224 rows$"),
        (torch_pruned, ModelError, r"cannot be copied: .* prune.remove"),
        (locked, ModelError, r"cannot be copied: TypeError: cannot pickle '_thread.lock' object"),
        (Remembering, CheckpointError, r"'_extra_state' of the model's state is dict: expected a tensor"),
        (lambda: odd().requires_grad_(requires_grad=False), TrainingError, "requires a gradient"),
    ],
)
def test_what_does_not_work_is_said_in_one_sentence(model, error: type[PrunebenchError], said: str) -> None:
    with pytest.raises(error, match=said) as raised:
        execute(halved(odd()), setting(model()))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (ImageSet(images(40).images, images(40).labels - 100), "labels begin at -100: expected 0 and up"),
        (ImageSet(images(40).images, images(40).labels + 1), "labels go up to 4, the model has 4 scores"),
        (ImageSet(images(40).images[..., :6], images(40).labels), r"have shape \(3, 8, 6\), test images \(3, 8, 8\)"),
    ],
)
def test_training_data_that_does_not_fit_is_refused_before_the_work(train: ImageSet, said: str) -> None:
    """A label of -100 is one that torch's cross-entropy leaves out without a word."""
    with pytest.raises(DataError, match=said):
        setting(odd(), replace(DATA, train=train))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": -1.0}, "learning_rate must be finite and at least 0, got -1.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite and at least 0, got nan"),
        ({"weight_decay": -1e-4}, "weight_decay must be finite"),
        ({"momentum": 1.5}, r"momentum must be in \[0, 1\], got 1.5"),
        ({"warmup": 2.0}, "warmup must be in"),
        ({"label_smoothing": 2.0}, "label_smoothing must be in"),
        ({"averaging": 1.5}, "averaging must be in"),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1, got 1.5"),
        ({"batch_size": 64.0}, "batch_size must be a whole number"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov needs a momentum above 0"),
        ({"augmentation": Augmentation(crop_padding=-1)}, "crop_padding must be at least 0, got -1"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused_before_the_work(change: dict[str, object], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        own_setting(odd(), DATA, replace(PROTOCOL, **change))


@pytest.mark.parametrize(("name", "value"), [("precision", "fp16"), ("select_on", "valid")])
def test_an_unknown_choice_is_refused_before_the_work(name: str, value: str) -> None:
    with pytest.raises(UnknownNameError, match=f"{name}.*{value}"):
        own_setting(odd(), DATA, PROTOCOL, **{name: value})


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (images(40).take(torch.arange(0)), "no images to evaluate"),
        (ImageSet(images(40).images, images(40).labels + 1), "labels go up to 4, the model has 4 scores"),
        (ImageSet(images(40).images, images(40).labels - 1), "labels begin at -1: expected 0 and up"),
    ],
)
def test_data_that_does_not_fit_is_refused_by_runs_and_by_scans(test: ImageSet, said: str) -> None:
    with pytest.raises(DataError, match=said):
        setting(odd(), replace(DATA, test=test))
    with pytest.raises(DataError, match=said):
        sensitivity_scan(odd(), test)
