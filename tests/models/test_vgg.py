"""The documented VGG: its names, shapes and sizes, on which every documented figure rests."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunebench.models import VGG, build_model, prunable_parameters

PRUNABLE_SHAPES = {
    "backbone.conv0.weight": (64, 3, 3, 3),
    "backbone.conv1.weight": (128, 64, 3, 3),
    "backbone.conv2.weight": (256, 128, 3, 3),
    "backbone.conv3.weight": (256, 256, 3, 3),
    "backbone.conv4.weight": (512, 256, 3, 3),
    "backbone.conv5.weight": (512, 512, 3, 3),
    "backbone.conv6.weight": (512, 512, 3, 3),
    "backbone.conv7.weight": (512, 512, 3, 3),
    "classifier.weight": (10, 512),
}


def vgg_without_memory() -> nn.Module:
    with torch.device("meta"):
        return build_model("vgg")


def test_the_prunable_parameters_have_the_documented_names_shapes_and_order() -> None:
    prunable = prunable_parameters(vgg_without_memory())
    assert list(PRUNABLE_SHAPES.items()) == [(name, tuple(weight.shape)) for name, weight in prunable.items()]


def test_the_other_parameters_are_batch_norms_and_one_bias() -> None:
    expected = {f"backbone.bn{block}.{kind}" for block in range(8) for kind in ("weight", "bias")} | {"classifier.bias"}
    names = {name for name, _ in vgg_without_memory().named_parameters()}
    assert expected == names - set(PRUNABLE_SHAPES)


def test_the_checkpoint_has_the_documented_buffers_too() -> None:
    kinds = ("running_mean", "running_var", "num_batches_tracked")
    expected = {f"backbone.bn{block}.{kind}" for block in range(8) for kind in kinds}
    assert expected == {name for name, _ in vgg_without_memory().named_buffers()}


def test_it_has_9_228_362_parameters_of_which_9_222_848_can_be_pruned() -> None:
    model = vgg_without_memory()
    assert 9_228_362 == sum(parameter.numel() for parameter in model.parameters())
    assert 9_222_848 == sum(weight.numel() for weight in prunable_parameters(model).values())


@pytest.mark.parametrize("side", [16, 32, 64])
def test_images_of_any_multiple_of_16_give_one_row_of_logits_each(side: int) -> None:
    images = torch.empty(5, 3, side, side, device="meta")
    assert (5, 10) == tuple(vgg_without_memory()(images).shape)


def test_the_number_of_classes_is_the_width_of_the_logits() -> None:
    with torch.device("meta"):
        model = VGG(classes=7)
        assert (2, 7) == tuple(model(torch.empty(2, 3, 16, 16)).shape)


def test_the_memory_format_changes_the_logits_by_rounding_only() -> None:
    torch.manual_seed(0)
    model, images = VGG().eval(), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        usual = model(images)
        channels_last = model.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(channels_last, usual, rtol=1e-4, atol=1e-5)


def test_one_seed_gives_one_set_of_weights() -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        weights.append(VGG().get_parameter("backbone.conv1.weight").detach())
    assert torch.equal(weights[0], weights[1])
