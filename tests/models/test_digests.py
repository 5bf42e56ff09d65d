"""Digests: the same for the same, in any process; another for whatever changes an answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunebench.data import Examples
from prunebench.errors import CheckpointError, ModelError
from prunebench.models import build_model, state_digest
from prunebench.tasks import forward_digest

SCALE = 2.0
SHIFTS = {"all": 0.0}
WEIGHTS = np.ones(2, dtype=np.float32)
DATA = Examples((torch.arange(6 * 3 * 32 * 32) % 251).to(torch.uint8).reshape(6, 3, 32, 32), torch.arange(6) % 2)


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


DOUBLED = Gain()
DOUBLE = DOUBLED.__call__


def scaled(values: Tensor) -> Tensor:
    return Tripled.apply(DOUBLE(values)) * SCALE * torch.from_numpy(WEIGHTS) + SHIFTS["all"]


class Own(nn.Module):
    """Much that a checkpoint does not hold, and what only training shows: dropout, and statistics that move."""

    temperature = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((3, 1, 1), 0.5), persistent=False)
        self.linear = nn.Linear(3, 2)
        self.normalise = nn.BatchNorm1d(2)
        self.dropout = nn.Dropout(0.5)
        self.activation: Callable[[Tensor], Tensor] = torch.relu
        self.power = 1
        self.gain = Gain()
        self.jitter = 0.0

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.linear((images - self.mean).mean(dim=(2, 3)))
        hidden = self.gain(self.activation(self.dropout(self.normalise(hidden)) + 1))
        hidden = hidden + self.jitter * torch.rand_like(hidden) * self.training
        return scaled(hidden / self.temperature) ** self.power


class Other(Own):
    def forward(self, images: Tensor) -> Tensor:
        return -super().forward(images)


def built(kind: type[nn.Module] = Own) -> nn.Module:
    torch.manual_seed(0)
    return kind()


def documented() -> nn.Module:
    torch.manual_seed(0)
    return build_model("vgg")


def digest(model: nn.Module) -> str:
    return forward_digest(model, DATA, training=True)


def hooked(model: nn.Module) -> None:
    model.register_forward_hook(lambda _module, _inputs, output: output + 1)


def laid_out(model: nn.Module) -> None:
    model.linear.weight.data = model.linear.weight.data.t().contiguous().t()


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "a buffer that no checkpoint holds": lambda model: model.mean.fill_(0.6),
    "a function": lambda model: setattr(model, "activation", torch.sin),
    "a function with other arguments": lambda model: setattr(model, "activation", partial(torch.clamp, min=1)),
    "a function of one's own": lambda model: setattr(model, "activation", lambda values: values.relu() + 1),
    "a number": lambda model: setattr(model, "power", 2),
    "a tensor": lambda model: setattr(model, "power", torch.tensor(2)),
    "an object's attribute": lambda model: setattr(model.gain, "by", 2.0),
    "a hook": hooked,
    "how a weight lies in memory": laid_out,
    "a setting that no output shows": lambda model: setattr(model.normalise, "momentum", 0.2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_an_answer_changes_the_digest(change: str) -> None:
    model, changed = built(), built()
    CHANGES[change](changed)
    assert digest(model) != digest(changed)
    assert state_digest(model.state_dict()) == state_digest(changed.state_dict())


def test_what_changes_training_alone_matters_to_training_alone() -> None:
    model, changed = built(), built()
    changed.jitter = 1e-3
    assert digest(model) != digest(changed)
    assert forward_digest(model, DATA) == forward_digest(changed, DATA)


def test_code_and_what_it_names_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(built())
    assert before != digest(built(Other))
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert before != digest(built())
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    assert before == digest(built())
    monkeypatch.setitem(globals(), "scaled", lambda values: values + SCALE)
    assert before != digest(built())


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (Own, "temperature", 9.0),
        (sys.modules[__name__], "SHIFTS", {"all": 1.0}),
        (sys.modules[__name__], "WEIGHTS", np.zeros(2, dtype=np.float32)),
        (Tripled, "forward", staticmethod(lambda _, values: values * 4)),
        (Gain, "__call__", lambda self, values: values - self.by),
        (DOUBLED, "by", 2.0),
    ],
)
def test_what_classes_and_modules_hold_is_part_of_it(
    owner: object, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest(built())
    monkeypatch.setattr(owner, name, value)
    assert before != digest(built())


def test_the_model_ends_as_it_was_and_so_do_random_numbers() -> None:
    model = built()
    before, modes = state_digest(model.state_dict()), [module.training for module in model.modules()]
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    assert digest(model) == digest(model.eval())
    assert torch.equal(expected, torch.rand(3))
    assert before == state_digest(model.state_dict())
    assert not any(module.training for module in model.modules())
    assert all(modes)


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    model = built()
    model.rows = (row for row in range(3))
    with pytest.raises(ModelError, match="cannot be copied"):
        digest(model)


def test_it_is_the_same_in_every_process() -> None:
    program = "import test_digests as t; print(t.digest(t.built()), t.digest(t.documented()))"
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
    assert told[0][1] == digest(documented())


def test_a_state_that_is_not_all_tensors_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"'_extra_state' .* dict: expected a tensor"):
        state_digest({"_extra_state": {}})  # type: ignore[dict-item]
