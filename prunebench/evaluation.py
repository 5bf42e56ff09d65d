"""Predictions on every image of a set, and what follows from them: which are right, how many, accuracy."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from prunebench.data import ImageSet, to_float, whole_batches
from prunebench.devices import Precision, SinglePrecision, arithmetic, eager, model_device
from prunebench.errors import DataError, ModelError, first_line
from prunebench.models import check_values, in_float32, prunable_parameters

BATCH_SIZE = 500  # divides 10,000: no smaller last batch, whose shape would have to be prepared on its own

BatchProgress = Callable[[int, int], None]
"""Called after each batch with the number of images done and their total."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a model answered on a set of images.

    Attributes:
        predictions: int64 (n,), on the CPU, in the order of the images.
        correct: bool (n,), on the CPU.
        seconds: wall-clock time of the evaluation.
        smooth_accuracy: percent, with each image counted by the sigmoid of its margin, which is the score of the right
            class less the highest of another, instead of by 0 or 1: one minus the smooth 0-1 loss (Nguyen, Sanner 2013,
            Algorithms for Direct 0-1 Loss Optimization in Binary Classification). NaN where it was not kept.
        first_scores: the scores of the first batch, float (n, classes), on the CPU: they tell weights apart that give
            the same predictions.
    """

    predictions: Tensor
    correct: Tensor
    seconds: float
    smooth_accuracy: float = math.nan
    first_scores: Tensor | None = None

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.correct)

    @cached_property
    def correct_count(self) -> int:
        """Number of images answered right."""
        return int(self.correct.sum())

    @property
    def accuracy(self) -> float:
        """Percent of images answered right."""
        return 100 * self.correct_count / self.count

    @property
    def digest(self) -> str:
        """SHA-256 over the predictions, in order."""
        return hashlib.sha256(self.predictions.to(torch.int16).numpy().tobytes()).hexdigest()

    @property
    def correct_bits(self) -> str:
        """One bit an image, packed (first image in the highest bit of the first byte), in base64."""
        return base64.b64encode(np.packbits(self.correct.numpy()).tobytes()).decode("ascii")


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, run as it was before torch.compile; each module's mode is put back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with eager():
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def answering(model: nn.Module, precision: Precision) -> Iterator[None]:
    """What answers are computed under: evaluation mode, no gradients, and arithmetic in `precision`.

    In bf16 the first and the last prunable layer compute in fp32: rounding these changes most of the answers that bf16
    changes. Of 10,000 of this VGG, one layer pruned until it fails, 18 to 38 come out otherwise than in fp32 if all
    layers round, 5 to 12 if these two do not, for 4 % more time.
    """
    weights = [*prunable_parameters(model).values()]
    ends = SinglePrecision(weights[:1] + weights[-1:]) if precision == "bf16" else contextlib.nullcontext()
    with evaluation_mode(model), torch.inference_mode(), arithmetic(model_device(model), precision), ends:
        yield


def scores_of(outputs: object) -> Tensor:
    """The scores (n, classes) in what a model answers to n images.

    Taken from a tensor, from what is called `logits` in a mapping or an object, or from the first element of a tuple or
    list: in training GoogLeNet and Inception give auxiliary scores beside the main ones. One logit an image, (n, 1) or
    (n,), scores class 1 of two: it becomes two columns, 0 and the logit, of which cross-entropy, argmax and margin are
    those of the logit.

    Raises:
        ModelError: there are no scores in it.
    """
    if isinstance(outputs, Tensor):
        scores = outputs.reshape(-1, 1) if outputs.dim() < 2 else outputs
        if scores.dim() == 2 and scores.shape[1] == 1:
            return torch.cat([torch.zeros_like(scores), scores], dim=1)
        return scores
    if isinstance(outputs, Mapping) and "logits" in outputs:
        return scores_of(outputs["logits"])
    if (logits := getattr(outputs, "logits", None)) is not None:
        return scores_of(logits)
    if isinstance(outputs, tuple | list) and outputs:
        return scores_of(outputs[0])
    raise ModelError(f"the model answers with {type(outputs).__name__}: expected scores, a float tensor (n, classes)")


def ask(model: nn.Module, images: Tensor) -> Tensor:
    """The scores (n, classes) that `model` gives `images` (n, channels, height, width), in the mode it is in.

    Raises:
        ModelError: it fails, or answers without scores.
    """
    try:
        outputs = model(images)
    except Exception as error:  # the model's own code may raise anything
        mode = "in training " if model.training else ""
        shape = tuple(images.shape)
        raise ModelError(f"the model fails {mode}on images of shape {shape}: {first_line(error)}") from error
    return scores_of(outputs)


def check_answers(model: nn.Module, data: ImageSet) -> int:
    """The number of classes that `model` scores, from two images; it can be asked, and has a place for every label.

    Raises:
        DataError: no images, or a label below 0 or beyond the scores.
        ModelError: a model that fails on an image, or does not answer with scores.
    """
    _check_images(data)
    images = to_float(data.images[:2]).to(model_device(model))
    with evaluation_mode(model), torch.inference_mode():
        scores = ask(model, images)
    if scores.dim() != 2 or len(scores) != len(images) or not scores.is_floating_point():
        got = f"a tensor {tuple(scores.shape)} of {scores.dtype}"
        raise ModelError(f"the model answers {len(images)} images with {got}: expected float scores (n, classes)")
    lowest, highest = int(data.labels.min()), int(data.labels.max())
    if lowest < 0:
        raise DataError(f"labels begin at {lowest}: expected 0 and up")
    if highest >= scores.shape[1]:
        raise DataError(f"labels go up to {highest}, the model has {scores.shape[1]} scores, for 0 and up")
    return scores.shape[1]


def _check_images(data: ImageSet) -> None:
    if len(data) == 0:
        raise DataError("there are no images to evaluate: expected at least one")


def evaluate(
    model: nn.Module,
    data: ImageSet,
    *,
    batch_size: int = BATCH_SIZE,
    precision: Precision = "fp32",
    progress: BatchProgress | None = None,
) -> Evaluation:
    """Top-1 predictions of `model` on `data`, in evaluation mode, on the device the model is on.

    Verdicts are given on fp32; `bf16` is for those who ask for it, and may differ by a few images in ten thousand.

    The mode of the model and of each of its modules is put back afterwards. Every image counts, also those of a smaller
    last batch. An image whose logits are not all finite counts as wrong.

    A compiled model is computed as it was before `torch.compile`, one whose weights are not float32 as a copy of which
    they are.

    Raises:
        DataError: no images.
        ModelError: the model is none, has no weights with values, fails, or answers without scores.
    """
    _check_images(data)
    model, _ = in_float32(check_values(model))
    device = model_device(model)
    resident = data.to(device)
    start = time.perf_counter()
    predictions, finite, ahead, first_scores = [], [], [], None
    with answering(model, precision):
        for images, labels in whole_batches(resident, batch_size=batch_size):
            logits = ask(model, images)
            first_scores = logits.float() if first_scores is None else first_scores
            ahead.append(margins(logits.float(), labels).sigmoid())
            predictions.append(logits.argmax(dim=1))
            finite.append(torch.isfinite(logits).all(dim=1))
            if progress:
                progress(min(len(predictions) * batch_size, len(data)), len(data))
        answered = torch.cat(predictions).cpu()  # waits for the device
        usable = torch.cat(finite).cpu()
        smooth = torch.cat(ahead).cpu().double().where(usable, 0.0).mean()  # not every device has doubles
    correct = (answered == data.labels.cpu()) & usable
    seconds = time.perf_counter() - start
    return Evaluation(
        predictions=answered,
        correct=correct,
        smooth_accuracy=100 * float(smooth),
        seconds=seconds,
        first_scores=first_scores.cpu() if first_scores is not None else None,
    )


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """The score of the right class less the highest of another; float (n,) from (n, classes)."""
    right = logits.gather(1, labels[:, None])
    return right.squeeze(1) - logits.scatter(1, labels[:, None], -math.inf).amax(dim=1)
