"""The bundled digits: sizes, a split that never changes, and content that agrees with scikit-learn's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from prunebench.data import load_digits
from prunebench.data.examples import Dataset, Examples


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits()


def contents(images: Examples) -> set[bytes]:
    return {image.numpy().tobytes() for image in images.inputs}


def test_there_are_1197_training_and_600_test_images_of_16x16_rgb(digits: Dataset) -> None:
    assert (1197, 3, 16, 16) == tuple(digits.train.inputs.shape)
    assert (600, 3, 16, 16) == tuple(digits.test.inputs.shape)


def test_the_three_channels_are_alike_and_use_the_whole_range(digits: Dataset) -> None:
    images = torch.cat([digits.train.inputs, digits.test.inputs])
    assert torch.equal(images[:, :1].expand_as(images), images)
    assert (0, 255) == (int(images.min()), int(images.max()))


def test_the_classes_are_the_ten_digits_and_both_sets_hold_all_of_them(digits: Dataset) -> None:
    assert tuple("0123456789") == digits.classes
    for part in (digits.train, digits.test):
        assert set(range(10)) == set(part.targets.tolist())


def test_the_split_is_disjoint_and_complete(digits: Dataset) -> None:
    bundled = pytest.importorskip("sklearn.datasets").load_digits()
    counts = digits.train.targets.bincount() + digits.test.targets.bincount()
    assert np.bincount(bundled.target).tolist() == counts.tolist()
    assert 1797 == len(contents(digits.train)) + len(contents(digits.test))
    assert set() == contents(digits.train) & contents(digits.test)


def enlarged(digit: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Twice the size: each new pixel is three quarters of the one it lies in and a quarter of its neighbour."""
    for _ in range(2):  # rows, then columns
        padded = np.pad(digit, ((1, 1), (0, 0)), mode="edge")
        pairs = (0.75 * digit + 0.25 * padded[:-2], 0.75 * digit + 0.25 * padded[2:])
        digit = np.stack(pairs, axis=1).reshape(2 * len(digit), -1).T
    return digit


def test_images_are_the_bundled_digits_enlarged_with_their_labels(digits: Dataset) -> None:
    bundled = pytest.importorskip("sklearn.datasets").load_digits()
    expected = np.stack([enlarged(image) * 255 / 16 for image in bundled.images])
    for image, label in zip(digits.test.inputs[:50, 0].numpy(), digits.test.targets.tolist(), strict=False):
        difference = np.abs(expected - image).max(axis=(1, 2))
        assert difference.min() <= 0.501  # a rounding
        assert int(bundled.target[difference.argmin()]) == label


def test_two_calls_give_the_same_digest(digits: Dataset) -> None:
    again = load_digits()
    assert digits.digest == again.digest
    assert digits.train.digest == again.train.digest
