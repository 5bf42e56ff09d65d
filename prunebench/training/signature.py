"""The signature of a training: facts that no machine changes, and how far the weights moved.

The accuracy on an easy test set hides a broken training; this hides less. `Tally` counts while a training runs;
`Movement` compares the weights before it and after.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

_SETTINGS = {"momentum": "momentum", "weight_decay": "weight_decay", "nesterov": "nesterov", "eps": "epsilon"}
"""What torch calls a setting, and what a recipe does."""

_MODULUS = 65521
"""Largest prime below 2 to the 16th: what values are reduced by, so that sums stay exact in 64 bits."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Facts of one epoch of a training, as it was done and not as it was asked for.

    Attributes:
        steps: of the optimizer.
        images: that the model was given.
        learning_rate: mean over the steps.
        optimizer: the other settings of the optimizer, from its first group of parameters.
        scores_dtype: type of the scores that the loss was computed from, such as `float32`.
        images_digest: over the augmented images, in order; equal on every device.
        labels_digest: over the labels that the loss was computed from, in order.
    """

    steps: int
    images: int
    learning_rate: float
    optimizer: Mapping[str, float]
    scores_dtype: str
    images_digest: str
    labels_digest: str


@dataclass
class Tallying:
    """A tally that is being made: `step` once a batch, `done` at the end. Waits for the device only at the end."""

    rates: list[float] = field(default_factory=list)
    images: int = 0
    settings: dict[str, float] = field(default_factory=dict)
    dtypes: set[str] = field(default_factory=set)
    image_sums: list[Tensor] = field(default_factory=list)
    label_sums: list[Tensor] = field(default_factory=list)

    def step(self, images: Tensor, labels: Tensor, scores: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """One batch, as the model and the loss got it, before the optimizer's step."""
        group = optimizer.param_groups[0]
        self.rates.append(float(group["lr"]))
        self.images += len(images)
        self.settings = {ours: float(group[name]) for name, ours in _SETTINGS.items() if group.get(name) is not None}
        for index, beta in enumerate(group.get("betas", ())):
            self.settings[f"beta{index + 1}"] = float(beta)
        self.dtypes.add(str(scores.dtype).removeprefix("torch."))
        self.image_sums.append(_position_sum(images))
        self.label_sums.append(_position_sum(labels))

    def done(self) -> Tally:
        """The tally of what was counted."""
        return Tally(
            steps=len(self.rates),
            images=self.images,
            learning_rate=sum(self.rates) / max(1, len(self.rates)),
            optimizer=self.settings,
            scores_dtype=", ".join(sorted(self.dtypes)),
            images_digest=_digest(self.image_sums),
            labels_digest=_digest(self.label_sums),
        )


def _position_sum(values: Tensor) -> Tensor:
    """Sum of the values' bits, each times a number that depends on where it stands; integers, so exact everywhere."""
    flat = values.detach().reshape(len(values), -1)
    bits = (flat.view(torch.int32) if flat.dtype == torch.float32 else flat).to(torch.int64).remainder_(_MODULUS)
    places = torch.arange(flat.shape[1], device=flat.device).remainder_(8191).add_(1)
    rows = torch.arange(1, len(flat) + 1, device=flat.device)
    return ((bits * places).sum(dim=1) * rows).sum()


def _digest(sums: list[Tensor]) -> str:
    values = torch.stack(sums).cpu().numpy().tobytes() if sums else b""
    return hashlib.sha256(values).hexdigest()


def joined(digests: Iterable[str]) -> str:
    """SHA-256 over several digests, in order."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Movement:
    """The distance a training moved each tensor of a model, by name; all relative to the start.

    Attributes:
        distance: norm of the change over norm of the start, of each parameter.
        length: norm of the end over norm of the start, of each parameter: what weight decay shrinks.
        statistics: as `distance`, of each floating-point buffer, such as batch norm's running mean and variance.
    """

    distance: dict[str, float]
    length: dict[str, float]
    statistics: dict[str, float]


def movement(start: Mapping[str, Tensor], end: Mapping[str, Tensor], *, parameters: Iterable[str]) -> Movement:
    """The movement from the state dict before to that after; pruned elements are zero in both and count for nothing."""
    names = set(parameters)
    distance, length, statistics = {}, {}, {}
    for name, before in start.items():
        if not before.is_floating_point():
            continue
        old, new = before.detach().cpu().double(), end[name].detach().cpu().double()
        norm = float(old.norm()) or 1.0
        moved = float((new - old).norm()) / norm
        if name in names:
            distance[name], length[name] = moved, float(new.norm()) / norm
        else:
            statistics[name] = moved
    return Movement(distance=distance, length=length, statistics=statistics)
