"""Orders: every image once, the chances those of their definition, the draws those of the chances."""

from __future__ import annotations

import numpy as np
import pytest

from prunebench.sensitivity.adaptive.order import drawn

UNCERTAINTY = np.array([0, 10, 40, 90, 255, 255], dtype=np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_every_image_is_asked_once(seed: int) -> None:
    assert [*range(6)] == sorted(drawn(UNCERTAINTY, minimum=0.1, seed=seed).images)


def test_the_same_seed_is_the_same_order_and_another_another() -> None:
    uncertainty = np.random.default_rng(0).integers(0, 256, 500).astype(np.uint8)
    assert np.array_equal(
        drawn(uncertainty, minimum=0.1, seed=1).images, drawn(uncertainty, minimum=0.1, seed=1).images
    )
    assert not np.array_equal(
        drawn(uncertainty, minimum=0.1, seed=1).images, drawn(uncertainty, minimum=0.1, seed=2).images
    )


@pytest.mark.parametrize("seed", range(5))
def test_chances_are_those_of_drawing_by_weight_from_what_is_left(seed: int) -> None:
    order, weights = drawn(UNCERTAINTY, minimum=0.1, seed=seed), np.maximum(UNCERTAINTY / 255, 0.1)
    left = [*range(6)]
    for index, image in enumerate(order.images):
        assert len(left) == order.left[index]
        assert weights[left].sum() == pytest.approx(order.weight_left[index])
        chances = weights[left] / weights[left].sum() * len(left)
        assert order.chances[index] == pytest.approx(chances[left.index(image)])
        assert order.least[index] == pytest.approx(chances.min())
        left.remove(image)


def test_images_are_drawn_with_their_chances() -> None:
    orders = np.array([drawn(UNCERTAINTY, minimum=0.1, seed=seed).images for seed in range(4000)])
    weights = np.maximum(UNCERTAINTY / 255, 0.1)
    first = np.bincount(orders[:, 0], minlength=6) / 4000
    assert np.abs(first - weights / weights.sum()).max() < 0.03, "four standard errors at most"
    after_four = orders[orders[:, 0] == 4][:, 1]
    rest = np.where(np.arange(6) == 4, 0, weights)
    second = np.bincount(after_four, minlength=6) / len(after_four)
    assert np.abs(second - rest / rest.sum()).max() < 0.05


def test_even_chances_are_exactly_one() -> None:
    order = drawn(np.full(7, 100, dtype=np.uint8), minimum=0.1, seed=3)
    assert order.chances == pytest.approx(np.ones(7))
    assert order.least == pytest.approx(np.ones(7))
