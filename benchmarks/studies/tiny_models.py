"""Many real, tiny classifiers at once, as cheap material for studies of the gate. No command of its own.

Each is a perceptron with one hidden layer, trained on scikit-learn's digits from its own seed and in its own order; all
are trained side by side as one batched product. Their test set is the 600 test digits of the `digits` workload, drawn
with replacement to 10,000 and made hard by pixel noise: accuracy is about 92 %, and two seeds differ on 4 % of
the images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, cross_entropy

from prunebench.data import load_digits
from prunebench.records import Accuracy
from prunebench.tasks import Evaluation

IMAGES = 10_000
NOISE = 0.12
HIDDEN = 24


@dataclass(frozen=True, kw_only=True)
class TinyModels:
    """Weights of `count` models: `first` (count, 64, hidden), `second` (count, hidden, 10)."""

    first: Tensor
    second: Tensor

    def __len__(self) -> int:
        return len(self.first)

    def logits(self, images: Tensor, index: int) -> Tensor:
        """Of one model, (n, 10), in the images' own floating-point type."""
        hidden = (images @ self.first[index].to(images.dtype)).relu()
        return hidden @ self.second[index].to(images.dtype)


def noisy_digits() -> tuple[Tensor, Tensor]:
    """10,000 test images, float32 (n, 64), and their labels."""
    data, generator = load_digits(), torch.Generator().manual_seed(0)
    drawn = torch.randint(len(data.test), (IMAGES,), generator=generator)
    images = _flat(data.test.inputs)[drawn]
    return images + NOISE * torch.randn(images.shape, generator=generator), data.test.targets[drawn]


def train_tiny(count: int, *, steps: int = 200, batch: int = 32, seed: int = 0) -> TinyModels:
    """Train `count` models by Adam, a few seconds for a few hundred."""
    data, generator = load_digits(), torch.Generator().manual_seed(seed)
    images, labels = _flat(data.train.inputs), data.train.targets
    first = 0.12 * torch.randn(count, images.shape[1], HIDDEN, generator=generator)
    second = 0.2 * torch.randn(count, HIDDEN, 10, generator=generator)
    optimizer = torch.optim.Adam([first.requires_grad_(), second.requires_grad_()], lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps + 1)
    for _ in range(steps):
        chosen = torch.randint(len(images), (count, batch), generator=generator)
        noisy = images[chosen] + NOISE * torch.randn(count, batch, images.shape[1], generator=generator)
        answers = torch.bmm(torch.bmm(noisy, first).relu(), second)
        (count * cross_entropy(answers.reshape(-1, 10), labels[chosen].reshape(-1))).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return TinyModels(first=first.detach(), second=second.detach())


def accuracy(predictions: Tensor, labels: Tensor) -> Accuracy:
    """The answers as a record keeps them."""
    evaluation = Evaluation(answers=predictions, correct=predictions == labels, seconds=0.0)
    return Accuracy(
        correct=evaluation.correct_count,
        images=evaluation.count,
        correct_bits=evaluation.correct_bits,
        predictions_digest=evaluation.digest,
    )


def _flat(images: Tensor) -> Tensor:
    """One of the three equal channels, back at 8x8, 0..1, centred, (n, 64)."""
    return avg_pool2d(images[:, :1].float(), 2).reshape(len(images), -1) / 255 - 0.3
