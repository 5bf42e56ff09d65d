"""Movement in fine-tuning."""

from __future__ import annotations

from torch import Tensor

from prunebench.pruning.criteria.criterion import Criterion
from prunebench.pruning.evidence import Evidence, Need


class Movement(Criterion):
    """The sum of -g w over the steps of a fine-tuning: weights that move away from zero are kept, whatever their size.

    Signed. `gather_evidence` makes a pass of training over a copy; `add_movement_` adds up a step of one's own. Of a
    channel or block the sum. The paper multiplies by a learning rate of the scores, which is constant and orders
    nothing.
    Source: Sanh, Wolf, Rush, Movement Pruning: Adaptive Sparsity by Fine-Tuning, NeurIPS 2020.

    Example: w = 2 with gradient 0.5, then w = 1 with gradient -3, scores -1 + 3 = 2.
    """

    name = "movement"
    needs = frozenset[Need]({"movement"})
    aggregation = "sum"

    def score(self, name: str, weight: Tensor, evidence: Evidence) -> Tensor:  # noqa: ARG002
        """The sums of the evidence."""
        return evidence.of("movement", name)
