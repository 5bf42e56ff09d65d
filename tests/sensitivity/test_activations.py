"""Kept activations: the same bits as when they are computed again, in no more memory than allowed."""

from __future__ import annotations

import pytest
import torch
from tiny_networks import (
    CLASSES,
    Branches,
    Direct,
    Normalising,
    Plain,
    Prototypes,
    Rereading,
    Residual,
    Sequence,
    SequenceFirst,
    Stating,
    built,
    calls_of,
    images,
)
from torch import Tensor, fx, nn

from prunebench.data import Examples, to_float
from prunebench.models import prunable_parameters
from prunebench.sensitivity import sensitivity_scan
from prunebench.sensitivity.adaptive.activations import ActivationCache, Remembering
from prunebench.sensitivity.adaptive.bounds import HalfWidth
from prunebench.sensitivity.recomputation import Suffixes, recomputation

pytestmark = pytest.mark.usefixtures("one_thread")

NODE, OTHER = list(fx.symbolic_trace(nn.Identity()).graph.nodes)[:2]


def halves(model: nn.Module) -> dict[str, list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: [torch.rand(weight.shape, generator=generator) < 0.5]
        for name, weight in prunable_parameters(model).items()
    }


@pytest.mark.parametrize("kind", [Plain, Residual, Branches, Direct, Sequence])
def test_answers_from_kept_activations_are_those_of_the_whole_model(kind: type[nn.Module]) -> None:
    model, batch = built(kind).eval(), to_float(images(12).inputs)
    masks = halves(model)
    with torch.inference_mode():
        way = recomputation(model, batch[:2])
        expected = {(a.layer, a.version): a.logits[[7, 3, 11]] for a in way.batch(batch, masks)}
        remembering = Remembering(way, model, batch[:2], ActivationCache(12))
        assert remembering.kept
        for some in (torch.arange(8), torch.arange(8, 12)):
            list(remembering.batch(batch[some], {}, base=True, which=some))
        asked = torch.tensor([7, 3, 11])
        found = list(remembering.batch(batch[asked], masks, base=True, which=asked))
    assert expected.keys() == {(answer.layer, answer.version) for answer in found}
    for answer in found:
        torch.testing.assert_close(expected[answer.layer, answer.version], answer.logits)


def test_what_comes_before_what_is_kept_is_not_run() -> None:
    model, batch = built(Plain).eval(), to_float(images(6).inputs)
    calls = calls_of(model)
    with torch.inference_mode():
        way, which = Remembering(Suffixes(model), model, batch[:2], ActivationCache(6)), torch.arange(6)
        list(way.batch(batch, {}, base=True, which=which))
        calls.clear()
        masks = {"classifier.weight": halves(model)["classifier.weight"]}
        list(way.batch(batch, masks, base=False, which=which))
    assert ["classifier"] == calls


def test_a_batch_with_an_image_that_was_not_kept_is_computed_again() -> None:
    model, batch = built(Plain).eval(), to_float(images(6).inputs)
    calls = calls_of(model)
    suffixes, which = Suffixes(model), torch.arange(6)
    with torch.inference_mode():
        way = Remembering(suffixes, model, batch[:2], ActivationCache(6))
        list(way.batch(batch[:5], {}, base=True, which=which[:5]))
        calls.clear()
        masks = {"classifier.weight": halves(model)["classifier.weight"]}
        found = list(way.batch(batch, masks, base=False, which=which))
        expected = list(suffixes.batch(batch, masks, base=False))
    assert "backbone.0" in calls
    assert torch.equal(expected[0].logits, found[0].logits)


@pytest.mark.parametrize("kind", [Stating, Normalising, Rereading])
def test_nothing_is_kept_of_a_model_that_reads_what_it_changed_in_place(kind: type[nn.Module]) -> None:
    model, probe = built(kind).eval(), to_float(images(2).inputs)
    with torch.inference_mode():
        way = recomputation(model, probe)
        assert isinstance(way, Suffixes)
        assert not Remembering(way, model, probe, ActivationCache(2)).kept


def coloured(count: int) -> Examples:
    """Images that a layer's mean tells apart."""
    noise = images(count)
    colours = torch.rand((count, 3, 1, 1), generator=torch.Generator().manual_seed(2))
    return Examples((noise.inputs * colours).to(torch.uint8), noise.targets)


