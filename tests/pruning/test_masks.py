"""Masks as values: what they accept, what survives copies and files, how they are applied and checked."""

from __future__ import annotations

import copy
import itertools
import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from prunebench.errors import CheckpointError, MaskError, UnknownNameError
from prunebench.models import save_state, state_digest
from prunebench.pruning import Masks, prune_
from prunebench.pruning.masks import with_zeros


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def pruned_model(sparsity: float = 0.5) -> tuple[nn.Sequential, Masks]:
    model = small_model()
    return model, prune_(model, {"0.weight": sparsity, "4.weight": sparsity})


def as_lists(masks: Masks) -> dict[str, object]:
    return {name: mask.tolist() for name, mask in masks.items()}


@pytest.mark.parametrize(
    ("got", "mask"),
    [
        ("torch.float32", torch.ones(2)),
        ("torch.uint8", torch.ones(2, dtype=torch.uint8)),
        ("list", [True, False]),
        ("NoneType", None),
    ],
)
def test_a_mask_that_is_no_bool_tensor_is_refused_by_name_and_type(got: str, mask: Tensor) -> None:
    with pytest.raises(MaskError) as caught:
        Masks({"good": torch.ones(2, dtype=torch.bool), "head.weight": mask})
    assert f"mask of 'head.weight' must be a bool tensor, got {got}" == str(caught.value)


def test_masks_are_a_mapping_by_parameter_name() -> None:
    _, masks = pruned_model()
    assert ["0.weight", "4.weight"] == list(masks)
    assert 2 == len(masks)
    assert "0.bias" not in masks
    assert (4, 2, 3, 3) == tuple(masks["0.weight"].shape)
    with pytest.raises(KeyError):
        masks["0.bias"]


def test_masks_hold_their_own_table_of_names() -> None:
    table = {"a": torch.ones(2, dtype=torch.bool)}
    masks = Masks(table)
    table["b"] = torch.zeros(2)
    assert ["a"] == list(masks)


def test_density_and_sparsity_are_the_kept_and_pruned_fractions() -> None:
    masks = Masks({"a": torch.tensor([[True, False, False, False]])})
    assert 0.25 == masks.density("a")
    assert 0.75 == masks.sparsity("a")


def test_masks_survive_a_file(tmp_path: Path) -> None:
    _, masks = pruned_model()
    masks.save(tmp_path / "masks.safetensors")
    loaded = Masks.load(tmp_path / "masks.safetensors")
    assert as_lists(masks) == as_lists(loaded)
    assert masks.digest == loaded.digest


def test_masks_survive_a_deep_copy_that_shares_nothing() -> None:
    _, masks = pruned_model()
    before = masks.digest
    copied = copy.deepcopy(masks)
    assert before == copied.digest
    copied["0.weight"].logical_not_()
    assert before == masks.digest


def test_masks_survive_a_device_move() -> None:
    _, masks = pruned_model()
    moved = masks.to(torch.device("cpu"))
    assert as_lists(masks) == as_lists(moved)
    assert masks.digest == moved.digest


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_masks_survive_a_gpu_and_hold_there() -> None:
    model, masks = pruned_model()
    moved = masks.to(torch.device("cuda"))
    assert masks.digest == moved.digest
    moved.check(model.cuda())


def test_a_copied_model_obeys_the_masks_of_the_original() -> None:
    model, masks = pruned_model()
    copy.deepcopy(masks).check(copy.deepcopy(model))


def test_masks_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        Masks.load(tmp_path / "absent.safetensors")


