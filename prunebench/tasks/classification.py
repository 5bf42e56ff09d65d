"""Classification: one class of several an example."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from prunebench.data import Examples
from prunebench.errors import DataError, ModelError


class Classification:
    """One class of several an example: cross-entropy, and the share of examples answered right.

    Outputs are float (n, classes). One logit an example, (n, 1) or (n,), scores class 1 of two: it becomes two columns,
    0 and the logit, of which cross-entropy, argmax and margin are those of the logit. Targets are int64 (n,).
    """

    name = "classification"
    metric = "accuracy"
    kind: Literal["proportion", "mean"] = "proportion"

    def check(self, outputs: Tensor, examples: Examples) -> None:
        """Check that there is a score for every class of the targets.

        Raises:
            DataError: targets that are not int64 (n,), or below 0, or beyond the scores.
            ModelError: outputs that are not float (n, classes).
        """
        scores, targets = _columns(outputs), examples.targets
        if scores.dim() != 2 or not scores.is_floating_point():
            got = f"a tensor {tuple(outputs.shape)} of {outputs.dtype}"
            raise ModelError(f"the model answers with {got}: expected float scores (n, classes)")
        if targets.dtype != torch.int64 or targets.dim() != 1:
            raise DataError(
                f"targets of a classification must be int64 (n,), got {targets.dtype} of shape {tuple(targets.shape)}"
            )
        lowest, highest = int(targets.min()), int(targets.max())
        if lowest < 0:
            raise DataError(f"labels begin at {lowest}: expected 0 and up")
        if highest >= scores.shape[1]:
            raise DataError(f"labels go up to {highest}, the model has {scores.shape[1]} scores, for 0 and up")

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy (smoothing: Szegedy 2016)."""
        return cross_entropy(_columns(outputs), targets, label_smoothing=label_smoothing)

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """1 where the highest score is the target's; outputs that are not all finite are wrong."""
        scores = _columns(outputs)
        return ((scores.argmax(dim=1) == targets) & torch.isfinite(scores).all(dim=1)).float()

    def answers(self, outputs: Tensor) -> Tensor:
        """The class with the highest score, int64 (n,)."""
        return _columns(outputs).argmax(dim=1)

    def graded(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sigmoid of the margin, which is the target's score less the highest of another; 0 where not finite.

        One minus the smooth 0-1 loss (Nguyen, Sanner 2013, Algorithms for Direct 0-1 Loss Optimization in Binary
        Classification).
        """
        scores = _columns(outputs).float()
        right = scores.gather(1, targets[:, None])
        margin = right.squeeze(1) - scores.scatter(1, targets[:, None], -math.inf).amax(dim=1)
        return margin.sigmoid().where(torch.isfinite(scores).all(dim=1), 0.0)

    def uncertainty(self, outputs: Tensor) -> Tensor:
        """1 less what the two likeliest classes are apart; 1 where outputs are not finite."""
        scores = _columns(outputs).float()
        likeliest = scores.softmax(dim=1).topk(min(2, scores.shape[1]), dim=1).values
        return 1 - (likeliest[:, 0] - likeliest[:, 1:].sum(dim=1)).nan_to_num(0)

    def guessing(self, examples: Examples) -> float:
        """The share of the most frequent class."""
        return float(examples.targets.bincount().max()) / len(examples)


CLASSIFICATION = Classification()


def _columns(outputs: Tensor) -> Tensor:
    column = outputs.reshape(-1, 1) if outputs.dim() < 2 else outputs
    if column.dim() == 2 and column.shape[1] == 1:
        return torch.cat([torch.zeros_like(column), column], dim=1)
    return column
