"""Batches: the augmentation against torchvision's own, exact conversion, and orders that a seed decides."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from prunebench.data.batches import Augmentation, augment, training_batches, whole_batches
from prunebench.data.examples import Examples, to_float

ALPHA = 1e-6
"""A fair sample fails a test this rarely; the seeds are fixed, so it fails always or never."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(n: int) -> Examples:
    """`n` random images, each labelled with its own number."""
    return Examples(torch.randint(0, 256, (n, 3, 8, 8), generator=seeded(n), dtype=torch.uint8), torch.arange(n))


def torchvision_outcomes(image: Tensor, padding: int) -> Tensor:
    """Every image that RandomCrop(size, padding) and RandomHorizontalFlip can make: (row, column, flip, ...)."""
    functional: Any = pytest.importorskip("torchvision.transforms.functional")
    height, width = image.shape[-2:]
    padded = functional.pad(image, [padding] * 4)
    crops = [
        functional.crop(padded, top, left, height, width)
        for top in range(2 * padding + 1)
        for left in range(2 * padding + 1)
    ]
    outcomes = torch.stack([flipped for crop in crops for flipped in (crop, functional.hflip(crop))])
    return outcomes.view(2 * padding + 1, 2 * padding + 1, 2, *image.shape)


def drawn_outcomes(image: Tensor, augmentation: Augmentation, draws: int) -> Tensor:
    """How often each of torchvision's outcomes was drawn, (row, column, flip); fails where one is not torchvision's."""
    outcomes = torchvision_outcomes(image, augmentation.crop_padding)
    known = {outcome.contiguous().numpy().tobytes(): i for i, outcome in enumerate(outcomes.flatten(0, 2))}
    assert outcomes[..., 0, 0, 0].numel() == len(known), "an image too regular to tell its outcomes apart"
    drawn = augment(image.expand(draws, -1, -1, -1), augmentation, seeded(3))
    found = torch.tensor([known[one.contiguous().numpy().tobytes()] for one in drawn])
    return found.bincount(minlength=len(known)).view(outcomes.shape[:3])


def test_every_crop_and_flip_is_one_of_torchvisions_and_each_is_as_likely() -> None:
    counts = drawn_outcomes(numbered(1).inputs[0], Augmentation(), draws=162 * 50)
    assert (9, 9, 2) == tuple(counts.shape)
    for axes in ((1, 2), (0, 2), (0, 1)):
        assert chisquare(counts.sum(axes).numpy()).pvalue > ALPHA
    assert chisquare(counts.flatten().numpy()).pvalue > ALPHA


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("flip", [False, True])
def test_padding_and_flip_are_what_the_augmentation_says(padding: int, flip: bool) -> None:
    counts = drawn_outcomes(numbered(1).inputs[0], Augmentation(crop_padding=padding, flip=flip), draws=1000)
    used = counts if flip else counts[..., :1]
    assert 1000 == int(used.sum())
    assert used.min() > 0


def test_each_image_of_a_batch_is_cropped_and_flipped_on_its_own() -> None:
    data = numbered(60)
    choices = set()
    for original, one in zip(data.inputs, augment(data.inputs, Augmentation(), seeded(1)), strict=True):
        equal = (torchvision_outcomes(original, 4) == one).flatten(3).all(dim=-1)
        assert 1 == int(equal.sum())
        choices.add(tuple(equal.nonzero()[0].tolist()))
    assert len(choices) > 30  # of 162, in 60 draws


def test_images_that_are_not_square_keep_their_shape() -> None:
    image = torch.randint(0, 256, (3, 6, 10), generator=seeded(0), dtype=torch.uint8)
    counts = drawn_outcomes(image, Augmentation(crop_padding=1), draws=500)
    assert counts.min() > 0


def test_augmented_images_stay_uint8_and_are_channels_last() -> None:
    augmented = augment(numbered(5).inputs, Augmentation(), seeded(0))
    assert torch.uint8 == augmented.dtype
    assert augmented.is_contiguous(memory_format=torch.channels_last)


