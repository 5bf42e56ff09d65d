"""What a model weighs: counts by formula, and sizes by what is on the disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from prunebench.errors import ModelError
from prunebench.measure import MIB, count_macs, file_size_bytes, nominal_size_bits, nonzeros
from prunebench.models import build_model, save_state, state_digest
from prunebench.pruning import Masks, prune_


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 6, (3, 5), stride=2, groups=2, bias=False),
        nn.Flatten(),
        nn.Linear(6 * 4 * 3, 10),
    )


def vgg_without_memory() -> nn.Module:
    with torch.device("meta"):
        return build_model("vgg")


def test_the_vgg_does_605_754_368_macs_an_image_of_32_by_32() -> None:
    assert 605_754_368 == sum(count_macs(vgg_without_memory(), (3, 32, 32)).values())


def test_the_macs_of_each_vgg_layer_follow_its_shape_and_its_image() -> None:
    sides = {"conv0": 32, "conv1": 32, "conv2": 16, "conv3": 16, "conv4": 8, "conv5": 8, "conv6": 4, "conv7": 4}
    model = vgg_without_memory()
    expected = {
        f"backbone.{name}.weight": model.get_parameter(f"backbone.{name}.weight").numel() * side**2
        for name, side in sides.items()
    }
    assert {**expected, "classifier.weight": 5_120} == count_macs(model, (3, 32, 32))


def test_a_quarter_of_the_image_is_a_quarter_of_the_convolutions() -> None:
    model = vgg_without_memory()
    large, small = count_macs(model, (3, 32, 32)), count_macs(model, (3, 16, 16))
    for name in large:
        assert large[name] == small[name] * (1 if name == "classifier.weight" else 4)


def test_macs_are_outputs_times_the_inputs_of_each() -> None:
    expected = {
        "0.weight": (8 * 10 * 10) * (3 * 3 * 3),
        "3.weight": (6 * 4 * 3) * (8 // 2 * 3 * 5),  # outputs (10 - 3) // 2 + 1 by (10 - 5) // 2 + 1; two groups
        "5.weight": 10 * 72,
    }
    found = count_macs(small_model(), (3, 10, 10))
    assert expected == found
    assert {int} == {type(macs) for macs in found.values()}
    assert expected == count_macs(small_model(), torch.rand(4, 3, 10, 10)), "of one input of the batch"


def test_a_model_that_is_one_layer_is_counted_too() -> None:
    assert {"weight": (2 * 6 * 6) * (3 * 3 * 3)} == count_macs(nn.Conv2d(3, 2, 3), (3, 8, 8))


def test_layers_inside_nested_modules_are_counted_once_under_their_own_name() -> None:
    model = nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), nn.Sequential(nn.Linear(5, 2)))
    assert {"0.1.weight": 60, "1.0.weight": 10} == count_macs(model, (3, 2, 2))


def test_a_layer_that_runs_twice_is_counted_twice() -> None:
    layer = nn.Linear(12, 12)
    assert {"1.weight": 288} == count_macs(nn.Sequential(nn.Flatten(), layer, layer), (3, 2, 2))


class Tokens(nn.Module):
    """Weights that multiply nothing, one that a module with children owns, attention, and two names of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(8, 6))
        self.inside = nn.Linear(6, 6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.tied = nn.Linear(6, 6)
        self.tied.weight = self.inside.weight
        self.memory = nn.LSTM(6, 5, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.tied(self.inside(images.flatten(2)[:, 0].view(-1, 8, 6) + self.position))
        attended, _ = self.attention(tokens, tokens, tokens)
        return self.memory(attended)[0].mean(dim=1)


def test_what_multiplies_nothing_has_none_and_each_weight_has_its_own() -> None:
    expected = {
        "position": 0,
        "inside.weight": 2 * 8 * 6 * 6,
        "attention.in_proj_weight": 8 * 6 * 18,
        "attention.out_proj.weight": 8 * 6 * 6,
        "memory.weight_ih_l0": 8 * 6 * 20,
        "memory.weight_hh_l0": 8 * 5 * 20,
    }
    assert expected == count_macs(Tokens(), (3, 6, 8))


def test_counting_leaves_onednn_on_and_torchs_compiler_out() -> None:
    script = (
        "import sys, torch; from torch import nn; from prunebench.measure import count_macs;"
        "count_macs(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (3, 2, 2));"
        "print(torch.backends.mkldnn.enabled, 'torch._dynamo' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert [str(torch.backends.mkldnn.enabled), "False"] == found


def test_a_module_with_two_names_and_a_weight_that_is_computed_first() -> None:
    shared = nn.Conv2d(3, 3, 3, padding=1)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3 * 16, 2))
    model = nn.Sequential(nn.Sequential(shared), nn.Sequential(shared), nn.Flatten(), normed)
    found = count_macs(model, (3, 4, 4))
    assert 2 * 16 * 3 * 27 == found["0.0.weight"]
    assert {0, 96} == {macs for name, macs in found.items() if name.startswith("3.")}
    assert 96 == found["3.parametrizations.weight.original1"], "the direction's, not the norm's"


def test_pruning_does_not_change_the_macs() -> None:
    model = small_model()
    before = count_macs(model, (3, 10, 10))
    prune_(model, {"0.weight": 0.5, "3.weight": 1, "5.weight": 0})
    assert before == count_macs(model, (3, 10, 10))


def test_counting_macs_leaves_the_model_as_it_was() -> None:
    model = small_model().train()
    before = state_digest(model.state_dict())
    count_macs(model, (3, 10, 10))
    assert before == state_digest(model.state_dict())
    assert model.training
    assert {"cpu"} == {parameter.device.type for parameter in model.parameters()}


def test_counting_macs_copies_no_weight() -> None:
    class Unique(nn.Parameter):
        def __deepcopy__(self, memo: object) -> Tensor:
            raise AssertionError("copied")

    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.BatchNorm1d(2))
    model[0].weight = Unique(torch.rand(2, 3))
    assert {"0.weight": 6} == count_macs(model, (3,))


