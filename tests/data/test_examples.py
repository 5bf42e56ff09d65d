"""Examples: what they accept, what a model gets of them, what digests are sensitive to, and how they are split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunebench.data.examples import Dataset, Examples, Normalization, split_validation
from prunebench.errors import DataError
from prunebench.tasks import CLASSIFICATION


def numbered(n: int, seed: int = 0) -> Examples:
    """`n` random images, each labelled with its own number."""
    generator = torch.Generator().manual_seed(seed)
    return Examples(torch.randint(0, 256, (n, 3, 4, 4), generator=generator, dtype=torch.uint8), torch.arange(n))


def dataset(train: Examples, test: Examples) -> Dataset:
    return Dataset(name="name", train=train, test=test, classes=("a", "b"), origin="origin")


@pytest.mark.parametrize(
    ("inputs", "got"),
    [
        (torch.zeros(2, 4, 4, dtype=torch.uint8), r"torch\.uint8 of shape \(2, 4, 4\)"),
        (torch.zeros(2, 3, 4, 4, 4, dtype=torch.uint8), r"torch\.uint8 of shape \(2, 3, 4, 4, 4\)"),
        (torch.zeros(2), r"torch\.float32 of shape \(2,\)"),
    ],
    ids=["three dimensions", "five dimensions", "one dimension"],
)
def test_images_without_four_dimensions_and_inputs_without_any_of_their_own_are_refused(
    inputs: torch.Tensor, got: str
) -> None:
    with pytest.raises(DataError, match=rf"images uint8 \(n, channels, height, width\), got {got}"):
        Examples(inputs, torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("targets", "error"),
    [
        (torch.zeros(3, dtype=torch.int64), r"targets must be one for each of the 2 inputs, got shape \(3,\)"),
        (torch.tensor(0), r"targets must be one for each of the 2 inputs, got shape \(\)"),
    ],
    ids=["one too many", "no dimension"],
)
def test_targets_that_are_not_one_an_input_are_refused(targets: torch.Tensor, error: str) -> None:
    with pytest.raises(DataError, match=error):
        Examples(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), targets)


@pytest.mark.parametrize(
    "targets",
    [torch.zeros(2), torch.zeros(2, dtype=torch.int32), torch.zeros(2, 1).long()],
    ids=["float", "int32", "two dimensions"],
)
def test_targets_of_a_classification_that_are_not_one_int64_each_are_refused(targets: torch.Tensor) -> None:
    examples = Examples(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), targets)
    with pytest.raises(DataError, match=r"targets of a classification must be int64 \(n,\), got"):
        CLASSIFICATION.check(torch.zeros(2, 2), examples)


@pytest.mark.parametrize("targets", [[0, 1, 2], np.zeros(3, np.int64)])
def test_what_is_no_tensor_is_named(targets: object) -> None:
    inputs = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(
        DataError, match=r"targets must be a torch tensor, got a (list|numpy\.ndarray): torch\.as_tensor"
    ):
        Examples(inputs, targets)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"inputs must be a torch tensor, got a numpy\.ndarray"):
        Examples(inputs.numpy(), torch.zeros(3, dtype=torch.int64))  # type: ignore[arg-type]


@pytest.mark.parametrize("inputs", [torch.rand(2, 3, 4, 4) * 255, torch.rand(2, 5), torch.tensor([[7, 9], [2, 1]])])
def test_a_model_gets_floats_and_tokens_as_they_are(inputs: torch.Tensor) -> None:
    examples = Examples(inputs, torch.zeros(2, dtype=torch.int64))
    assert tuple(inputs.shape[1:]) == examples.shape
    assert examples.fed(inputs) is inputs


def test_a_model_gets_images_as_torchvision_would_normalise_them() -> None:
    transforms = pytest.importorskip("torchvision.transforms.functional")
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    data = dataset(numbered(4), numbered(2)).normalized(Normalization(mean=mean, std=std))
    expected = transforms.normalize(data.test.inputs.float() / 255, mean, std)
    torch.testing.assert_close(data.test.fed(data.test.inputs), expected)
    assert 2 == len({data.digest, dataset(numbered(4), numbered(2)).digest})
    kept = data.test.take(torch.tensor([1])).to(torch.device("cpu"))
    assert torch.equal(data.test.fed(data.test.inputs)[1:], kept.fed(kept.inputs))


@pytest.mark.parametrize(
    ("mean", "std", "error"),
    [
        ((0.5,), (0.5, 0.5), "one mean and one std a channel, got 1 and 2"),
        ((), (), "one mean and one std a channel, got 0 and 0"),
        ((0.5,), (0.0,), "std of normalize must be finite numbers above 0, got 0"),
        ((float("nan"),), (1.0,), "mean of normalize must be finite numbers, got nan"),
    ],
)
def test_a_normalization_that_cannot_be_is_refused(mean: tuple[float, ...], std: tuple[float, ...], error: str) -> None:
    with pytest.raises(DataError, match=error):
        Normalization(mean=mean, std=std)


def test_a_normalization_of_other_channels_is_refused() -> None:
    data = dataset(numbered(4), numbered(2)).normalized(Normalization(mean=(0.5,), std=(0.5,)))
    with pytest.raises(DataError, match=r"normalize is for 1 channels, got inputs of shape \(2, 3, 4, 4\)"):
        data.test.fed(data.test.inputs)


def test_equal_content_has_an_equal_digest_whatever_its_memory_format() -> None:
    data = numbered(5)
    laid_out_otherwise = Examples(data.inputs.to(memory_format=torch.channels_last), data.targets.clone())
    assert data.digest == laid_out_otherwise.digest
    assert data.digest == numbered(5).digest


@given(place=st.integers(0, 5 * 3 * 4 * 4 - 1), change=st.integers(1, 255))
def test_the_digest_changes_with_any_one_pixel(place: int, change: int) -> None:
    data = numbered(5)
    images = data.inputs.clone()
    images.view(-1)[place] += change
    assert data.digest != Examples(images, data.targets).digest


@pytest.mark.parametrize("index", range(5))
def test_the_digest_changes_with_any_one_label(index: int) -> None:
    data = numbered(5)
    labels = data.targets.clone()
    labels[index] += 1
    assert data.digest != Examples(data.inputs, labels).digest


def test_the_digest_changes_with_order_and_with_shape() -> None:
    data = numbered(5)
    reordered = data.take(torch.tensor([1, 0, 2, 3, 4]))
    reshaped = Examples(data.inputs.permute(0, 2, 3, 1).reshape(5, 8, 2, 3).permute(0, 3, 1, 2), data.targets)
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
    assert [4, 1, 1] == taken.targets.tolist()
    assert torch.equal(data.inputs[chosen], taken.inputs)
    assert taken.inputs.is_contiguous(memory_format=torch.channels_last)


@given(n=st.integers(2, 40), data=st.data())
def test_a_validation_split_is_disjoint_and_complete_and_keeps_images_with_their_labels(
    n: int, data: st.DataObject
) -> None:
    size, seed = data.draw(st.integers(1, n - 1)), data.draw(st.integers(0, 2**31))
    whole = numbered(n)
    train, validation = split_validation(whole, size=size, seed=seed)
    assert size == len(validation)
    assert list(range(n)) == sorted(train.targets.tolist() + validation.targets.tolist())
    for part in (train, validation):
        assert torch.equal(whole.inputs[part.targets], part.inputs)


def test_a_validation_split_is_fixed_by_its_seed() -> None:
    whole = numbered(40)
    first, again, other = (split_validation(whole, size=10, seed=seed)[1].digest for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("size", [-1, 0, 40, 41])
def test_a_validation_split_that_empties_a_part_is_refused(size: int) -> None:
    with pytest.raises(DataError, match=f"validation size must be between 1 and 39, got {size}"):
        split_validation(numbered(40), size=size, seed=0)


def test_fewer_test_images_are_the_first_of_one_shuffle_under_a_name_and_digest_of_their_own() -> None:
    whole = Dataset(name="n", train=numbered(4), test=numbered(40))
    some, more, all_ = (whole.with_test_images(count) for count in (10, 20, 40))
    assert more.test.targets.tolist()[:10] == some.test.targets.tolist() != whole.test.targets.tolist()[:10]
    assert whole.test.targets.sort().values.tolist() == all_.test.targets.sort().values.tolist()
    assert ("n, 10 of 40 test images", 4) == (some.name, len({each.digest for each in (whole, some, more, all_)}))
    assert whole.train.digest == some.train.digest


@pytest.mark.parametrize("count", [0, 41])
def test_more_test_images_than_there_are_are_refused(count: int) -> None:
    with pytest.raises(DataError, match=f"between 1 and 40, got {count}"):
        Dataset(name="n", train=numbered(4), test=numbered(40)).with_test_images(count)
