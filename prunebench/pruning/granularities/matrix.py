"""Weights as matrices: which dimension is outputs, which is inputs, and which weights have neither."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from prunebench.errors import PlanError

QUERY_KEY_VALUE = 3
"""Matrices that `nn.MultiheadAttention` stacks in its `in_proj_weight`."""


def inputs_last(weight: Tensor) -> Tensor:
    """A view (out, *kernel, in) of a weight (out, in, *kernel); of a linear layer the weight itself.

    Flattened to (out, kernel positions x in), its rows have runs of inputs at one kernel position. That is the order in
    which hardware takes N:M sparsity of convolutions (NVIDIA's ASP lays them so). torch's semi-structured tensors are
    matrices only: `inputs_last(weight).flatten(1).contiguous()` is the one they take.
    """
    return weight.movedim(1, -1)


def check_matrices(model: nn.Module, names: Sequence[str], *, granularity: str, rows: int = 1) -> None:
    """Check that weights have outputs in the first dimension and inputs in the second, and so many whole `rows`.

    Raises:
        PlanError: an embedding, a transposed convolution, a weight of another kind of layer with more than two
            dimensions; or a run of rows would lie in two groups, or in the query's and the key's projection.
    """
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for name in names:
        owner, _, last = name.rpartition(".")
        module, shape = modules[owner], parameters[name].shape
        convolution = isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd)
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) or (len(shape) > 2 and not convolution):
            raise PlanError(
                f"'{name}' has no inputs in its second dimension ({type(module).__name__}): by {granularity} it is not "
                "pruned; expected sparsity 0"
            )
        parts = QUERY_KEY_VALUE if last == "in_proj_weight" else int(getattr(module, "groups", 1))
        if shape[0] // parts % rows:
            raise PlanError(
                f"'{name}' has {shape[0] // parts} outputs{' in each part' if parts > 1 else ''}, which runs of {rows} "
                f"do not divide: by {granularity} it is not pruned; expected sparsity 0"
            )


def check_inputs(shape: Sequence[int], run: int, *, granularity: str, name: str) -> None:
    """Check that runs of inputs divide those of a weight of `shape`.

    Raises:
        PlanError: they do not; a depthwise convolution has one input.
    """
    if shape[1] % run:
        raise PlanError(
            f"'{name}' has {shape[1]} inputs, which runs of {run} do not divide: by {granularity} it is not pruned; "
            "expected sparsity 0"
        )
