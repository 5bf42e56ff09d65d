"""A criterion: weights that the loss does not lean on go first."""

import prunebench as pb


class Gradient(pb.Criterion):
    """|g|, the size of the gradient alone."""

    name = "gradient"
    needs = frozenset({"gradients"})
    aggregation = "sum"

    def score(self, name, weight, evidence):
        """One a weight."""
        return evidence.of("gradients", name).abs()