def test_a_model_that_fails_is_told_with_its_reason() -> None:
    with pytest.raises(ModelError, match=r"multiply-accumulates cannot be counted: RuntimeError: .*mat1"):
        count_macs(nn.Linear(3, 2), (4,))


def test_nonzeros_are_counted_by_parameter_and_buffers_are_left_out() -> None:
    model = small_model()
    with torch.no_grad():
        model.get_parameter("5.bias")[:4] = 0
    prune_(model, {"0.weight": 0.5, "3.weight": 1, "5.weight": 0})
    expected = {
        "0.weight": 108,
        "0.bias": 8,
        "1.weight": 8,
        "1.bias": 0,  # a fresh batch norm shifts by zero
        "3.weight": 0,
        "5.weight": 720,
        "5.bias": 6,
    }
    assert expected == nonzeros(model)


@pytest.mark.parametrize(("expected", "value"), [(2, 0.0), (2, -0.0), (3, float("nan")), (3, 2.0**-149)])
def test_only_zero_counts_as_zero(expected: int, value: float) -> None:
    layer = nn.Linear(3, 1, bias=False)
    layer.weight = nn.Parameter(torch.tensor([[1.0, value, 2.0]]))
    assert expected == nonzeros(layer)["weight"]


def test_nonzeros_agree_with_the_density_of_the_masks() -> None:
    model = small_model()
    masks = prune_(model, {"0.weight": 0.37, "3.weight": 0.61, "5.weight": 0.83})
    counted = nonzeros(model)
    for name, mask in masks.items():
        assert counted[name] == round(masks.density(name) * mask.numel())


def test_the_nominal_size_is_the_nonzeros_times_their_bits() -> None:
    model = small_model()
    prune_(model, {"0.weight": 0.5, "3.weight": 1, "5.weight": 0})
    assert 32 * 854 == nominal_size_bits(model)
    assert 8 * 854 == nominal_size_bits(model, bits=8)


def test_the_nominal_size_of_an_emptied_model_is_zero() -> None:
    model = nn.Linear(4, 3, bias=False)
    prune_(model, {"weight": 1})
    assert 0 == nominal_size_bits(model)


def test_the_dense_vgg_has_the_documented_nominal_size() -> None:
    """A trained VGG: a fresh one has batch-norm shifts of zero, which are not counted."""
    model = build_model("vgg")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1)
    assert 9_228_362 * 32 == nominal_size_bits(model)
    assert "35.20" == f"{nominal_size_bits(model) / 8 / MIB:.2f}"


def saved_bytes(state: dict[str, Tensor], folder: Path) -> int:
    save_state(state, folder / "model.safetensors")
    return (folder / "model.safetensors").stat().st_size


def test_the_file_size_is_that_of_the_file_written(tmp_path: Path) -> None:
    for state in (small_model().state_dict(), {"a": torch.ones(3)}, {"a": torch.ones(7, dtype=torch.bool)}):
        assert saved_bytes(state, tmp_path) == file_size_bytes(state)


def test_the_file_size_of_masks_is_that_of_their_file(tmp_path: Path) -> None:
    masks = Masks.of_zeros(small_model())
    masks.save(tmp_path / "masks.safetensors")
    assert (tmp_path / "masks.safetensors").stat().st_size == file_size_bytes(masks)


def test_zeros_take_as_much_of_a_file_as_any_other_value() -> None:
    model = small_model()
    before = file_size_bytes(model.state_dict())
    prune_(model, {"0.weight": 1, "3.weight": 1, "5.weight": 1})
    assert before == file_size_bytes(model.state_dict())


def test_the_file_size_does_not_depend_on_the_memory_format() -> None:
    state = small_model().state_dict()
    channels_last = {**state, "0.weight": state["0.weight"].contiguous(memory_format=torch.channels_last)}
    assert file_size_bytes(state) == file_size_bytes(channels_last)


def test_a_file_holds_buffers_too() -> None:
    model = small_model()
    assert file_size_bytes(dict(model.named_parameters())) < file_size_bytes(model.state_dict())
