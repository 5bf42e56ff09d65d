"""Scales of batch norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from prunebench.errors import PlanError
from prunebench.pruning.criteria.criterion import Criterion
from prunebench.pruning.evidence import Evidence, Need
from prunebench.pruning.granularities.channel import connections


class BatchNormScale(Criterion):
    """|gamma|, the scale that the batch norm after a layer gives each of its output channels.

    Only for granularity `channel`, and for layers whose output goes to a batch norm as it is. The paper trains with an
    L1 penalty on the scales first, and ranks all channels of the model together (allocation `global`).
    Source: Liu, Li, Shen, Huang, Yan, Zhang, Learning Efficient Convolutional Networks through Network Slimming, ICCV
    2017.

    Example: a convolution before a batch norm of scales (0.5, -2) scores its two channels (0.5, 2).
    """

    name = "bn_scale"
    needs = frozenset[Need]({"example"})
    by_channel = True

    def scores(self, model: nn.Module, names: Sequence[str], evidence: Evidence) -> Mapping[str, Tensor]:
        """One a channel, (out,).

        Raises:
            PlanError: a layer has no batch norm after it, several, or one without scales.
        """
        if evidence.example is None:
            raise PlanError(
                "criterion 'bn_scale' finds batch norms by a batch of inputs: expected Evidence(example=...)"
            )
        after, _ = connections(model, evidence.example)
        modules, found = dict(model.named_modules()), {}
        for name in names:
            scales = [scale for norm in after[name.rpartition(".")[0]] if (scale := modules[norm].weight) is not None]
            if len(scales) != 1:
                raise PlanError(
                    f"'{name}' has {len(scales) or 'no'} batch norms with scales on its output: criterion 'bn_scale' "
                    "needs one; expected sparsity 0"
                )
            found[name] = scales[0].detach().abs()
        return found
