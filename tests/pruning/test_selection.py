"""The rounding rule and the tie rule: how many elements a sparsity prunes, and which. Masks and models: elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from prunebench.errors import PlanError
from prunebench.pruning import SparsityPlan, as_sparsity, compounded, keep_mask, keep_masks, pruned_count
from prunebench.pruning.selection import _keep_by_sort

SMALLEST_DENORMAL = 2.0**-149
FEW_MAGNITUDES = (0.0, SMALLEST_DENORMAL, 2 * SMALLEST_DENORMAL, 1.0, 1.0 + 2.0**-23, math.inf)
FEW_VALUES = tuple(sign * value for value in FEW_MAGNITUDES for sign in (1, -1))
FLOATING_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@st.composite
def scores_and_count(draw: st.DrawFn, *, dimensions: int | None = None) -> tuple[Tensor, int]:
    """Scores of any shape and of either sign or none negative, with many ties, few or none, and how many to prune."""
    dims = dimensions if dimensions is not None else draw(st.integers(1, 4))
    shape = draw(st.lists(st.integers(1, 5), min_size=dims, max_size=dims))
    numel = math.prod(shape)
    least, few = draw(st.sampled_from([(0, FEW_MAGNITUDES), (None, FEW_VALUES)]))
    values = draw(
        st.one_of(
            st.sampled_from(few).map(lambda value: [value] * numel),
            st.lists(st.sampled_from(few), min_size=numel, max_size=numel),
            st.lists(st.floats(min_value=least, allow_nan=False, width=32), min_size=numel, max_size=numel),
        )
    )
    dtype = draw(st.sampled_from(FLOATING_TYPES))
    return torch.tensor(values, dtype=dtype).reshape(shape), draw(st.integers(0, numel))


@st.composite
def distinct_magnitudes(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Weights of either sign, no two of one magnitude, and how many of them to prune."""
    numel = draw(st.integers(1, 60))
    order = draw(st.permutations(range(1, numel + 1)))
    signs = draw(st.lists(st.sampled_from((-1.0, 1.0)), min_size=numel, max_size=numel))
    values = [sign * rank for sign, rank in zip(signs, order, strict=True)]
    return torch.tensor(values).reshape(1, numel), draw(st.integers(0, numel))


def keep_by_sorting_pairs(scores: Tensor, count: int) -> Tensor:
    """The rule written down as it is read: sort by (score, flat index), drop the first `count`."""
    values = scores.double().flatten().tolist()
    pruned = set(sorted(range(len(values)), key=lambda index: (values[index], index))[:count])
    return torch.tensor([index not in pruned for index in range(len(values))]).reshape(scores.shape)


