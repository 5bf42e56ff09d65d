"""A model's outputs on every example of a set, and each example's score."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.data import Examples, whole_batches
from prunebench.errors import DataError, ModelError, RecordError, first_line
from prunebench.machine.devices import Precision, SinglePrecision, arithmetic, evaluation_mode, model_device, seeded
from prunebench.models import check_values, copied, in_float32, output_of, prunable_parameters, state_digest
from prunebench.tasks.classification import CLASSIFICATION
from prunebench.tasks.task import Task

BATCH_SIZE = 500  # divides 10,000: no smaller last batch, whose shape would have to be prepared on its own

BatchProgress = Callable[[int, int], None]
"""Called after each batch with the number of examples done and their total."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A model's answers on a set of examples, each right or wrong.

    Attributes:
        answers: int64 (n, ...), on the CPU, in the order of the examples.
        correct: bool (n,), on the CPU.
        seconds: wall-clock time of the evaluation.
        smooth_accuracy: percent, with each example counted by `Task.graded` instead of by 0 or 1. NaN where it was not
            kept.
        first_outputs: the outputs of the first batch, float, on the CPU: they tell weights apart that give the same
            answers.
    """

    answers: Tensor
    correct: Tensor
    seconds: float
    smooth_accuracy: float = math.nan
    first_outputs: Tensor | None = None

    @property
    def count(self) -> int:
        """Number of examples."""
        return len(self.correct)

    @cached_property
    def correct_count(self) -> int:
        """Number of examples answered right."""
        return int(self.correct.sum())

    @property
    def accuracy(self) -> float:
        """Percent of examples answered right."""
        return 100 * self.correct_count / self.count

    @property
    def digest(self) -> str:
        """SHA-256 over the answers, in order."""
        return hashlib.sha256(self.answers.to(torch.int16).numpy().tobytes()).hexdigest()

    @property
    def correct_bits(self) -> str:
        """One bit an example, packed (the first in the highest bit of the first byte), in base64."""
        return base64.b64encode(np.packbits(self.correct.numpy()).tobytes()).decode("ascii")


def unpacked(bits: str, *, correct: int, images: int) -> NDArray[np.bool_]:
    """Unpack `Evaluation.correct_bits`: which images were answered right, bool (images,).

    Raises:
        RecordError: the bits are not base64, too few or too many, or do not add up to `correct` right answers.
    """
    try:
        packed = np.frombuffer(base64.b64decode(bits, validate=True), dtype=np.uint8)
    except (binascii.Error, ValueError) as error:
        raise RecordError(f"correct_bits are not base64: {error}") from error
    if len(packed) != (needed := -(-images // 8)):
        raise RecordError(f"correct_bits hold {len(packed)} bytes, {images} images need {needed}")
    right = np.unpackbits(packed).astype(np.bool_)
    if int(right.sum()) != correct or right[images:].any():
        raise RecordError(f"correct_bits say {int(right.sum())} images are right, the record says {correct}")
    return right[:images]


@contextlib.contextmanager
def answering(model: nn.Module, precision: Precision) -> Iterator[None]:
    """A context for computing answers: evaluation mode, no gradients, and arithmetic in `precision`.

    In bf16 the first and the last prunable layer compute in fp32: rounding these changes most of the answers that bf16
    changes. Of 10,000 of this VGG, one layer pruned until it fails, 18 to 38 come out otherwise than in fp32 if all
    layers round, 5 to 12 if these two do not, for 4 % more time.
    """
    weights = [*prunable_parameters(model).values()]
    ends = SinglePrecision(weights[:1] + weights[-1:]) if precision == "bf16" else contextlib.nullcontext()
    with evaluation_mode(model), torch.inference_mode(), arithmetic(model_device(model), precision), ends:
        yield


def ask(model: nn.Module, inputs: Tensor) -> Tensor:
    """The outputs that `model` gives for `inputs` (n, ...), in the mode it is in.

    Raises:
        ModelError: it fails, or answers without a tensor.
    """
    try:
        outputs = model(inputs)
    except Exception as error:  # the model's own code may raise anything
        mode = "in training " if model.training else ""
        shape = tuple(inputs.shape)
        raise ModelError(f"the model fails {mode}on inputs of shape {shape}: {first_line(error)}") from error
    return output_of(outputs)


def check_answers(model: nn.Module, data: Examples, *, task: Task = CLASSIFICATION) -> Tensor:
    """The outputs for two examples, once they were found to fit the targets of all.

    Raises:
        DataError: no examples, or targets that do not fit.
        ModelError: a model that fails on an example, or does not answer as the task needs.
    """
    _check_some(data)
    inputs = data.fed(data.inputs[:2]).to(model_device(model))
    with evaluation_mode(model), torch.inference_mode():
        outputs = ask(model, inputs)
    if outputs.shape[:1] != inputs.shape[:1]:
        got = f"a tensor {tuple(outputs.shape)} of {outputs.dtype}"
        raise ModelError(f"the model answers {len(inputs)} inputs with {got}: expected float scores (n, classes)")
    task.check(outputs, data)
    return outputs


def forward_digest(model: nn.Module, data: Examples, *, training: bool = False) -> str:
    """SHA-256 over what `model` answers to the first four examples in evaluation mode and, if `training`, in that mode.

    It tells models apart that answer otherwise, whatever makes the difference. Two things that four examples need not
    show are part of it too: how weights lie in memory, which the last bits depend on, and `str(model)`, the modules
    with their settings, such as a chance of dropout. What only a backward pass, other examples or larger batches show
    is not. The model ends as it was: a copy of it is asked.

    Raises:
        ModelError: it cannot be copied, fails, or answers without a tensor.
    """
    probed, device = copied(model), model_device(model)
    inputs, outputs = data.fed(data.inputs[:4]).to(device), {}
    for mode in (False, True)[: 1 + training]:
        with torch.set_grad_enabled(mode), seeded(device, 0), arithmetic(device, "fp32"):
            outputs[str(mode)] = ask(probed.train(mode), inputs.clone())
    described = [str(model), [parameter.stride() for parameter in model.parameters()], state_digest(outputs)]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _check_some(data: Examples) -> None:
    if len(data) == 0:
        raise DataError("there are no images to evaluate: expected at least one")


def evaluate(
    model: nn.Module,
    data: Examples,
    *,
    task: Task = CLASSIFICATION,
    batch_size: int = BATCH_SIZE,
    precision: Precision = "fp32",
    progress: BatchProgress | None = None,
) -> Evaluation:
    """Evaluate `model` on `data`, in evaluation mode, on the device the model is on.

    Verdicts are given on fp32; `bf16` is for those who ask for it, and may differ by a few examples in ten thousand.

    The mode of the model and of each of its modules is put back afterwards. Every example counts, also those of a
    smaller last batch.

    A compiled model is computed as it was before `torch.compile`, one whose weights are not float32 as a copy of which
    they are.

    Raises:
        DataError: no examples.
        ModelError: the model is none, has no weights with values, fails, or answers without a tensor.
    """
    _check_some(data)
    check_right_or_wrong(task)
    model, _ = in_float32(check_values(model))
    device = model_device(model)
    resident = data.to(device)
    start = time.perf_counter()
    answers, scores, graded, first_outputs = [], [], [], None
    with answering(model, precision):
        for inputs, targets in whole_batches(resident, batch_size=batch_size):
            outputs = ask(model, inputs)
            first_outputs = outputs.float() if first_outputs is None else first_outputs
            answers.append(task.answers(outputs))
            scores.append(task.scores(outputs, targets))
            graded.append(task.graded(outputs.float(), targets))
            if progress:
                progress(min(len(answers) * batch_size, len(data)), len(data))
        answered = torch.cat(answers).cpu()  # waits for the device
        correct = torch.cat(scores).cpu() > 0
        smooth = torch.cat(graded).cpu().double().mean()  # not every device has doubles
    seconds = time.perf_counter() - start
    return Evaluation(
        answers=answered,
        correct=correct,
        smooth_accuracy=100 * float(smooth),
        seconds=seconds,
        first_outputs=first_outputs.cpu() if first_outputs is not None else None,
    )


def check_right_or_wrong(task: Task) -> None:
    """Check that each example is right or wrong: what records, scans and the gate's tests are made for.

    Raises:
        DataError: the task scores by another kind.
    """
    if task.kind != "proportion":
        raise DataError(
            f"task '{task.name}' scores by {task.kind}: expected a task that scores each example 0 or 1 (kind "
            "'proportion')"
        )
