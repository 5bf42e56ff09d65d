"""The training signature: what was done is told apart, whatever device or memory layout it was done on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from prunebench.training.signature import Tally, Tallying, joined, movement

IMAGES = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 1, 0, 2])


def tally(*batches: tuple[Tensor, Tensor], rate: float = 0.1) -> Tally:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=rate, momentum=0.5, weight_decay=1e-3)
    tallying = Tallying()
    for images, labels in batches:
        tallying.step(images, labels, torch.zeros(len(labels), 3), optimizer)
    return tallying.done()


def test_it_counts_what_was_done() -> None:
    done = tally((IMAGES[:4], LABELS[:4]), (IMAGES[4:], LABELS[4:]))
    assert (2, 6, 0.1, "float32") == (done.steps, done.images, done.learning_rate, done.scores_dtype)
    assert {"momentum": 0.5, "weight_decay": 1e-3, "nesterov": 0.0} == done.optimizer


def test_memory_layout_makes_no_difference() -> None:
    assert tally((IMAGES, LABELS)) == tally((IMAGES.contiguous(memory_format=torch.channels_last), LABELS))


@pytest.mark.parametrize(
    "other",
    [
        IMAGES.flip(0),
        IMAGES.flip(3),
        IMAGES.roll(1, dims=2),
        IMAGES.flip(1),
        IMAGES * (1 + 2**-22),
        torch.cat([IMAGES[:5], IMAGES[:1]]),
    ],
    ids=["order", "mirrored", "moved", "channels", "rounded", "one image"],
)
def test_other_images_are_other_images(other: Tensor) -> None:
    before, after = tally((IMAGES, LABELS)), tally((other, LABELS))
    assert before.images_digest != after.images_digest
    assert before.labels_digest == after.labels_digest


def test_other_labels_and_another_order_of_batches_are_told_apart() -> None:
    first, second = (IMAGES[:3], LABELS[:3]), (IMAGES[3:], LABELS[3:])
    assert tally(first, second).labels_digest != tally(second, first).labels_digest
    assert joined(["a", "b"]) != joined(["b", "a"])


def test_movement_is_relative_to_the_start_and_leaves_out_what_counts() -> None:
    start = {"w": torch.tensor([3.0, 4.0, 0.0]), "mean": torch.tensor([2.0]), "batches": torch.tensor(7)}
    end = {"w": torch.tensor([3.0, 1.0, 0.0]), "mean": torch.tensor([1.0]), "batches": torch.tensor(9)}
    moved = movement(start, end, parameters=["w"])
    assert {"w": pytest.approx(3 / 5)} == moved.distance
    assert {"w": pytest.approx(10**0.5 / 5)} == moved.length
    assert {"mean": 0.5} == moved.statistics
