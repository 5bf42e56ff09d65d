"""How weights lie in memory: which convolutions stay contiguous, and that nothing else of a model changes."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_networks import Plain, Residual, built, images
from torch import Tensor, nn

from prunebench.data import Examples
from prunebench.machine.devices import Precision, arithmetic
from prunebench.machine.layout import lay_out_
from prunebench.models import build_model, state_digest
from prunebench.sensitivity.recomputation import Suffixes, recomputation

pytestmark = pytest.mark.usefixtures("one_thread")


def images_of(side: int, *, count: int = 2) -> Examples:
    pixels = torch.randint(
        0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return Examples(pixels.contiguous(memory_format=torch.channels_last), torch.zeros(count, dtype=torch.int64))


def fed(examples: Examples) -> Tensor:
    return examples.fed(examples.inputs)


def contiguous_convolutions(model: nn.Module) -> list[str]:
    return [name for name, part in model.named_modules() if isinstance(part, nn.Conv2d) and part.weight.is_contiguous()]


@pytest.mark.parametrize(("side", "first"), [(16, 2), (32, 4), (64, 6), (128, 8)])
def test_convolutions_over_at_most_8x8_positions_stay_contiguous(side: int, first: int) -> None:
    model = lay_out_(build_model("vgg"), fed(images_of(side, count=1)))

    assert contiguous_convolutions(model) == [f"backbone.conv{index}" for index in range(first, 8)]
    for index in range(first):
        weight = model.get_parameter(f"backbone.conv{index}.weight")
        assert weight.is_contiguous(memory_format=torch.channels_last)


def test_kernels_of_one_and_groups_stay_channels_last() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(288, 2)
    )

    # A weight of 8x1x3x3 or 8x8x1x1 is contiguous either way: what tells them apart is the hook.
    lay_out_(model, fed(images_of(8)))
    assert [bool(part._forward_pre_hooks) for part in model] == [True, False, False, False, False]


def test_a_contiguous_convolution_is_given_contiguous_images() -> None:
    model, seen = lay_out_(built(Plain), fed(images(2))), []
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].is_contiguous()))
    model.eval()(fed(images(4)))

    assert seen == [True, True]


@pytest.mark.parametrize(("precision", "expected"), [("fp32", [False, True, True]), ("bf16", [False, False, True])])
def test_in_bf16_only_convolutions_over_at_most_4x4_positions_are(precision: Precision, expected: list[bool]) -> None:
    convolutions = [nn.Conv2d(3, 3, 3, stride=stride, padding=1) for stride in (2, 2, 1)]  # of 16x16, 8x8 and 4x4
    model, seen = lay_out_(nn.Sequential(*convolutions, nn.Flatten()), fed(images_of(16))), []
    for part in convolutions:
        part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].is_contiguous()))
    with arithmetic(torch.device("cpu"), precision):
        model(fed(images_of(16)))

    assert seen == expected


def test_answers_change_by_rounding_alone() -> None:
    torch.manual_seed(0)
    model, data = build_model("vgg").eval(), images_of(16, count=3)
    batch = fed(data)
    with torch.inference_mode():
        before = model(batch.contiguous())
        after = lay_out_(model, batch)(batch)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_the_model_stays_as_it_was() -> None:
    model = built(Residual)
    model.second.eval()
    before = (state_digest(model.state_dict()), [part.training for part in model.modules()])

    assert lay_out_(model, fed(images(2))) is model
    assert (state_digest(model.state_dict()), [part.training for part in model.modules()]) == before


def test_a_copy_computes_the_same_bits() -> None:
    model = lay_out_(built(Plain), fed(images(2))).eval()
    batch = fed(images(5))

    assert torch.equal(model(batch), copy.deepcopy(model)(batch))


def test_a_scan_recomputes_only_what_follows() -> None:
    model = lay_out_(built(Plain), fed(images(2))).eval()
    with torch.inference_mode():
        assert isinstance(recomputation(model, fed(images(2))), Suffixes)


def test_a_model_that_fails_on_the_images_is_left_without_notes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(7, 2))
    with pytest.raises(RuntimeError):
        lay_out_(model, fed(images_of(8)))

    assert not model[0]._forward_pre_hooks