def keep_of_torch(weight: Tensor, count: int) -> Tensor:
    """What `torch.nn.utils.prune` keeps at an absolute amount."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight.clone())
    torch_prune.l1_unstructured(layer, "weight", amount=count)  # type: ignore[no-untyped-call]
    mask = layer.weight_mask
    assert isinstance(mask, Tensor)
    return mask.bool()


@pytest.mark.parametrize(
    ("expected", "sparsity", "numel"),
    [
        (0, 0, 100),
        (0, 0.0, 100),
        (100, 1, 100),
        (100, 1.0, 100),
        (0, 0.5, 0),
        (0, 0.5, 1),  # 0.5: halves go to the even neighbour
        (2, 0.5, 3),  # 1.5
        (2, 0.5, 5),  # 2.5
        (4, 0.5, 7),  # 3.5
        (2, 0.25, 10),  # 2.5
        (2, 0.25, 6),  # 1.5
        (0, 0.25, 2),  # 0.5
        (4, 0.45, 10),  # 4.5
        (3, 0.3, 10),
        (29, 0.29, 100),  # 28.999999999999996 in binary: truncating would give 28
        (1, 0.001, 1000),
        (0, 0.0004, 1000),
        (1, 0.0006, 1000),
        (0, 5e-324, 10**9),
        (10**9, 1 - 2**-53, 10**9),
        (36_864, 0.5, 73_728),  # VGG backbone.conv1.weight
        (383_386, 0.65, 589_824),  # VGG backbone.conv3.weight: 383,385.6
        (2_241_331, 0.95, 2_359_296),  # VGG backbone.conv6.weight: 2,241,331.2
        (4_608, 0.9, 5_120),  # VGG classifier.weight
    ],
)
def test_a_sparsity_prunes_the_rounded_count(expected: int, sparsity: float, numel: int) -> None:
    assert expected == pruned_count(numel, sparsity)


@pytest.mark.parametrize(
    "sparsity",
    [
        *(kind(0.25) for kind in (np.float16, np.float32, np.float64, np.longdouble, np.array, torch.tensor)),
        Fraction(1, 4),
        Decimal("0.25"),
    ],
)
def test_any_real_number_is_a_sparsity(sparsity: float) -> None:
    assert 25 == pruned_count(100, sparsity)
    assert [0.25, float] == [SparsityPlan({"w": sparsity})["w"], type(as_sparsity(sparsity))]
    assert 0.625 == compounded(sparsity, 0.5)


@pytest.mark.parametrize("one", [1, np.int64(1), np.uint8(1), torch.tensor(1), Fraction(1), Decimal(1)])
def test_a_whole_number_is_a_sparsity(one: float) -> None:
    assert 100 == pruned_count(100, one)


@pytest.mark.parametrize(
    ("expected", "sparsity"),
    [
        (14, Decimal("0.29")),  # 14.5 to the last digit; 0.29 as a double, times 50, is 14.499999999999998
        (14, 0.29),
        (4, Decimal("0.07")),  # 3.5; the double makes 3.5000000000000004
        (17, Fraction(1, 3)),
    ],
)
def test_decimals_and_fractions_are_their_nearest_double_as_in_a_record(expected: int, sparsity: float) -> None:
    assert expected == pruned_count(50, sparsity) == pruned_count(50, float(sparsity))


@given(numel=st.integers(0, 10**7), sparsity=st.floats(0, 1))
def test_the_count_is_within_half_an_element_of_the_sparsity(numel: int, sparsity: float) -> None:
    count = pruned_count(numel, sparsity)
    assert 0 <= count <= numel
    assert abs(count - sparsity * numel) <= 0.5


@given(numel=st.integers(0, 10**7), one=st.floats(0, 1), other=st.floats(0, 1))
def test_a_higher_sparsity_never_prunes_fewer(numel: int, one: float, other: float) -> None:
    assert pruned_count(numel, min(one, other)) <= pruned_count(numel, max(one, other))


@pytest.mark.parametrize(
    "sparsity",
    [
        *(1.3, -0.1, -1, 2, 10**400, math.nextafter(1, 2), -5e-324, math.nan, math.inf, -math.inf),
        *map(Decimal, ("NaN", "sNaN", "-Infinity", "1.00000000000000000000000000001")),
        *(Fraction(10**400 + 1, 10**400), Fraction(-1, 10**400), np.float32(2), np.int64(-1)),
    ],
)
def test_a_sparsity_out_of_range_is_refused_by_name_and_value(sparsity: float) -> None:
    with pytest.raises(PlanError) as caught:
        pruned_count(10, sparsity, name="backbone.conv4.weight")
    expected = f"sparsity of 'backbone.conv4.weight' must be in [0, 1], got {sparsity}"
    assert expected[:100] == str(caught.value).partition("; did you mean")[0][:100]  # what is long is cut


@pytest.mark.parametrize(
    "sparsity",
    [
        *(True, False, "0.5", None, [0.5], 0.5 + 0j),
        *(np.True_, np.complex64(0.5), np.array([0.5]), np.array("0.5"), np.datetime64(0, "s")),
        *(torch.tensor(True), torch.tensor(0.5 + 0j), torch.tensor([0.5])),
    ],
)
def test_a_sparsity_that_is_no_number_is_refused_by_name_and_value(sparsity: object) -> None:
    with pytest.raises(PlanError) as caught:
        pruned_count(10, sparsity, name="backbone.conv4.weight")  # type: ignore[arg-type]
    expected = f"sparsity of 'backbone.conv4.weight' must be a number in [0, 1], got {sparsity!r}"
    assert expected == str(caught.value)


@given(scores_and_count())
def test_exactly_the_count_is_pruned(case: tuple[Tensor, int]) -> None:
    scores, count = case
    mask = keep_mask(scores, count)
    assert torch.bool == mask.dtype
    assert scores.shape == mask.shape
    assert count == int((~mask).sum())


@given(scores_and_count())
def test_no_pruned_score_is_above_a_kept_one(case: tuple[Tensor, int]) -> None:
    scores, count = case
    mask = keep_mask(scores, count)
    if 0 < count < scores.numel():
        assert float(scores[~mask].max()) <= float(scores[mask].min())


@given(scores_and_count())
def test_the_smallest_go_first_and_ties_go_by_flat_index(case: tuple[Tensor, int]) -> None:
    scores, count = case
    assert keep_by_sorting_pairs(scores, count).tolist() == keep_mask(scores, count).tolist()


@given(scores_and_count())
def test_one_more_pruned_element_leaves_the_others_pruned(case: tuple[Tensor, int]) -> None:
    scores, count = case
    fewer, more = keep_mask(scores, max(count - 1, 0)), keep_mask(scores, count)
    assert not (more & ~fewer).any()


@given(scores_and_count())
def test_selection_and_stable_sort_keep_the_elements_that_the_rule_says(case: tuple[Tensor, int]) -> None:
    scores, count = case
    flat = scores.flatten()
    expected = keep_by_sorting_pairs(flat, count).tolist()
    assert expected == _keep_by_sort(flat, [count])[0].tolist() == keep_masks(flat, [count])[0].tolist()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("dtype", FLOATING_TYPES)
def test_scores_that_differ_in_their_last_bits_only_are_told_apart(dtype: torch.dtype, signed: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = 1 + torch.randint(0, 3000, (20_000,), generator=generator).to(dtype) * torch.finfo(dtype).eps
    scores *= 1 - 2 * torch.randint(0, 1 + signed, (20_000,), generator=generator).to(dtype)
    for count in (1, 9_999, 10_000, 19_999):
        assert torch.equal(_keep_by_sort(scores, [count])[0], keep_mask(scores, count))


@given(scores_and_count(), st.lists(st.integers(0, 40), min_size=1, max_size=5))
def test_masks_of_several_counts_are_those_of_each_and_nest(case: tuple[Tensor, int], counts: list[int]) -> None:
    scores, count = case
    counts = sorted(min(each, scores.numel()) for each in [*counts, count])
    masks = keep_masks(scores, counts)
    for each, mask in zip(counts, masks, strict=True):
        assert keep_mask(scores, each).tolist() == mask.tolist()
        assert scores.numel() - each == int(mask.sum())
    for lower, higher in pairwise(masks):
        assert not (higher & ~lower).any(), "a higher count kept what a lower one pruned"


@given(scores_and_count(dimensions=4))
def test_the_memory_format_does_not_change_the_mask(case: tuple[Tensor, int]) -> None:
    scores, count = case
    expected = keep_mask(scores, count)
    channels_last = scores.contiguous(memory_format=torch.channels_last)
    reversed_axes = scores.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert torch.equal(expected, keep_mask(channels_last, count))
    assert torch.equal(expected, keep_mask(reversed_axes, count))


@given(scores_and_count(dimensions=4))
def test_a_mask_has_the_memory_format_of_its_scores(case: tuple[Tensor, int]) -> None:
    scores, count = case
    channels_last = scores.contiguous(memory_format=torch.channels_last)
    assert keep_mask(channels_last, count).is_contiguous(memory_format=torch.channels_last)
    assert keep_mask(scores, count).is_contiguous()


@given(zeros=st.integers(0, 200), count=st.integers(1, 199), seed=st.integers(0, 9))
def test_many_zeros_change_nothing_about_the_rule(zeros: int, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(200, generator=generator)
    scores[torch.randperm(200, generator=generator)[:zeros]] = 0
    assert keep_by_sorting_pairs(scores, count).tolist() == keep_mask(scores, count).tolist()


def test_ties_in_a_channels_last_weight_go_by_logical_index() -> None:
    scores = torch.ones(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    assert [False] * 5 + [True] * 19 == keep_mask(scores, 5).flatten().tolist()


@given(scores_and_count())
def test_scores_are_left_as_they_were(case: tuple[Tensor, int]) -> None:
    scores, count = case
    before = scores.clone()
    keep_mask(scores, count)
    assert torch.equal(before, scores)


@pytest.mark.parametrize("dtype", FLOATING_TYPES)
def test_sparsity_zero_keeps_all_and_one_keeps_none(dtype: torch.dtype) -> None:
    scores = torch.rand(4, 5).to(dtype)
    assert keep_mask(scores, pruned_count(20, 0)).all()
    assert not keep_mask(scores, pruned_count(20, 1)).any()


SELECTIONS = {
    "CPU": keep_mask,
    "elsewhere": lambda scores, count: _keep_by_sort(scores, [count])[0],
}


@pytest.mark.parametrize("keep", SELECTIONS.values(), ids=SELECTIONS)
@pytest.mark.parametrize("dtype", FLOATING_TYPES)
def test_scores_of_either_sign_are_ordered_by_value(keep: Callable[[Tensor, int], Tensor], dtype: torch.dtype) -> None:
    scores = torch.tensor([2, -5, 0.0, math.inf, -0.0, 1, -math.inf, -5], dtype=dtype)
    order = [6, 1, 7, 2, 4, 5, 0, 3]  # -inf, two of -5 by index, two zeros by index, 1, 2, inf
    for count in range(9):
        assert sorted(order[count:]) == keep(scores, count).nonzero().flatten().tolist()


def test_denormals_are_told_apart() -> None:
    scores = torch.tensor([3, 1, 2, 0, 4]) * SMALLEST_DENORMAL
    assert [True, False, False, False, True] == keep_mask(scores, 3).tolist()


@pytest.mark.parametrize("least", [1.0, -1.0])
def test_negative_zero_ties_with_zero(least: float) -> None:
    scores = torch.tensor([0.0, -0.0, 0.0, -0.0, 1.0, least])
    pruned = 2 + (least < 0)
    assert [False, False, True, True, True, least > 0] == keep_mask(scores, pruned).tolist()


@pytest.mark.parametrize("dtype", FLOATING_TYPES)
@pytest.mark.parametrize("count", [0, 1, 6])
def test_a_nan_is_refused_by_name_and_number(dtype: torch.dtype, count: int) -> None:
    scores = torch.tensor([[1, math.nan, -2], [-math.nan, 3, 4]], dtype=dtype)
    with pytest.raises(PlanError, match=r"'backbone\.conv2\.weight' has 2 NaN values"):
        keep_mask(scores, count, name="backbone.conv2.weight")


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64])
def test_scores_that_are_not_floating_point_are_refused_by_name_and_type(dtype: torch.dtype) -> None:
    with pytest.raises(PlanError) as caught:
        keep_mask(torch.ones(3, dtype=dtype), 1, name="head.weight")
    assert f"scores of 'head.weight' must be floating point, got {dtype}" == str(caught.value)


@given(distinct_magnitudes())
def test_torch_prunes_the_same_elements_where_there_are_no_ties(case: tuple[Tensor, int]) -> None:
    weight, count = case
    assert keep_of_torch(weight, count).tolist() == keep_mask(weight.abs(), count).tolist()


@given(scores_and_count(dimensions=2))
def test_torch_keeps_the_same_magnitudes_where_there_are_ties(case: tuple[Tensor, int]) -> None:
    scores, count = case
    weight = scores.float()
    ours, theirs = keep_mask(weight.abs(), count), keep_of_torch(weight, count)
    assert int(theirs.sum()) == int(ours.sum())
    assert sorted(weight[theirs].abs().tolist()) == sorted(weight[ours].abs().tolist())


def test_torch_keeps_other_positions_where_there_are_ties() -> None:
    weight = torch.ones(1, 1000)
    ours, theirs = keep_mask(weight, 500), keep_of_torch(weight, 500)
    if torch.equal(ours, theirs):
        pytest.skip("this torch's topk happens to break these ties by index; it promises no order")
    assert list(range(500, 1000)) == ours.flatten().nonzero().flatten().tolist()
    assert 500 == int(theirs.sum())


def test_a_threshold_prunes_too_many_where_there_are_ties() -> None:
    scores = torch.tensor([0.5, 0.1, 0.5, 0.5, 0.9, 0.5])
    threshold = scores.kthvalue(2).values
    assert 5 == int((~(scores > threshold)).sum())
    assert 2 == int((~keep_mask(scores, 2)).sum())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", FLOATING_TYPES)
def test_a_gpu_keeps_the_elements_that_the_cpu_keeps(dtype: torch.dtype) -> None:
    scores = torch.randint(-25, 25, (64, 128), generator=torch.Generator().manual_seed(0)).to(dtype)
    scores[::2] *= -1  # negative zeros
    for count in (0, 1, 1000, 4096, 8191, 8192):
        assert torch.equal(keep_mask(scores, count), keep_mask(scores.cuda(), count).cpu())
