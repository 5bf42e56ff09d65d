"""Sensitivity curves: a layer's accuracy as a function of its sparsity, read from a scan; what a plan loses by them.

Losing points is not additive: two layers that cost 60 points each cannot cost 120. What is added over layers is the
*loss*, `-log(skill)`, where skill is accuracy above guessing in units of the base model's: skills multiply.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from scipy.interpolate import PchipInterpolator

from prunebench.errors import PlanError, UnknownNameError
from prunebench.planning.costs import Inventory
from prunebench.sensitivity import Point, Scan

LEAST_SKILL = 0.01
"""Less is taken for this: below, accuracy is guessing and its logarithm noise."""

GUESSING = -math.log(LEAST_SKILL)
"""The loss of a model that guesses: the most that one layer, or a limit in points, comes to."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Accuracy, in percent, with one layer pruned: through the scanned points, and smooth between them.

    The first point is the base model at its own sparsity. Accuracy may rise. Nothing is said beyond the last point.
    Between points the curve is the piecewise cubic of Fritsch and Butland (A Method for Constructing Local Monotone
    Piecewise Cubic Interpolants, 1984), which stays within its neighbours; straight lines overstate what is lost on a
    curve that bends down, and put every optimum on a scanned point.

    Attributes:
        sparsity: absolute, strictly rising.
        accuracy: of the whole model, at each sparsity, as measured.
        cautious: the same, less what chance may have given: what is planned by.
    """

    layer: str
    sparsity: tuple[float, ...]
    accuracy: tuple[float, ...]
    cautious: tuple[float, ...]

    @property
    def limit(self) -> float:
        """The highest sparsity the curve knows."""
        return self.sparsity[-1]

    def accuracy_at(self, sparsity: float) -> float:
        """Accuracy in percent; at less than the base model's own sparsity, the base model's.

        Raises:
            PlanError: beyond the limit.
        """
        return self._at(sparsity, self.accuracy)

    def cautious_at(self, sparsity: float) -> float:
        """The cautious accuracy in percent, read off as by `accuracy_at`."""
        return self._at(sparsity, self.cautious)

    def drop_at(self, sparsity: float) -> float:
        """Points lost against the base model; negative where accuracy rises."""
        return self.accuracy[0] - self.accuracy_at(sparsity)

    def largest_keeping(self, points: float) -> float:
        """The largest scanned sparsity at which at most `points` are lost; the base model's own where there is none.

        Only what was measured counts: nothing is read between the points.
        """
        most = points + 1e-9  # accuracies are counts divided: a difference of just `points` may come out above it
        return max(s for s, a in zip(self.sparsity, self.accuracy, strict=True) if self.accuracy[0] - a <= most)

    def _at(self, sparsity: float, values: tuple[float, ...]) -> float:
        if sparsity > self.limit:
            raise PlanError(
                f"sparsity {sparsity:.4g} of '{self.layer}' is beyond the scan, which ends at {self.limit:.4g}: "
                "scan higher sparsities"
            )
        return values[0] if sparsity <= self.sparsity[0] else float(_cubic(self.sparsity, values)(sparsity))


@cache
def _cubic(sparsity: tuple[float, ...], values: tuple[float, ...]) -> PchipInterpolator:
    return PchipInterpolator(sparsity, values)


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The curves of a scan, one a layer; a layer that was not scanned has the base model's point alone.

    Attributes:
        base_accuracy: percent.
        chance: percent a model that guesses gets right.
        layers: curves by layer, in the model's order.
    """

    inventory: Inventory
    base_accuracy: float
    chance: float
    layers: Mapping[str, Curve]

    @classmethod
    def of_scan(cls, scan: Scan, *, caution: float = 0.0, extrapolate: bool = False) -> Curves:
        """Read the curves of a scan.

        Args:
            caution: plan by each point's accuracy less so many standard errors of its difference from the base model.
                Who picks the cheapest of many points picks those that chance flattered; the fewer the images the more.
                Images that a layer pruned alone turns right pay for nothing: layers together do not gain what each
                gains, but lose what each loses.
            extrapolate: go on from the last point of a scanned layer in a straight line to guessing at sparsity 1,
                where a layer passes nothing on. What a plan gains there is an assumption until it is measured.

        Raises:
            PlanError: the base model of the scan has no image right.
        """
        if not scan.base_correct:
            raise PlanError(
                f"the scan's base model has none of its {scan.images:,} images right and so nothing to lose: scan a "
                "trained model, on more images"
            )
        chance = _chance(scan)
        curves = {}
        for layer in scan.layers:
            points = {layer.sparsity: (scan.base_accuracy, scan.base_accuracy)}
            for point in scan.curve(layer.name):
                if point.sparsity > layer.sparsity:
                    points[point.sparsity] = (point.accuracy, _cautious(scan, point, caution))
            if extrapolate and len(points) > 1 and max(points) < 1:
                points[1.0] = (min(chance, points[max(points)][0]),) * 2
            accuracy, cautious = zip(*points.values(), strict=True)
            curves[layer.name] = Curve(layer=layer.name, sparsity=tuple(points), accuracy=accuracy, cautious=cautious)
        return cls(inventory=Inventory.of_scan(scan), base_accuracy=scan.base_accuracy, chance=chance, layers=curves)

    def __getitem__(self, name: str) -> Curve:
        if name not in self.layers:
            raise UnknownNameError("layer", name, self.layers)
        return self.layers[name]

    def loss_at(self, accuracy: float) -> float:
        """`-log(skill)` at an accuracy in percent, at least 0: a rise does not pay for what another layer loses.

        Rises are mostly chance, the best of many noisy points; a sum of them would promise too much.
        """
        skill = (accuracy - self.chance) / (self.base_accuracy - self.chance)
        return max(0.0, -math.log(max(skill, LEAST_SKILL)))

    def layer_loss(self, name: str, sparsity: float) -> float:
        """The loss of one layer pruned alone, with the curve's caution.

        Raises:
            PlanError: a sparsity beyond the curve.
        """
        return self.loss_at(self[name].cautious_at(sparsity))

    def predicted_accuracy(self, sparsity: Mapping[str, float], *, base: float | None = None) -> float | None:
        """Percent that a plan is predicted to get right, as if skills multiplied; None beyond a layer's curve.

        As cautious as the curves are: with a caution of 1 and few images it is lower than what is to be expected.

        Args:
            base: percent of the base model on the images that are predicted for; the scan's where it is not given.
        """
        if any(sparsity[name] > curve.limit for name, curve in self.layers.items()):
            return None
        base = self.base_accuracy if base is None else base
        loss = math.fsum(self.layer_loss(name, sparsity[name]) for name in self.layers)
        return self.chance + (base - self.chance) * math.exp(-loss)


