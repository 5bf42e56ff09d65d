"""Generated shapes: the same bytes everywhere, balanced, and different from each other."""

from __future__ import annotations

import pytest
import torch

from prunebench.data import Dataset, load_shapes
from prunebench.data.shapes import KINDS, TURNS

DIGEST = "ec3f9283f0c9084184507a140325d54ec2db0aa3b71aa174515057b753f4170c"


@pytest.fixture(scope="module")
def shapes() -> Dataset:
    return load_shapes()


def test_the_bytes_are_the_same_on_every_platform_and_version(shapes: Dataset) -> None:
    assert DIGEST == shapes.digest


def test_kinds_are_balanced_and_images_many_enough_to_tell_models_apart(shapes: Dataset) -> None:
    assert (4000, 4000, 10) == (len(shapes.train), len(shapes.test), len(shapes.classes))
    for images in (shapes.train, shapes.test):
        assert [len(images) // 10] * 10 == torch.bincount(images.targets).tolist()


def test_no_test_image_is_a_training_image_or_there_twice(shapes: Dataset) -> None:
    every = torch.cat([shapes.train.inputs, shapes.test.inputs]).flatten(1)
    assert len(every) == len(torch.unique(every, dim=0))


def test_shapes_are_turned_every_way() -> None:
    assert 36 == len(TURNS)
    assert (65**2 == (TURNS**2).sum(axis=1)).all()


def test_every_kind_covers_something_and_not_all() -> None:
    from prunebench.data.shapes import _bytes, _coverage

    for inside in KINDS.values():
        coverage = _coverage(inside, _bytes("test", (200, 12)))
        assert (0, 16) == (coverage.min(), coverage.max())
        assert (coverage.sum(axis=(1, 2)) > 16 * 10).all(), "at least ten pixels"
        assert (coverage.mean(axis=(1, 2)) < 16 * 0.6).all()
