"""Sizes in each format: by oracles, by closed forms, and the same from a record as from its weights."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packing.packing_states import filled, mixed_state
from torch import nn

from prunebench.measure import nominal_size_bits
from prunebench.models import save_state
from prunebench.packing import BREAK_EVEN, DENSE, Weight, packed_bytes, sizes_from_counts, sizes_of
from prunebench.packing.sizes import BITMAP, BOUND, COO, CSR, GAPS, NOMINAL, PACKED

SEEDS = st.integers(0, 1000)


def weight(density: float, seed: int = 0, shape: tuple[int, ...] = (24, 5, 3, 3)) -> torch.Tensor:
    return filled("float32", shape, density=density, seed=seed)


@settings(max_examples=30)
@given(density=st.floats(0, 0.3), seed=SEEDS)
def test_coo_and_csr_are_as_large_as_scipys(density: float, seed: int) -> None:
    tensor = weight(density, seed)
    matrix = scipy.sparse.csr_array(tensor.reshape(len(tensor), -1).numpy())
    found = Weight.of(tensor).sizes()
    assert 8 * (matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes) == found[CSR]
    coo = matrix.tocoo()
    assert 8 * (coo.data.nbytes + sum(each.nbytes for each in coo.coords)) == found[COO]


def rice_code(gap: int, parameter: int) -> str:
    return "1" * (gap >> parameter) + "0" + (f"{gap % 2**parameter:0{parameter}b}" if parameter else "")


@settings(max_examples=30)
@given(density=st.floats(0, 1), seed=SEEDS)
def test_gap_codes_are_as_long_as_the_shortest_rice_code(density: float, seed: int) -> None:
    tensor = weight(density, seed)
    positions = np.flatnonzero(tensor.numpy())
    gaps = [int(gap) - 1 for gap in np.diff(positions, prepend=-1)]
    shortest = min(sum(len(rice_code(gap, parameter)) for gap in gaps) for parameter in range(12))
    found = Weight.of(tensor).gap_bits
    assert found is not None
    assert shortest <= found <= 1.02 * shortest  # only parameters near the mean gap are tried


def test_the_entropy_bound_is_shannons() -> None:
    eighth = Weight(elements=800, nonzeros=100, rows=8)
    assert 800 * (math.log2(8) / 8 + math.log2(8 / 7) * 7 / 8) + 3200 == pytest.approx(eighth.sizes()[BOUND])
    assert 800 + 3200 == eighth.sizes()[BITMAP]
    assert 0 == Weight(elements=800, nonzeros=0, rows=8).sizes()[BOUND]
    assert 25_600 == Weight(elements=800, nonzeros=800, rows=8).sizes()[BOUND]


@pytest.mark.parametrize("name", [COO, CSR, BITMAP])
def test_below_its_break_even_density_a_format_takes_less_than_dense(name: str) -> None:
    elements = 10_000_000
    for change, smaller in ((-0.001, True), (0.001, False)):
        counts = Weight(elements=elements, nonzeros=int(elements * (BREAK_EVEN[name] + change)), rows=64)
        assert smaller == (counts.sizes()[name] < 32 * elements)


def test_all_sizes_are_of_the_whole_file_and_none_is_above_dense(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 40, 3), nn.BatchNorm2d(40), nn.Linear(40, 30))
    with torch.no_grad():
        model[0].weight.mul_(filled("bool", (40, 3, 3, 3), density=0.2))
    state = model.state_dict()
    found = sizes_of(state)
    save_state(state, tmp_path / "dense.safetensors")
    assert (tmp_path / "dense.safetensors").stat().st_size == found[DENSE]
    assert nominal_size_bits(model) == 8 * found[NOMINAL]
    assert packed_bytes(state) == found[PACKED]
    others = found[DENSE] - 4 * (model[0].weight.numel() + model[2].weight.numel())
    assert all(others < found[name] <= found[DENSE] for name in BREAK_EVEN if name != PACKED)
    assert found[BOUND] <= found[GAPS]
    assert found[BOUND] <= found[BITMAP]


def test_counts_alone_give_what_the_weights_give() -> None:
    state = {"a": weight(0.2), "b": weight(0.7, 1), "bias": torch.ones(7)}
    whole = sizes_of(state)
    counts = [
        Weight(elements=t.numel(), nonzeros=int(t.count_nonzero()), rows=len(t)) for t in state.values() if t.dim() > 1
    ]
    found = sizes_from_counts(counts, dense=whole[DENSE], nominal=whole[NOMINAL])
    assert {name: whole[name] for name in (NOMINAL, DENSE, COO, CSR, BITMAP, BOUND)} == found


def test_every_type_that_a_file_can_hold_has_sizes() -> None:
    state = mixed_state() | {"eight": filled("float8_e4m3fn", (30, 30), density=0.3)}
    assert sizes_of(state)[BOUND] < sizes_of(state)[DENSE]
