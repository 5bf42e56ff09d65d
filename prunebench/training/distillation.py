"""Distillation: learning from another model's answers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from prunebench.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Learning the answers of a teacher, such as the dense model, beside or in the place of the labels.

    The loss is weight T^2 KL(softmax(teacher / T) || softmax(model / T)) + (1 - weight) times the task's. Source:
    Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network, whose cross-entropy has the same gradient.

    Attributes:
        temperature: T, above 0.
        weight: of the teacher's answers, in [0, 1]; at 1 no label is looked at.
    """

    temperature: float = 4.0
    weight: float = 0.9

    def loss(self, outputs: Tensor, taught: Tensor) -> Tensor:
        """T^2 KL, a scalar: the mean over n examples. Example: logits 0, 0 taught ln 3, 0 at T = 1 give 0.1308.

        Args:
            outputs, taught: the model's and the teacher's, (n, classes).

        Raises:
            ModelError: they are not of one such shape, or have fewer than two classes.
        """
        if outputs.shape != taught.shape or outputs.dim() != 2 or outputs.shape[1] < 2:
            raise ModelError(
                f"the model answers {tuple(outputs.shape)}, its teacher {tuple(taught.shape)}: to distil, expected "
                "scores (n, classes) of both, of at least two classes"
            )
        model, teacher = (log_softmax(scores.float() / self.temperature, dim=1) for scores in (outputs, taught))
        return self.temperature**2 * kl_div(model, teacher, reduction="batchmean", log_target=True)
