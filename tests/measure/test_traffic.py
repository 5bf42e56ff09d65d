"""Bytes moved are those of weights, inputs and outputs, whatever the values are."""

from __future__ import annotations

import torch
from torch import nn

from prunebench.measure import bytes_moved


def test_a_layer_reads_its_inputs_and_weights_and_writes_its_outputs() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    expected = 4 * ((6 + 24 + 4 + 4) + (4 + 4) + (4 + 8 + 2))
    assert expected == bytes_moved(model, torch.rand(3, 6))


def test_zeros_move_like_any_value_and_buffers_too() -> None:
    model = nn.BatchNorm1d(5)
    before = bytes_moved(model, torch.rand(2, 5))
    nn.init.zeros_(model.weight)
    assert before == bytes_moved(model, torch.rand(2, 5))
    assert 4 * (4 * 5 + 5 + 5) + 8 == before  # scale, shift, mean, variance, a counter of 8 bytes
