"""Movement in fine-tuning."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prunebench.pruning.criteria.criterion import Criterion
from prunebench.pruning.evidence import Evidence, Need


class Movement(Criterion):
    """The sum of -g w over the steps of a fine-tuning: weights that move away from zero are kept, whatever their size.

    Signed. `add_movement_` adds a step up. Of a channel or block the sum. The paper multiplies by a learning rate of
    the scores, which is constant and orders nothing.
    Source: Sanh, Wolf, Rush, Movement Pruning: Adaptive Sparsity by Fine-Tuning, NeurIPS 2020.

    Example: w = 2 with gradient 0.5, then w = 1 with gradient -3, scores -1 + 3 = 2.
    """

    name = "movement"
    needs = frozenset[Need]({"movement"})
    aggregation = "sum"

    def score(self, name: str, weight: Tensor, evidence: Evidence) -> Tensor:  # noqa: ARG002
        """The sums of the evidence."""
        return evidence.of("movement", name)


def add_movement_(sums: dict[str, Tensor], model: nn.Module) -> None:
    """Add -g w of one training step to `sums`, by parameter name: after `backward`, before the optimizer's step.

    Parameters without a gradient are left out. `Evidence(movement=sums)` then scores by it.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                sums.setdefault(name, torch.zeros_like(parameter)).sub_(parameter * parameter.grad)
