"""Blocks: rectangles of a weight's matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from prunebench.errors import PlanError
from prunebench.pruning.granularities.granularity import Aggregation, Granularity, aggregated
from prunebench.pruning.granularities.matrix import check_inputs, check_matrices, inputs_last


class Block(Granularity):
    """R consecutive outputs by C consecutive inputs; of a convolution, at one kernel position (`inputs_last`).

    By magnitude the score of a block is the L2 norm of its weights. Equal scores go by output, kernel position and
    input, lowest first. Source: Gray, Radford, Kingma, GPU Kernels for Block-Sparse Weights, 2017.

    R has to divide the outputs, of a grouped convolution those of a group, of the stacked projections of attention
    those of each; C the inputs. Other layers, embeddings and transposed convolutions are refused by name.
    """

    def __init__(self, rows: int, columns: int) -> None:
        if rows * columns < 2:
            raise PlanError(f"granularity 'block{rows}x{columns}' has {rows * columns} elements: expected 2 or more")
        self.name = f"block{rows}x{columns}"
        self._rows, self._columns = rows, columns

    def unit_size(self, shape: Sequence[int], *, name: str = "a weight") -> int:
        """R times C."""
        check_inputs(shape, self._columns, granularity=self.name, name=name)
        if shape[0] % self._rows:
            raise PlanError(
                f"'{name}' has {shape[0]} outputs, which runs of {self._rows} do not divide: by {self.name} it is not "
                "pruned; expected sparsity 0"
            )
        return self._rows * self._columns

    def unit_scores(self, scores: Tensor, aggregation: Aggregation = "l2") -> Tensor:
        """One a block, (out / R, *kernel, in / C)."""
        matrix = inputs_last(scores)
        blocks = matrix.view(-1, self._rows, *matrix.shape[1:-1], matrix.shape[-1] // self._columns, self._columns)
        return aggregated(blocks, (1, -1), aggregation)

    def expand(self, kept: Tensor, shape: Sequence[int]) -> Tensor:  # noqa: ARG002 - as the base says
        """The mask: each block all True or all False."""
        return kept.repeat_interleave(self._rows, 0).repeat_interleave(self._columns, -1).movedim(-1, 1).contiguous()

    def companions(self, model: nn.Module, pruned: Sequence[str], example: Tensor | None) -> Mapping[str, list[str]]:  # noqa: ARG002
        """None.

        Raises:
            PlanError: a weight has no inputs in its second dimension, or a block would lie in two groups.
        """
        check_matrices(model, pruned, granularity=self.name, rows=self._rows)
        return {}
