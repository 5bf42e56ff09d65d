"""The CIFAR ResNets: the sizes that the literature gives them, and public weights that load into them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from prunebench.measure import count_macs
from prunebench.models import build_model, load_checkpoint_, prunable_parameters

PUBLISHED = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}


def weights_of(model: nn.Module) -> int:
    return sum(weight.numel() for weight in prunable_parameters(model).values())


@pytest.mark.parametrize(
    ("name", "weights", "macs"), [("resnet20", 270_896, 40_813_184), ("resnet56", 851_504, 125_747_840)]
)
def test_with_projection_shortcuts_sizes_are_those_of_the_literature(name: str, weights: int, macs: int) -> None:
    model = build_model(name)
    assert weights == weights_of(model)
    assert macs == sum(count_macs(model, (3, 32, 32)).values())


@pytest.mark.parametrize(("name", "weights"), [("resnet20", 268_336), ("resnet56", 848_944)])
def test_padding_shortcuts_have_no_weights(name: str, weights: int) -> None:
    model = build_model(name, {"shortcut": "padding"})
    assert weights == weights_of(model)
    assert not [each for each, _ in model.named_parameters() if "downsample" in each]


def test_a_padding_shortcut_gives_every_second_position_and_zeros_for_new_channels_on_both_sides() -> None:
    images = torch.rand(2, 16, 8, 8)
    shortened = build_model("resnet20", {"shortcut": "padding"}).layer2[0].downsample(images)
    assert (2, 32, 4, 4) == tuple(shortened.shape)
    assert torch.equal(images[:, :, ::2, ::2], shortened[:, 8:24])
    assert 0 == int(shortened[:, :8].count_nonzero()) == int(shortened[:, 24:].count_nonzero())


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_weights_load_whole(name: str, cifar10_checkpoint: Path) -> None:
    path = cifar10_checkpoint.with_name(PUBLISHED[name])
    if not path.is_file():
        pytest.skip(f"needs {path.name} beside the checkpoint of PRUNEBENCH_CHECKPOINT")
    torch.manual_seed(0)
    model = build_model(name, {"shortcut": "padding"})
    fresh = {each: weight.detach().clone() for each, weight in prunable_parameters(model).items()}
    assert ("'module.' removed from names", "num_batches_tracked set to 0") == load_checkpoint_(model, path)
    for each, weight in prunable_parameters(model).items():
        assert not torch.equal(fresh[each], weight), each
