"""Digests: the same for the same, in any process; another for whatever changes an answer."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunebench.errors import CheckpointError, ModelError
from prunebench.models import build_model, forward_digest, state_digest

SCALE = 2.0
SHIFTS = {"all": 0.0}
WEIGHTS = np.ones(2, dtype=np.float32)


class Tripled(torch.autograd.Function):
    """Code of one's own behind a call that is torch's."""

    @staticmethod
    def forward(_: object, values: Tensor) -> Tensor:
        return values * 3


class Gain:
    """An object of one's own, called on the way."""

    def __init__(self) -> None:
        self.by = 1.0

    def __call__(self, values: Tensor) -> Tensor:
        return values * self.by


@dataclass(slots=True)
class Settings:
    """Attributes that stand in no dictionary."""

    bias: float = 0.0


HALVED, DOUBLED = Gain(), Gain()
DOUBLE = DOUBLED.__call__
LOG = logging.getLogger(__name__)


def shared() -> float:
    return 1.0


class One:
    """One of two that name the same function."""

    def value(self) -> float:
        return shared()


class Two:
    """The other."""

    def value(self) -> float:
        return shared() + 1


KINDS = {One, Two}


def scaled(values: Tensor) -> Tensor:
    LOG.debug("%s", KINDS)
    values = DOUBLE(HALVED(values))
    return Tripled.apply(values) * SCALE * torch.from_numpy(WEIGHTS) + SHIFTS["all"]


class Own(nn.Module):
    """Everything that a checkpoint does not hold."""

    temperature = 1.0
    functional = nn.functional

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((3, 1, 1), 0.5), persistent=False)
        self.linear = nn.Linear(3, 2)
        self.activation: Callable[[Tensor], Tensor] = torch.relu
        self.power = 1
        self.sizes = {"narrow", "wide", "deep"}
        self.listed = [self]
        self.gain = Gain()
        self.settings = Settings()
        self.places = {0: "a", 1: "b"}
        self.steps: object = range(2)
        self.recent = deque([1.0])
        self.folder = Path("weights")
        self.backends = {"torch": torch}
        hash(self.folder)  # which it keeps

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.gain(self.activation(self.linear((images - self.mean).mean(dim=(2, 3)))))
        return scaled(hidden / self.temperature + self.settings.bias) ** self.power


class Other(Own):
    def forward(self, images: Tensor) -> Tensor:
        return -super().forward(images)


def built(kind: type[nn.Module] = Own) -> nn.Module:
    torch.manual_seed(0)
    return kind()


def hooked(model: nn.Module) -> None:
    model.register_forward_hook(lambda _module, _inputs, output: output + 1)


def laid_out(model: nn.Module) -> None:
    model.linear.weight.data = model.linear.weight.data.t().contiguous().t()


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "a buffer that no checkpoint holds": lambda model: model.mean.fill_(0.6),
    "a function": lambda model: setattr(model, "activation", torch.sin),
    "a function with other arguments": lambda model: setattr(model, "activation", partial(torch.clamp, min=0.1)),
    "a function of one's own": lambda model: setattr(model, "activation", lambda values: values.relu() + 1),
    "a number": lambda model: setattr(model, "power", 2),
    "a tensor": lambda model: setattr(model, "power", torch.tensor(2)),
    "an object's attribute": lambda model: setattr(model.gain, "by", 2.0),
    "an attribute in a slot": lambda model: setattr(model.settings, "bias", 1.0),
    "the keys of a dictionary": lambda model: setattr(model, "places", {1: "a", 0: "b"}),
    "a range": lambda model: setattr(model, "steps", range(3)),
    "a deque": lambda model: model.recent.append(2.0),
    "a hook": hooked,
    "how a weight lies in memory": laid_out,
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_an_answer_changes_the_digest(change: str) -> None:
    model, changed = built(), built()
    CHANGES[change](changed)
    assert forward_digest(model) != forward_digest(changed)
    assert state_digest(model.state_dict()) == state_digest(changed.state_dict())


def test_code_and_what_it_names_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = forward_digest(built())
    assert before != forward_digest(built(Other))
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert before != forward_digest(built())
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    assert before == forward_digest(built())
    monkeypatch.setitem(globals(), "scaled", lambda values: values + SCALE)
    assert before != forward_digest(built())


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (Own, "temperature", 9.0),
        (sys.modules[__name__], "SHIFTS", {"all": 1.0}),
        (sys.modules[__name__], "WEIGHTS", np.zeros(2, dtype=np.float32)),
        (Tripled, "forward", staticmethod(lambda _, values: values * 4)),
        (Gain, "__call__", lambda self, values: values - self.by),
        (HALVED, "by", 0.5),
        (DOUBLED, "by", 2.0),
    ],
)
def test_what_classes_and_modules_hold_is_part_of_it(
    owner: object, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = forward_digest(built())
    monkeypatch.setattr(owner, name, value)
    assert before != forward_digest(built())


def test_whatever_a_model_holds_has_a_digest() -> None:
    model = built()
    model.odds = [torch.Tensor.relu, (i for i in range(3)), threading.Lock(), cache(scaled), np.float32, Path()]
    model.kept = torch.empty(2, device="meta")
    assert forward_digest(model) == forward_digest(model)


def test_what_is_nested_without_end_is_refused() -> None:
    model, chain = built(), []
    for _ in range(2000):
        chain = [chain]
    model.chain = chain
    with pytest.raises(ModelError, match="nested too deeply"):
        forward_digest(model)


def test_mode_values_and_names_are_not() -> None:
    model, other = built(), built()
    nn.init.zeros_(other.linear.weight)  # type: ignore[union-attr]
    assert forward_digest(model) == forward_digest(other.eval())


def test_it_is_the_same_in_every_process() -> None:
    program = "import test_digests as t; print(t.forward_digest(t.built()), t.forward_digest(t.build_model('vgg')))"
    told = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parent,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert told[0][1] == forward_digest(build_model("vgg"))


def test_a_state_that_is_not_all_tensors_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"'_extra_state' .* dict: expected a tensor"):
        state_digest({"_extra_state": {}})  # type: ignore[dict-item]
