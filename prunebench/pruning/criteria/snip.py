"""Connection sensitivity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from prunebench.pruning.criteria.criterion import Criterion
from prunebench.pruning.evidence import Evidence, Need


class Snip(Criterion):
    """|g w| over its sum over all scored weights, g the gradient of the mean loss of all examples.

    g w is the derivative of the loss by a factor on w, at 1. The paper takes it at initialisation, from one batch of
    examples; here it is that of the model at hand, and the batch is all of the evidence. Of a channel or block the sum.
    Source: Lee, Ajanthan, Torr, SNIP: Single-shot Network Pruning based on Connection Sensitivity, ICLR 2019.

    Example: weights (3, -1) with gradients (-0.5, 0.5) score (0.75, 0.25).
    """

    name = "snip"
    needs = frozenset[Need]({"gradients"})
    aggregation = "sum"

    def scores(self, model: nn.Module, names: Sequence[str], evidence: Evidence) -> Mapping[str, Tensor]:
        """Float64 on the CPU; they add up to 1."""
        weights = dict(model.named_parameters())
        products = {
            name: (weights[name].detach().cpu().double() * evidence.of("gradients", name).double()).abs()
            for name in names
        }
        total = sum(float(product.sum()) for product in products.values()) or 1.0
        return {name: product / total for name, product in products.items()}
