"""Interaction of layers pruned together: from each one's accuracy alone to that of a whole plan, and back.

Losing points is not additive: two layers that cost 60 points each cannot cost 120, and many that cost a little each
cost more together than one by one, for each one's error meets a network that the others have already disturbed. What is
added is therefore the *loss*, `-log(skill)`, where skill is accuracy above guessing in units of the base model's: with
strength and exponent 1 skills multiply (`skill = product of skill_l`). Two laws of how errors meet are between the
values of one exponent q,

    loss = strength * (sum_l weight_l * loss_l^q)^(1/q)

q = 1 adds losses, q < 1 lets small ones amplify each other (q = 1/2 adds errors by amplitude where loss grows by their
power), q > 1 lets the worst layer hide the others. For any q what a plan has to keep small is a sum over layers, so the
same integer program solves it. Strength, exponent and weights are fitted to plans that were measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import least_squares

from prunebench.planning.curves import Curves
from prunebench.storage.documents import Part

Positive = Annotated[float, Field(gt=0)]

LEAST_SKILL = 0.01
"""Less is taken for this: below, accuracy is guessing and its logarithm noise."""

GUESSING = -math.log(LEAST_SKILL)
"""The loss of a model that guesses: the most that one layer, or a limit in points, comes to."""

# What fitted parameters are held to: one standard deviation of their logarithm, and of a measured loss. Few plans are
# measured and there is a weight a layer: common causes (strength, exponent) may move more than those of a layer.
_STRENGTH, _EXPONENT, _WEIGHT = 1.0, 0.5, 0.5
_NOISE, _RELATIVE_NOISE = 0.02, 0.05


class Interaction(Part):
    """The law by which layers pruned together act together, as the module's docstring states it.

    Attributes:
        weights: by layer; 1 where a layer is not listed.
    """

    strength: Positive = 1.0
    exponent: Positive = 1.0
    weights: dict[str, Positive] = Field(default_factory=dict)

    def term(self, layer: str, loss: float) -> float:
        """The term that a layer's loss adds to the sum that a plan keeps small."""
        return float(self.weights.get(layer, 1.0) * loss**self.exponent)

    def total(self, terms: float) -> float:
        """The loss of a plan from the sum of its terms."""
        return float(self.strength * terms ** (1 / self.exponent))

    def budget(self, total: float) -> float:
        """The sum of terms at which the loss of a plan is `total`: the inverse of `total`."""
        return float((total / self.strength) ** self.exponent)

    def loss(self, losses: Mapping[str, float]) -> float:
        """The loss of a plan from those of its layers."""
        return self.total(sum(self.term(layer, loss) for layer, loss in losses.items()))


def loss_of(accuracy: float, *, base: float, chance: float) -> float:
    """`-log(skill)`, at least 0: a rise costs nothing, and does not pay for what another layer loses.

    Rises are mostly chance, the best of many noisy points; a sum of them would promise more than the base model has.
    """
    skill = (accuracy - chance) / (base - chance)
    return max(0.0, -math.log(max(skill, LEAST_SKILL)))


def accuracy_of(loss: float, *, base: float, chance: float) -> float:
    """Accuracy in percent at a loss: the inverse of `loss_of`."""
    return chance + (base - chance) * math.exp(-loss)


def layer_loss(curves: Curves, name: str, sparsity: float) -> float:
    """A layer's loss alone, from its curve, with the curve's caution.

    Raises:
        PlanError: a sparsity beyond the curve.
    """
    return loss_of(curves[name].cautious_at(sparsity), base=curves.base_accuracy, chance=curves.chance)


def layer_losses(curves: Curves, sparsity: Mapping[str, float]) -> dict[str, float]:
    """`layer_loss` of every layer.

    Raises:
        PlanError: a sparsity beyond a layer's curve.
    """
    return {name: layer_loss(curves, name, sparsity[name]) for name in curves.layers}


def predicted_accuracy(
    curves: Curves, sparsity: Mapping[str, float], interaction: Interaction, *, base: float | None = None
) -> float:
    """Percent a plan is predicted to get right, on images of which the base model gets `base` percent (the scan's).

    As cautious as the curves are: with a caution of 1 and few images it is lower than what is to be expected.
    """
    base = curves.base_accuracy if base is None else base
    return accuracy_of(interaction.loss(layer_losses(curves, sparsity)), base=base, chance=curves.chance)


def fit_interaction(measured: Sequence[tuple[Mapping[str, float], float]]) -> Interaction:
    """The law that explains measured plans, each by the losses of its layers and the loss of them together.

    Least squares with a penalty on leaving 1 (the logarithms of all parameters are normal around 0), so that one plan
    already moves it, and in the direction of what contributed most. Without any plan, the law with all 1.
    """
    layers = sorted({layer for losses, _ in measured for layer in losses})
    if not measured:
        return Interaction()
    alone = np.array([[losses.get(layer, 0.0) for layer in layers] for losses, _ in measured])
    together = np.array([loss for _, loss in measured])

    def residuals(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        strength, exponent, *weights = np.exp(parameters)
        terms = (np.array(weights) * alone**exponent).sum(axis=1)
        predicted = np.minimum(strength * terms ** (1 / exponent), GUESSING)
        spread = np.array([_STRENGTH, _EXPONENT, *[_WEIGHT] * len(layers)])
        misses: NDArray[np.float64] = (predicted - together) / (_NOISE + _RELATIVE_NOISE * together)
        return np.concatenate([misses, parameters / spread])

    bound = np.array([4.0, 1.4, *[2.0] * len(layers)])
    found = np.exp(least_squares(residuals, np.zeros(2 + len(layers)), bounds=(-bound, bound)).x)
    strength, exponent, *weights = (float(value) for value in found)
    return Interaction(strength=strength, exponent=exponent, weights=dict(zip(layers, weights, strict=True)))
