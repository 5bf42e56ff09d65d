"""N:M, blocks and the rest: patterns against a plain selection, exact counts, refusals by name."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prunebench.errors import PlanError, UnknownNameError
from prunebench.pruning import (
    find_granularity,
    inputs_last,
    known_granularity,
    plan_masks,
    prune_,
    pruned_count,
)

fewer = settings(max_examples=50)
VALUES = st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, -2.0, 3.0])


def weight_of(data: st.DataObject, *shape: int) -> Tensor:
    numel = torch.Size(shape).numel()
    return torch.tensor(data.draw(st.lists(VALUES, min_size=numel, max_size=numel))).view(*shape)


def layer_of(weight: Tensor) -> nn.Module:
    layer = nn.Linear(1, 1, bias=False) if weight.dim() == 2 else nn.Conv2d(1, 1, 1, bias=False)
    layer.weight = nn.Parameter(weight)
    return layer


def runs(weight: Tensor, of: int) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """Positions of consecutive inputs, `of` at a time, by output, kernel position and run: the slow, plain way."""
    found: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for index in itertools.product(*map(range, weight.shape)):
        out, in_, *kernel = index
        found.setdefault((out, *kernel, in_ // of), []).append(index)
    return found


@fewer
@given(st.data(), st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 4), (4, 8), (2, 3)]), st.booleans(), st.booleans())
def test_nm_keeps_the_largest_n_of_every_m_consecutive_inputs(
    data: st.DataObject, pattern: tuple[int, int], convolution: bool, last: bool
) -> None:
    n, m = pattern
    weight = weight_of(data, 2, 2 * m, *([2, 2] if convolution else []))
    layer = layer_of(weight.to(memory_format=torch.channels_last) if convolution and last else weight)
    masks = plan_masks(layer, {"weight": 1 - n / m}, granularity=f"{n}:{m}")
    for positions in runs(weight, m).values():
        pruned = set(sorted(positions, key=lambda index: (abs(float(weight[index])), index[1]))[: m - n])
        assert [index not in pruned for index in positions] == [bool(masks["weight"][index]) for index in positions]


def test_two_of_every_four_in_the_matrix_that_semi_structured_tensors_take() -> None:
    layer = nn.Conv2d(8, 4, 3)
    masks = prune_(layer, {"weight": 0.5}, granularity="2:4")
    matrix = inputs_last(layer.weight.detach()).flatten(1)
    assert {2} == set((matrix.view(-1, 4) != 0).sum(dim=1).tolist())
    assert layer.weight.numel() // 2 == int(masks["weight"].sum())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has semi-structured tensors on CUDA only")
@pytest.mark.parametrize("layer", [nn.Linear(128, 64, bias=False), nn.Conv2d(64, 64, 3, bias=False)])
def test_torch_takes_the_weight_as_semi_structured(layer: nn.Module) -> None:
    prune_(layer.half().cuda(), {"weight": 0.5}, granularity="2:4")
    matrix = inputs_last(layer.weight.detach()).flatten(1).contiguous()
    assert torch.equal(matrix, torch.sparse.to_sparse_semi_structured(matrix).to_dense())


@fewer
@given(st.data(), st.sampled_from([(1, 2), (2, 1), (2, 2), (4, 1)]), st.booleans(), st.floats(0, 1))
def test_blocks_of_least_l2_norm_go_whole(
    data: st.DataObject, size: tuple[int, int], convolution: bool, sparsity: float
) -> None:
    rows, columns = size
    weight = weight_of(data, 4, 4, *([2, 1] if convolution else []))
    masks = plan_masks(layer_of(weight), {"weight": sparsity}, granularity=f"block{rows}x{columns}")
    blocks: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for index in itertools.product(*map(range, weight.shape)):
        out, in_, *kernel = index
        blocks.setdefault((out // rows, *kernel, in_ // columns), []).append(index)
    squares = {block: sum(float(weight[index]) ** 2 for index in those) for block, those in blocks.items()}
    lowest = sorted(blocks, key=lambda block: (squares[block], block))[: pruned_count(len(blocks), sparsity)]
    expected = torch.ones_like(weight, dtype=torch.bool)
    for block in lowest:
        for index in blocks[block]:
            expected[index] = False
    assert torch.equal(expected, masks["weight"])


@pytest.mark.parametrize("name", ["element", "channel", "2:4", "1:2", "block2x2", "block1x4"])
@pytest.mark.parametrize("shape", [(4, 8), (4, 8, 3, 3)])
def test_counts_are_what_masks_prune(name: str, shape: tuple[int, ...]) -> None:
    units, layer = find_granularity(name), layer_of(torch.randn(shape))
    counts = units.counts(shape)
    for count in {counts[0], counts[len(counts) // 2], counts[-1]}:
        sparsity = count / layer.weight.numel()
        masks = plan_masks(layer, {"weight": sparsity}, granularity=name)
        assert count == int((~masks["weight"]).sum())
        assert count == units.pruned_units(shape, sparsity) * units.unit_size(shape)
    assert counts[0] == 0


@pytest.mark.parametrize("name", ["element", "channel", "2:4", "block2x2"])
def test_the_memory_format_changes_nothing(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8, 8))
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    plan = {"0.weight": 0.5, "2.weight": 0.0}
    assert plan_masks(model, plan, granularity=name).digest == plan_masks(last, plan, granularity=name).digest


@pytest.mark.parametrize("name", ["channel", "2:4", "block2x2"])
def test_pruning_twice_by_the_granularity_changes_nothing(name: str) -> None:
    layer = nn.Conv2d(8, 4, 3)
    first = prune_(layer, {"weight": 0.5}, granularity=name)
    before = copy.deepcopy(layer.weight.detach())
    assert first.digest == prune_(layer, {"weight": 0.5}, granularity=name).digest
    assert torch.equal(before, layer.weight.detach())


@pytest.mark.parametrize(
    ("name", "sparsity", "said"),
    [
        ("2:4", 0.6, r"sparsity of 'weight' by granularity 2:4 must be 0 or 0\.5, got 0\.6"),
        ("1:3", 0.5, r"'weight' has 8 inputs, which runs of 3 do not divide"),
        ("1:4", 0.5, r"sparsity of 'weight' by granularity 1:4 must be 0 or 0\.75, got 0\.5"),
        ("block3x1", 0.5, r"'weight' has 4 outputs, which runs of 3 do not divide"),
        ("block1x3", 0.5, r"'weight' has 8 inputs, which runs of 3 do not divide"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(name: str, sparsity: float, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        plan_masks(nn.Linear(8, 4), {"weight": sparsity}, granularity=name)


def test_a_third_is_taken_to_the_nearest_element() -> None:
    masks = plan_masks(nn.Linear(9, 4), {"weight": 0.667}, granularity="1:3")
    assert 12 == int(masks["weight"].sum())


ODD_LAYERS: dict[str, tuple[nn.Module, str, str, str]] = {
    "embedding": (nn.Embedding(8, 8), "weight", "2:4", r"no inputs in its second dimension \(Embedding\)"),
    "transposed": (nn.ConvTranspose2d(8, 8, 3), "weight", "2:4", "no inputs in its second dimension"),
    "bilinear": (nn.Bilinear(4, 4, 4), "weight", "block2x2", r"no inputs in its second dimension \(Bilinear\)"),
    "depthwise": (nn.Conv2d(8, 8, 3, groups=8), "weight", "2:4", "has 1 inputs, which runs of 4 do not divide"),
    "groups": (nn.Conv2d(8, 12, 3, groups=4), "weight", "block2x2", "3 outputs in each part, which runs of 2 do not"),
    "attention": (
        nn.MultiheadAttention(6, 2), "in_proj_weight", "block4x2", "6 outputs in each part, which runs of 4 do not"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD_LAYERS)
def test_a_layer_without_such_units_is_refused_by_name(kind: str) -> None:
    layer, name, granularity, said = ODD_LAYERS[kind]
    plan = {each: 0.5 if each == name else 0 for each, weight in layer.named_parameters() if weight.dim() > 1}
    with pytest.raises(PlanError, match=f"'{name}'.*{said}.*expected sparsity 0"):
        plan_masks(layer, plan, granularity=granularity)
    assert plan_masks(layer, dict.fromkeys(plan, 0), granularity=granularity)[name].all()


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.Conv2d(16, 8, 3, groups=4), "weight"),
        (nn.MultiheadAttention(8, 2), "in_proj_weight"),
        (nn.LSTM(8, 4), "weight_ih_l0"),
    ],
)
def test_groups_attention_and_recurrent_layers_have_runs_of_inputs(layer: nn.Module, name: str) -> None:
    plan = {each: 0.5 * (each == name) for each, weight in layer.named_parameters() if weight.dim() > 1}
    mask = plan_masks(layer, plan, granularity="2:4")[name]
    assert {2} == set(inputs_last(mask).reshape(-1, 4).sum(dim=1).tolist())


def test_nan_is_refused_by_every_granularity() -> None:
    layer = nn.Linear(8, 4)
    with torch.no_grad():
        layer.weight[0, 0] = torch.nan
    for name in ("element", "channel", "2:4", "block2x2"):
        with pytest.raises(PlanError, match="'weight' has 1 NaN values"):
            plan_masks(layer, {"weight": 0.5}, granularity=name)


@pytest.mark.parametrize(("name", "canonical"), [("2:4", "2:4"), ("02:04", "2:4"), ("block04x1", "block4x1")])
def test_names_are_parsed_and_each_thing_has_one(name: str, canonical: str) -> None:
    assert canonical == find_granularity(name).name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("4:2", "N:M must have N from 1 to M - 1, got '4:2'"),
        ("0:4", "N:M must have N from 1 to M - 1, got '0:4'"),
        ("block1x1", "'block1x1' has 1 elements: expected 2 or more"),
        ("collections:Counter", "'collections:Counter' is no granularity"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(name: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        find_granularity(name)


@pytest.mark.parametrize("name", ["2:4", "block4x1", "channel"])
def test_the_granularity_of_a_record_is_known_by_its_name(name: str) -> None:
    known = known_granularity(name)
    assert known is not None
    assert name == known.name
    assert known_granularity("9:8") is known_granularity("rows") is known_granularity("math:pi") is None


def test_an_unknown_granularity_comes_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown granularity 'rows': expected one of 2:4, block4x1, channel"):
        find_granularity("rows")
