"""Recipes: how to train. Everything that changes the result, but the seed and the data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from prunebench.data import Augmentation
from prunebench.errors import TrainingError, UnknownNameError
from prunebench.training.distillation import Distillation

LearningRateSchedule = Literal["cosine_per_iteration", "cosine", "one_cycle", "constant"]
Optimizer = Literal["sgd", "adamw"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training: everything that changes the result, but the seed and the data.

    Attributes:
        epochs: passes over the training examples; None for as many as a run names, which `for_epochs` fills in.
        batch_size: examples a step.
        learning_rate: at the start (cosine schedules), at the peak (one_cycle), or throughout (constant).
        optimizer: `sgd`, or `adamw` (Loshchilov, Hutter 2019).
        momentum, nesterov: of SGD.
        betas, epsilon: of AdamW.
        weight_decay: L2 penalty of SGD, decoupled decay of AdamW; on weights of two or more dimensions only if
            `decay_weights_only`.
        learning_rate_schedule: `cosine_per_iteration` is `CosineAnnealingLR(T_max=epochs)` stepped once an iteration,
            the quirk of the lab's code that the documented figures contain: the rate swings between its start and 0
            with a period of 2 x epochs iterations. `cosine` falls once, from start to 0. `one_cycle` rises, then falls
            (Smith 2018).
        warmup: fraction of the iterations that `one_cycle` rises in.
        label_smoothing: of a classification's cross-entropy (Szegedy 2016).
        augmentation: of the training images; None for none.
        images_per_epoch: use only this many examples, drawn afresh each epoch; None for all.
        averaging: decay, per step, of an exponential moving average of the weights that is evaluated and kept in place
            of the weights themselves; 0 for none.
        distillation: from a teacher's answers; None for none.
    """

    epochs: int | None
    batch_size: int
    learning_rate: float
    optimizer: Optimizer = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 1e-4
    decay_weights_only: bool = False
    learning_rate_schedule: LearningRateSchedule = "cosine"
    warmup: float = 0.2
    label_smoothing: float = 0.0
    augmentation: Augmentation | None = None
    images_per_epoch: int | None = None
    averaging: float = 0.0
    distillation: Distillation | None = None

    @property
    def described(self) -> dict[str, Any]:
        """The settings by name, which dense models are named by; one that came later is left out where unused."""
        return {name: value for name, value in asdict(self).items() if name != "distillation" or value is not None}

    def for_epochs(self, epochs: int) -> Recipe:
        """The same, with `epochs` where it names none."""
        return self if self.epochs is not None else replace(self, epochs=epochs)

    def shortened(self, *, epochs: int, images_per_epoch: int | None = None) -> Recipe:
        """The same with fewer epochs or examples."""
        return replace(self, epochs=epochs, images_per_epoch=images_per_epoch)


def check_recipe(recipe: Recipe) -> None:
    """Check that every value is one that a training can have.

    Raises:
        TrainingError: one is out of its range.
        UnknownNameError: a schedule or an optimizer that does not exist.
    """
    for name in ("epochs", "batch_size", "images_per_epoch"):
        value = getattr(recipe, name)
        if value is not None and not (isinstance(value, int) and value >= 1):
            raise TrainingError(f"{name} must be a whole number of at least 1, got {value}")
    ranges = {
        "learning_rate": (0.0, math.inf),
        "momentum": (0.0, 1.0),
        "epsilon": (0.0, math.inf),
        "weight_decay": (0.0, math.inf),
        "warmup": (0.0, 1.0),
        "label_smoothing": (0.0, 1.0),
        "averaging": (0.0, 1.0),
    }
    values = {name: getattr(recipe, name) for name in ranges}
    for index, beta in enumerate(recipe.betas):
        ranges[f"betas[{index}]"], values[f"betas[{index}]"] = (0.0, math.nextafter(1.0, 0.0)), beta
    if recipe.distillation is not None:
        ranges["distillation.weight"], values["distillation.weight"] = (0.0, 1.0), recipe.distillation.weight
        if not 0 < recipe.distillation.temperature < math.inf:
            raise TrainingError(
                f"distillation.temperature must be finite and above 0, got {recipe.distillation.temperature}"
            )
    for name, (least, most) in ranges.items():
        value = values[name]
        if not (least <= value <= most and value < math.inf):
            limits = f"in [{least:g}, {most:g}]" if most < math.inf else f"finite and at least {least:g}"
            raise TrainingError(f"{name} must be {limits}, got {value}")
    if recipe.nesterov and recipe.momentum == 0:
        raise TrainingError("nesterov needs a momentum above 0, got 0")
    if recipe.augmentation and recipe.augmentation.crop_padding < 0:
        raise TrainingError(f"crop_padding must be at least 0, got {recipe.augmentation.crop_padding}")
    for name, known in (("learning_rate_schedule", get_args(LearningRateSchedule)), ("optimizer", get_args(Optimizer))):
        if getattr(recipe, name) not in known:
            raise UnknownNameError(name.replace("_", " "), getattr(recipe, name), known)
