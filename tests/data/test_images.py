"""Image sets: what they accept, what their digests are sensitive to, and how they are split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.data.examples import Dataset, Examples, split_validation
from prunebench.errors import DataError


def numbered(n: int, seed: int = 0) -> Examples:
    """`n` random images, each labelled with its own number."""
    generator = torch.Generator().manual_seed(seed)
    return Examples(torch.randint(0, 256, (n, 3, 4, 4), generator=generator, dtype=torch.uint8), torch.arange(n))


def dataset(train: Examples, test: Examples) -> Dataset:
    return Dataset(name="name", train=train, test=test, classes=("a", "b"), origin="origin")


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4, dtype=torch.int64), torch.zeros(2, 4, 4, dtype=torch.uint8)],
    ids=["float", "int64", "three dimensions"],
)
def test_images_that_are_not_uint8_of_four_dimensions_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"images must be uint8 \(n, channels, height, width\), got"):
        Examples(images, torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(
    "labels",
    [torch.zeros(2), torch.zeros(2, dtype=torch.int32), torch.zeros(3, dtype=torch.int64), torch.zeros(2, 1).long()],
    ids=["float", "int32", "one too many", "two dimensions"],
)
def test_labels_that_are_not_one_int64_an_image_are_refused(labels: torch.Tensor) -> None:
    with pytest.raises(DataError, match="labels must be int64, one for each of the 2 images, got"):
        Examples(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), labels)


@pytest.mark.parametrize("labels", [[0, 1, 2], np.zeros(3, np.int64)])
def test_what_is_no_tensor_is_named(labels: object) -> None:
    images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(
        DataError, match=r"labels must be a torch tensor, got a (list|numpy\.ndarray): torch\.as_tensor"
    ):
        Examples(images, labels)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"images must be a torch tensor, got a numpy\.ndarray"):
        Examples(images.numpy(), torch.zeros(3, dtype=torch.int64))  # type: ignore[arg-type]


def test_equal_content_has_an_equal_digest_whatever_its_memory_format() -> None:
    data = numbered(5)
    laid_out_otherwise = Examples(data.images.to(memory_format=torch.channels_last), data.labels.clone())
    assert data.digest == laid_out_otherwise.digest
    assert data.digest == numbered(5).digest


@settings(deadline=None)
@given(place=st.integers(0, 5 * 3 * 4 * 4 - 1), change=st.integers(1, 255))
def test_the_digest_changes_with_any_one_pixel(place: int, change: int) -> None:
    data = numbered(5)
    images = data.images.clone()
    images.view(-1)[place] += change
    assert data.digest != Examples(images, data.labels).digest


@pytest.mark.parametrize("index", range(5))
def test_the_digest_changes_with_any_one_label(index: int) -> None:
    data = numbered(5)
    labels = data.labels.clone()
    labels[index] += 1
    assert data.digest != Examples(data.images, labels).digest


def test_the_digest_changes_with_order_and_with_shape() -> None:
    data = numbered(5)
    reordered = data.take(torch.tensor([1, 0, 2, 3, 4]))
    reshaped = Examples(data.images.permute(0, 2, 3, 1).reshape(5, 8, 2, 3).permute(0, 3, 1, 2), data.labels)
    assert 3 == len({data.digest, reordered.digest, reshaped.digest})


def test_a_data_set_digest_changes_with_classes_and_either_set_but_not_with_name_or_origin() -> None:
    train, test = numbered(5), numbered(3, seed=1)
    first = dataset(train, test)
    assert first.digest == replace(first, name="other", origin="elsewhere").digest
    others = [
        dataset(test, train),
        dataset(numbered(5, seed=2), test),
        dataset(train, numbered(3, seed=2)),
        replace(first, classes=("b", "a")),
    ]
    assert 5 == len({first.digest, *(other.digest for other in others)})


def test_take_gives_the_images_asked_for_in_that_order() -> None:
    data, chosen = numbered(6), torch.tensor([4, 1, 1])
    taken = data.take(chosen)
    assert [4, 1, 1] == taken.labels.tolist()
    assert torch.equal(data.images[chosen], taken.images)
    assert taken.images.is_contiguous(memory_format=torch.channels_last)


@settings(deadline=None)
@given(n=st.integers(2, 40), data=st.data())
def test_a_validation_split_is_disjoint_and_complete_and_keeps_images_with_their_labels(
    n: int, data: st.DataObject
) -> None:
    size, seed = data.draw(st.integers(1, n - 1)), data.draw(st.integers(0, 2**31))
    whole = numbered(n)
    train, validation = split_validation(whole, size=size, seed=seed)
    assert size == len(validation)
    assert list(range(n)) == sorted(train.labels.tolist() + validation.labels.tolist())
    for part in (train, validation):
        assert torch.equal(whole.images[part.labels], part.images)


def test_a_validation_split_is_fixed_by_its_seed() -> None:
    whole = numbered(40)
    first, again, other = (split_validation(whole, size=10, seed=seed)[1].digest for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("size", [-1, 0, 40, 41])
def test_a_validation_split_that_empties_a_part_is_refused(size: int) -> None:
    with pytest.raises(DataError, match=f"validation size must be between 1 and 39, got {size}"):
        split_validation(numbered(40), size=size, seed=0)