EVERY_IMAGE = HalfWidth(points=1e-6, relative=0)


@pytest.mark.parametrize("kind", [Plain, Stating, Normalising, Rereading, SequenceFirst, Prototypes])
@pytest.mark.parametrize("bytes_an_image", [4 * 6 * 64, 10**6])
def test_asked_in_another_order_until_all_are_answered_is_as_exact(
    kind: type[nn.Module], bytes_an_image: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = built(kind).eval(), coloured(128)
    with torch.no_grad():  # so that no class is the answer to nearly all
        model.classifier.bias -= model(to_float(data.inputs)).mean(dim=0)[:CLASSES]
    monkeypatch.setattr(
        "prunebench.sensitivity.scanning.ActivationCache", lambda n: ActivationCache(n, n * bytes_an_image)
    )
    for batch_size in (20, 64):  # the first: as many images as prototypes; the second: as tokens
        exact = sensitivity_scan(model, data, sparsities=(0.5, 0.9), batch_size=batch_size)
        asked = sensitivity_scan(
            model, data, sparsities=(0.5, 0.9), batch_size=batch_size, mode="adaptive", half_width=EVERY_IMAGE
        )
        assert exact.base_bits == asked.base_bits
        assert [p.correct_bits for p in exact.points] == [p.correct_bits for p in asked.points]


@pytest.mark.parametrize(("bytes_an_image", "nodes"), [(0, 0), (8 * 4, 1), (10**6, 2)])
def test_scans_say_the_same_however_much_is_kept(
    bytes_an_image: int, nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = built(Plain).eval(), images(300)
    expected = sensitivity_scan(model, data, mode="decision", within=5, batch_size=50)
    cache = ActivationCache(len(data), bytes_an_image * len(data))
    monkeypatch.setattr("prunebench.sensitivity.scanning.ActivationCache", lambda _images: cache)
    found = sensitivity_scan(model, data, mode="decision", within=5, batch_size=50)
    assert nodes == len(cache.rows), "what enters the second convolution (96 floats) and the classifier (8)"
    assert expected.points == found.points
    assert expected.base_bits == found.base_bits


def test_no_more_is_kept_than_fits_and_the_first_comes_first() -> None:
    batch = torch.arange(4)
    cached = ActivationCache(10, most=10 * 6 * 4).of(batch)
    cached.keep(NODE, torch.rand(4, 7))
    assert not cached.knows(NODE), "ten images' take 280 bytes of 240"
    cached.keep(OTHER, torch.rand(4, 2, 3))
    assert cached.knows(OTHER)
    cached.keep(NODE, torch.rand(4, 1))
    assert not cached.knows(NODE), "nothing is left"


@pytest.mark.parametrize("value", [3, (torch.rand(4, 2),), torch.tensor(1.0), torch.rand(5, 2)])
def test_what_is_no_tensor_of_these_images_is_not_kept(value: object) -> None:
    cached = ActivationCache(10).of(torch.arange(4))
    cached.keep(NODE, value)
    assert not cached.knows(NODE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_kept_value_comes_back_as_it_was(dtype: torch.dtype, layout: torch.memory_format) -> None:
    cache = ActivationCache(9)
    value = torch.rand(4, 3, 5, 6).to(dtype=dtype, memory_format=layout)
    cache.of(torch.tensor([8, 1, 5, 0])).keep(NODE, value)
    assert not cache.of(torch.tensor([8, 2])).knows(NODE)
    asked = cache.of(torch.tensor([0, 8, 8]))
    assert asked.knows(NODE)
    found = asked.value(NODE)
    assert torch.equal(value[[3, 0, 0]], found)
    assert found.is_contiguous(memory_format=layout)
    found.zero_()
    assert torch.equal(value[[3, 0, 0]], asked.value(NODE)), "a copy"


def test_a_value_with_gaps_is_kept_too() -> None:
    cached = ActivationCache(4).of(torch.arange(4))
    value = torch.rand(4, 6, 2)[:, ::2]
    cached.keep(NODE, value)
    assert torch.equal(value, cached.value(NODE))