def standard_error(point: Point, *, images: int) -> float:
    """Standard error of the point's accuracy less the base model's, in points: the two answered the same images.

    All `images` of the scan are a sample themselves; where not all were answered, which of them were adds to it.

    Source: the variance of a paired difference of proportions, McNemar, Note on the Sampling Error of the Difference
    Between Correlated Proportions or Percentages, 1947.
    """
    lost, gained = _lost(point), _gained(point)
    variance = max(0.0, lost + gained - (lost - gained) ** 2)
    if point.drawing_error is None:  # all answered; or, in older scans, some, drawn with even chances
        return 100 * math.sqrt(variance / max(1, point.images))
    return math.hypot(100 * math.sqrt(variance / images), point.drawing_error)


def _lost(point: Point) -> float:
    return point.lost / max(1, point.images) if point.lost_share is None else point.lost_share


def _gained(point: Point) -> float:
    return point.gained / max(1, point.images) if point.gained_share is None else point.gained_share


def _cautious(scan: Scan, point: Point, caution: float) -> float:
    return max(0.0, scan.base_accuracy - 100 * _lost(point) - caution * standard_error(point, images=scan.images))


def _chance(scan: Scan) -> float:
    """Percent right by guessing; 0 where the base model is no better."""
    return scan.guessing if scan.guessing < scan.base_accuracy else 0.0
