"""First-order Taylor expansion of the loss."""

from __future__ import annotations

from torch import Tensor

from prunebench.pruning.criteria.criterion import Criterion
from prunebench.pruning.evidence import Evidence, Need


class Taylor(Criterion):
    """(g w)^2, averaged over batches: the squared change of the loss, to first order, were the weight zero.

    g is the gradient of a batch's mean loss, so it is squared after averaging over the examples of a batch and before
    averaging over batches. Of a channel or block the sum over its elements, which is the second of the paper's two
    group scores; its first, the square of the sum of g w, cannot be had from scores of elements.
    Source: Molchanov, Mallya, Tyree, Frosio, Kautz, Importance Estimation for Neural Network Pruning, CVPR 2019.

    Example: w = 3 with gradients 1 and -2 in two batches scores (3^2 + 6^2) / 2 = 22.5; |w g| of the mean gradient, by
    which `snip` ranks, is 1.5.
    """

    name = "taylor"
    needs = frozenset[Need]({"batch_squares"})
    aggregation = "sum"

    def score(self, name: str, weight: Tensor, evidence: Evidence) -> Tensor:
        """Float64 on the CPU: squares of small gradients are beyond float32."""
        return weight.cpu().double().square() * evidence.of("batch_squares", name).double()
