"""A granularity: rows of kernels, all that one input gives one output in a row of a convolution's kernel."""

import prunebench as pb


class Rows(pb.Granularity):
    """The last dimension of a weight goes whole."""

    name = "rows"

    def unit_size(self, shape, *, name="a weight"):
        """The width of the kernel, or a linear layer's inputs."""
        return shape[-1]

    def unit_scores(self, scores, aggregation="l2"):
        """One a row."""
        return scores.norm(dim=-1) if aggregation == "l2" else scores.sum(-1)

    def expand(self, kept, shape):
        """The mask."""
        return kept[..., None].expand(*shape).contiguous()
