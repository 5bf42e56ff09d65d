"""Answers of a masked and a shrunk model, example by example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from prunebench.data import Examples, whole_batches
from prunebench.machine.devices import model_device
from prunebench.tasks import Task
from prunebench.tasks.evaluation import BATCH_SIZE, answering, ask

LARGEST_DIFFERENCE = 1e-4
"""Of outputs, relative to the largest: what another order of sums may make in single precision."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models' answers to the same examples.

    Attributes:
        difference: the largest of two outputs, relative to the largest output.
        different: examples that are answered otherwise.
        ties: those of them whose two largest outputs are no further apart than `difference`.
    """

    images: int
    difference: float
    different: tuple[int, ...]
    ties: tuple[int, ...]

    @property
    def same(self) -> bool:
        """True where the two are one model but for rounding."""
        return self.difference <= LARGEST_DIFFERENCE and self.different == self.ties


def compare_answers(
    first: nn.Module,
    second: nn.Module,
    data: Examples,
    *,
    task: Task,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Ask both models every example, in fp32.

    Raises:
        ModelError: one fails, or answers without a tensor.
    """
    outputs, others = [], []
    with answering(first, "fp32"), answering(second, "fp32"):
        for inputs, _ in whole_batches(data.to(model_device(first)), batch_size=BATCH_SIZE):
            outputs.append(ask(first, inputs).float().cpu())
            others.append(ask(second, inputs).float().cpu())
            if progress:
                progress(min(len(outputs) * BATCH_SIZE, len(data)), len(data))
    one, two = torch.cat(outputs), torch.cat(others)
    largest = float(one.abs().max())
    difference = float((one - two).abs().max()) / largest if largest else float((one - two).abs().max())
    different = (task.answers(one) != task.answers(two)).reshape(len(one), -1).any(dim=1).nonzero().flatten().tolist()
    scores = one.reshape(len(one), -1)
    scores = scores if scores.shape[1] > 1 else torch.cat([torch.zeros_like(scores), scores], dim=1)
    gaps = -scores.topk(2, dim=1).values.diff(dim=1).flatten()
    ties = [index for index in different if gaps[index] <= 2 * difference * largest]
    return Comparison(images=len(data), difference=difference, different=tuple(different), ties=tuple(ties))