def test_a_file_of_weights_is_not_a_file_of_masks(tmp_path: Path) -> None:
    save_state(small_model().state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(MaskError, match="must be a bool tensor"):
        Masks.load(tmp_path / "weights.safetensors")


def test_the_digest_tells_one_changed_element_and_one_changed_name() -> None:
    masks = {"a": torch.tensor([True, False]), "b": torch.tensor([True])}
    digest = Masks(masks).digest
    assert digest == Masks({"b": masks["b"], "a": masks["a"]}).digest
    assert digest != Masks({**masks, "a": torch.tensor([True, True])}).digest
    assert digest != Masks({"a": masks["a"], "c": masks["b"]}).digest


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.0])
def test_applying_zeroes_a_pruned_element_whatever_it_holds(value: float) -> None:
    model, masks = pruned_model()
    before = state_digest(model.state_dict())
    with torch.no_grad():
        model.get_parameter("0.weight")[~masks["0.weight"]] = value
    masks.apply_(model)
    assert before == state_digest(model.state_dict())
    masks.check(model)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_applying_gives_the_bits_of_filling_with_zeros_in_any_type_and_memory_format(dtype: torch.dtype) -> None:
    values = torch.tensor([1.5, -1.5, 0.0, -0.0, math.nan, math.inf, -math.inf, 6e-8]).to(dtype)
    model = nn.Conv2d(4, 4, 2, bias=False, dtype=dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        model.weight.copy_(values.repeat(8).view(4, 4, 2, 2))
    mask = torch.arange(64).view(4, 4, 2, 2) % 16 < 8
    expected = model.weight.detach().masked_fill(~mask, 0)
    copy = with_zeros(model.weight, mask)
    assert copy.stride() == model.weight.stride()
    Masks({"weight": mask}).apply_(model)
    assert state_digest({"weight": expected}) == state_digest({"weight": copy})
    assert state_digest({"weight": expected}) == state_digest({"weight": model.weight})


def test_applying_leaves_kept_elements_as_they_were() -> None:
    model = small_model()
    before = model.get_parameter("4.weight").detach().clone()
    masks = Masks({"4.weight": torch.rand(3, 16) < 0.5})
    masks.apply_(model)
    kept = masks["4.weight"]
    assert torch.equal(before[kept], model.get_parameter("4.weight").detach()[kept])


def test_masks_of_ones_change_no_weight() -> None:
    model = small_model()
    before = state_digest(model.state_dict())
    Masks({name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters()}).apply_(model)
    assert before == state_digest(model.state_dict())


def test_applying_twice_changes_nothing_more() -> None:
    model, masks = pruned_model()
    before = state_digest(model.state_dict())
    masks.apply_(model)
    assert before == state_digest(model.state_dict())


def test_a_check_names_the_parameter_the_count_and_the_first_element() -> None:
    model, masks = pruned_model()
    revived = (~masks["4.weight"]).nonzero()[-3:]
    with torch.no_grad():
        for row, column in revived.tolist():
            model.get_parameter("4.weight")[row, column] = 0.125
    first = tuple(revived[0].tolist())
    expected = f"'4.weight' has 3 pruned elements that are not zero, the first at {first} is 0.125"
    with pytest.raises(MaskError, match=re.escape(expected)):
        masks.check(model)


@pytest.mark.parametrize("value", [math.nan, math.inf, 2.0**-149])
def test_a_check_reports_nan_infinity_and_denormals(value: float) -> None:
    model, masks = pruned_model()
    with torch.no_grad():
        model.get_parameter("0.weight")[~masks["0.weight"]] = value
    with pytest.raises(MaskError, match=r"'0\.weight' has 36 pruned elements that are not zero"):
        masks.check(model)


def test_a_negative_zero_counts_as_pruned() -> None:
    model, masks = pruned_model()
    with torch.no_grad():
        model.get_parameter("0.weight")[~masks["0.weight"]] = -0.0
    masks.check(model)


def test_a_mask_of_another_parameter_or_shape_is_refused_by_name() -> None:
    model = small_model()
    stranger = Masks({"head.weight": torch.ones(2, dtype=torch.bool)})
    misfit = Masks({"4.weight": torch.ones(3, 15, dtype=torch.bool)})
    for use in (Masks.apply_, Masks.check):
        with pytest.raises(MaskError, match=r"the model has no parameter 'head\.weight' for its mask"):
            use(stranger, model)
        with pytest.raises(MaskError, match=r"mask of '4\.weight' has shape \(3, 15\), the weight \(3, 16\)"):
            use(misfit, model)


def test_masks_that_do_not_all_fit_change_nothing() -> None:
    model = small_model()
    before = state_digest(model.state_dict())
    fitting, misfit = torch.zeros(4, 2, 3, 3, dtype=torch.bool), torch.zeros(3, 15, dtype=torch.bool)
    with pytest.raises(MaskError):
        Masks({"0.weight": fitting, "4.weight": misfit}).apply_(model)
    assert before == state_digest(model.state_dict())


def test_the_masks_of_a_pruned_model_can_be_read_from_its_zeros() -> None:
    model, masks = pruned_model()
    assert as_lists(masks) == as_lists(Masks.of_zeros(model))
    assert ["4.weight"] == list(Masks.of_zeros(model, {"4.weight": None}))


def test_reading_masks_of_an_unknown_parameter_is_refused_with_a_hint() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown parameter '4\.wieght': .* did you mean '4\.weight'\?"):
        Masks.of_zeros(small_model(), {"4.wieght": None})


def test_masks_nest_when_the_sparsity_rises() -> None:
    steps = (0, 0.1, 0.25, 0.5, 0.55, 0.9, 1)
    rising = [pruned_model(sparsity)[1] for sparsity in steps]
    for lower, higher in itertools.pairwise(rising):
        for name in lower:
            assert not (higher[name] & ~lower[name]).any()
            assert int(higher[name].sum()) < int(lower[name].sum())