def test_augmenting_leaves_the_originals_as_they_were() -> None:
    data = numbered(20)
    list(training_batches(data, batch_size=7, augmentation=Augmentation(), generator=seeded(0)))
    assert torch.equal(numbered(20).inputs, data.inputs)


def test_to_float_gives_the_bits_of_torchvisions_to_tensor() -> None:
    transforms: Any = pytest.importorskip("torchvision.transforms")
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    expected = transforms.ToTensor()(images[0].permute(1, 2, 0).numpy())
    converted = to_float(images)
    assert torch.float32 == converted.dtype
    assert torch.equal(expected, converted[0])
    assert (0.0, 1.0) == (float(converted.min()), float(converted.max()))


@given(n=st.integers(1, 30), batch_size=st.integers(1, 35), seed=st.integers(0, 2**31))
def test_an_epoch_is_a_permutation_and_keeps_the_last_smaller_batch(n: int, batch_size: int, seed: int) -> None:
    data = numbered(n)
    batches = list(training_batches(data, batch_size=batch_size, augmentation=None, generator=seeded(seed)))
    full, rest = divmod(n, batch_size)
    assert [batch_size] * full + [rest] * bool(rest) == [len(labels) for _, labels in batches]
    assert list(range(n)) == sorted(label for _, labels in batches for label in labels.tolist())
    for images, labels in batches:
        assert torch.equal(to_float(data.inputs[labels]), images)


def test_batches_are_augmented_images_with_their_own_labels() -> None:
    data = numbered(6)
    for images, labels in training_batches(data, batch_size=4, augmentation=Augmentation(), generator=seeded(0)):
        for image, label in zip(images, labels.tolist(), strict=True):
            possible = to_float(torchvision_outcomes(data.inputs[label], 4))
            assert (possible == image).flatten(3).all(dim=-1).any()


def test_the_same_seed_gives_the_same_batches_and_another_seed_others() -> None:
    def epoch(seed: int) -> list[tuple[Tensor, Tensor]]:
        batches = training_batches(numbered(30), batch_size=8, augmentation=Augmentation(), generator=seeded(seed))
        return list(batches)

    for (images, labels), (same_images, same_labels) in zip(epoch(1), epoch(1), strict=True):
        assert torch.equal(labels, same_labels)
        assert torch.equal(images, same_images)
    assert not torch.equal(epoch(1)[0][1], epoch(2)[0][1])


def test_an_epoch_draws_from_its_own_generator_alone() -> None:
    before = torch.get_rng_state()
    list(training_batches(numbered(10), batch_size=4, augmentation=Augmentation(), generator=seeded(0)))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("limit", "expected"), [(1, [1]), (8, [8]), (11, [8, 3]), (30, [8, 8, 8, 6]), (99, [8, 8, 8, 6])]
)
def test_a_limit_takes_the_first_images_of_the_same_order(limit: int, expected: list[int]) -> None:
    def order(limit: int | None) -> list[Tensor]:
        batches = training_batches(numbered(30), batch_size=8, augmentation=None, generator=seeded(5), limit=limit)
        return [labels for _, labels in batches]

    limited = order(limit)
    assert expected == [len(labels) for labels in limited]
    assert torch.equal(torch.cat(order(None))[:limit], torch.cat(limited))


@pytest.mark.parametrize("batch_size", [1, 4, 10, 11])
def test_whole_batches_hold_every_image_once_in_order(batch_size: int) -> None:
    data = numbered(10)
    batches = list(whole_batches(data, batch_size=batch_size))
    assert -(-10 // batch_size) == len(batches)
    assert torch.equal(data.targets, torch.cat([labels for _, labels in batches]))
    assert torch.equal(to_float(data.inputs), torch.cat([images for images, _ in batches]))
