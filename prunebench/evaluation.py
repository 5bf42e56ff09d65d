"""Predictions on every image of a set, and what follows from them: which are right, how many, accuracy."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prunebench.data import ImageSet, whole_batches
from prunebench.devices import Precision, arithmetic, model_device

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
        loss: mean cross-entropy, in nats an image; NaN where it was not kept.
    """

    predictions: Tensor
    correct: Tensor
    seconds: float
    loss: float = math.nan

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
    """The model in evaluation mode; its own mode and that of each of its modules are put back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


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
    """
    device = model_device(model)
    resident = data.to(device)
    start = time.perf_counter()
    predictions, finite, losses = [], [], []
    with evaluation_mode(model), torch.inference_mode(), arithmetic(device, precision):
        for images, labels in whole_batches(resident, batch_size=batch_size):
            logits = model(images)
            losses.append(cross_entropy(logits.float(), labels, reduction="sum"))
            predictions.append(logits.argmax(dim=1))
            finite.append(torch.isfinite(logits).all(dim=1))
            if progress:
                progress(min(len(predictions) * batch_size, len(data)), len(data))
        answered = torch.cat(predictions).cpu()  # waits for the device
        usable = torch.cat(finite).cpu()
        loss = float(torch.stack(losses).double().sum()) / len(data)
    correct = (answered == data.labels.cpu()) & usable
    return Evaluation(predictions=answered, correct=correct, loss=loss, seconds=time.perf_counter() - start)
