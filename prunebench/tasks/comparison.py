"""Two models' outputs to the same examples: how far apart they are, and which answers differ."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunebench.data import Examples, whole_batches
from prunebench.errors import ModelError
from prunebench.machine.devices import model_device
from prunebench.tasks.evaluation import BATCH_SIZE, BatchProgress, Evaluation, answering, ask
from prunebench.tasks.task import Task

LARGEST_DIFFERENCE = 1e-4
"""Of an output, as a share of the largest one: fp32 that is added in another order stays far below it."""

Outputs = Callable[[Tensor], Tensor]
"""Inputs (n, ...), as the model gets them, to its outputs (n, ...)."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models' answers to the same examples.

    Attributes:
        first, second: what each answered; no seconds.
        difference: the largest of two outputs, as a share of the largest output of the first; infinite where one is no
            number.
        different: examples that are answered otherwise.
        ties: those of them whose two largest outputs are no further apart than twice the difference.
    """

    first: Evaluation
    second: Evaluation
    difference: float
    different: tuple[int, ...]
    ties: tuple[int, ...]

    @property
    def images(self) -> int:
        """Number of examples."""
        return self.first.count

    @property
    def same(self) -> bool:
        """True where the two are one model but for rounding."""
        return self.difference <= LARGEST_DIFFERENCE and self.different == self.ties


def compare_answers(
    first: nn.Module | Outputs,
    second: nn.Module | Outputs,
    data: Examples,
    *,
    task: Task,
    progress: BatchProgress | None = None,
) -> Comparison:
    """Ask both every example, in fp32.

    Raises:
        ModelError: one fails, or they answer in different shapes.
    """
    sides = [outputs_of(one) if isinstance(one, nn.Module) else one for one in (first, second)]
    answers: tuple[list[Tensor], list[Tensor]] = ([], [])
    scores: tuple[list[Tensor], list[Tensor]] = ([], [])
    gaps: dict[int, float] = {}
    largest, apart, done = 0.0, 0.0, 0
    for inputs, targets in whole_batches(data, batch_size=BATCH_SIZE):
        one, two = (side(inputs).float().cpu() for side in sides)
        if one.shape != two.shape:
            raise ModelError(f"the one answers with {tuple(one.shape)}, the other with {tuple(two.shape)}")
        for outputs, answered, scored in zip((one, two), answers, scores, strict=True):
            answered.append(task.answers(outputs))
            scored.append(task.scores(outputs, targets))
        largest = max(largest, float(one.abs().max()))
        apart = max(apart, float(torch.where(two == one, 0, two - one).abs().nan_to_num(math.inf).max()))
        differ = (answers[0][-1] != answers[1][-1]).reshape(len(one), -1).any(dim=1).nonzero().flatten().tolist()
        gaps |= {done + index: _gap(one[index]) for index in differ}
        done += len(targets)
        if progress:
            progress(done, len(data))
    evaluations = [
        Evaluation(answers=torch.cat(answered), correct=torch.cat(scored) > 0, seconds=0.0)
        for answered, scored in zip(answers, scores, strict=True)
    ]
    return Comparison(
        first=evaluations[0],
        second=evaluations[1],
        difference=apart / largest if largest else apart,
        different=tuple(gaps),
        ties=tuple(index for index, gap in gaps.items() if gap <= 2 * apart),
    )


def outputs_of(model: nn.Module) -> Outputs:
    """The outputs of `model` in evaluation mode and fp32, wherever it is."""

    def outputs(inputs: Tensor) -> Tensor:
        with answering(model, "fp32"):
            return ask(model, inputs.to(model_device(model)))

    return outputs


def _gap(outputs: Tensor) -> float:
    """The distance of the two largest outputs of an example; of a single one, that from 0."""
    flat = outputs.flatten()
    if len(flat) == 1:
        return abs(float(flat))
    largest, next_ = flat.topk(2).values.tolist()
    return float(largest - next_)
