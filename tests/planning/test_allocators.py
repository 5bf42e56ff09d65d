"""Allocators against plain computations of what their papers say, and exact counts for all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planning.scan_factory import VGG_SHAPES, make_inventory, vgg_scan
from torch import Tensor

from prunebench.errors import PlanError
from prunebench.planning import (
    Allocator,
    Inventory,
    allocate_to_limit,
    erk,
    global_normalized,
    global_threshold,
    lamp,
    lamp_scores,
    uniform,
)

SHAPES = st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple), min_size=1, max_size=5)


def random_magnitudes(inventory: Inventory, seed: int = 0, *, ties: bool = False) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = {layer.name: torch.randn(*layer.shape, generator=generator).abs() for layer in inventory.layers}
    return {name: (2 * weight).round() / 2 for name, weight in weights.items()} if ties else weights


def plain_erk(shapes: Mapping[str, tuple[int, ...]], kept: int) -> dict[str, float]:
    """Evci et al. by the book: scale until no layer is over 1, the full ones set aside."""
    full: set[str] = set()
    while True:
        raw = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items() if name not in full}
        left = kept - sum(math.prod(shapes[name]) for name in full)
        scale = left / sum(raw[name] * math.prod(shapes[name]) for name in raw) if raw else 0
        over = {name for name in raw if raw[name] * scale > 1}
        if not over:
            return {name: 1.0 if name in full else raw[name] * scale for name in shapes}
        full |= over


def plain_lamp(weight: Tensor) -> list[float]:
    """Lee et al., equation 2, element by element, for weights without ties."""
    squares = [float(w) ** 2 for w in weight.double().flatten()]
    return [square / sum(other for other in squares if other >= square) for square in squares]


@given(SHAPES, st.floats(0, 1), st.booleans(), st.integers(0, 20))
def test_every_allocator_hits_the_number_exactly(
    shapes: list[tuple[int, ...]], f: float, ties: bool, others: int
) -> None:
    inventory = make_inventory(*shapes, others=others)
    weights = random_magnitudes(inventory, ties=ties)
    nonzeros = others + round(f * (inventory.elements - others))
    for allocator in (uniform, erk, global_threshold(weights), global_normalized(weights), lamp(weights)):
        kept = allocator(inventory, nonzeros)
        assert nonzeros == sum(kept.values()) + others
        assert all(0 <= kept[layer.name] <= layer.numel for layer in inventory.layers)
        assert kept == inventory.kept(inventory.sparsity(kept))


@given(SHAPES, st.floats(0, 1))
def test_uniform_and_erk_are_within_one_element_of_their_formulas(shapes: list[tuple[int, ...]], f: float) -> None:
    inventory = make_inventory(*shapes)
    nonzeros = round(f * inventory.elements)
    named = {layer.name: tuple(layer.shape) for layer in inventory.layers}
    densities = plain_erk(named, nonzeros)
    for name, kept in erk(inventory, nonzeros).items():
        assert abs(kept - densities[name] * math.prod(named[name])) < 1 + 1e-6
    for name, kept in uniform(inventory, nonzeros).items():
        assert abs(kept - nonzeros / inventory.elements * math.prod(named[name])) < 1 + 1e-6


def test_erk_on_the_vgg_at_the_size_of_run5() -> None:
    inventory = Inventory.of_scan(vgg_scan())
    kept = erk(inventory, 807_150)
    densities = plain_erk(VGG_SHAPES, 807_150 - inventory.other_nonzeros)
    full = [name for name, density in densities.items() if density == 1]
    assert ["backbone.conv0.weight", "classifier.weight"] == full
    assert all(abs(kept[name] - density * math.prod(VGG_SHAPES[name])) < 1 for name, density in densities.items())


@given(SHAPES, st.floats(0, 1), st.integers(0, 99))
def test_one_threshold_keeps_the_largest_of_all(shapes: list[tuple[int, ...]], f: float, seed: int) -> None:
    inventory = make_inventory(*shapes)
    weights = random_magnitudes(inventory, seed)
    count = round(f * inventory.elements)
    ranked = sorted(((abs(float(w)), name) for name in weights for w in weights[name].flatten()), reverse=True)[:count]
    expected = {name: sum(owner == name for _, owner in ranked) for name in weights}
    assert expected == global_threshold(weights)(inventory, count)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(0, 99))
def test_lamp_scores_are_the_papers(shape: list[int], seed: int) -> None:
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    assert pytest.approx(plain_lamp(weight)) == lamp_scores(weight).flatten().tolist()
    assert weight.shape == lamp_scores(weight).shape


def test_lamp_keeps_the_highest_scores_and_empties_no_layer() -> None:
    inventory = make_inventory((4, 5), (3, 3), (6, 2, 2))
    weights = random_magnitudes(inventory)
    weights["b"] *= 1e-6
    for count in (3, 10, 30):
        scored = sorted(((s, name) for name in weights for s in plain_lamp(weights[name])), reverse=True)[:count]
        expected = {name: sum(owner == name for _, owner in scored) for name in weights}
        assert expected == lamp(weights)(inventory, count)
        assert all(expected.values())


def test_a_layer_of_zeros_scores_zero() -> None:
    assert [0.0, 0.0, 0.0, 0.0] == lamp_scores(torch.zeros(2, 2)).flatten().tolist()


@pytest.mark.parametrize("allocator", [uniform, erk])
def test_a_layer_that_is_sparse_already_keeps_no_more_than_it_has(allocator: Allocator) -> None:
    inventory = make_inventory((10, 10), (10, 10), nonzeros=[10, 100])
    assert {"a": 10, "b": 80} == allocator(inventory, 90)


@pytest.mark.parametrize("nonzeros", [4, 206])
def test_a_number_that_cannot_be_had_is_refused_with_those_that_can(nonzeros: int) -> None:
    with pytest.raises(PlanError, match=r"between 5 .* 205"):
        uniform(make_inventory((10, 10), (10, 10), others=5), nonzeros)


@pytest.mark.parametrize("allocator", [uniform, erk])
@pytest.mark.parametrize("cost", ["size", "file", "macs"])
def test_a_limit_is_met_and_one_more_element_would_break_it(allocator: Allocator, cost: str) -> None:
    inventory = Inventory.of_scan(vgg_scan())
    limit = 0.2 * inventory.dense_total(cost)
    kept = allocate_to_limit(allocator, inventory, cost=cost, limit=limit)
    nonzeros = sum(kept.values()) + inventory.other_nonzeros
    assert inventory.total(cost, kept) <= limit < inventory.total(cost, allocator(inventory, nonzeros + 1))


def test_a_limit_below_an_empty_model_is_refused() -> None:
    with pytest.raises(PlanError, match="with every layer empty it is"):
        allocate_to_limit(uniform, make_inventory((10, 10), others=50), cost="size", limit=32 * 40)
