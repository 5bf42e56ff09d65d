"""Answers with one weight changed: the same bits whether the model is run from its start or from that weight on."""

from __future__ import annotations

import pytest
import torch
from tiny_networks import (
    Adding,
    Branches,
    Branching,
    Centred,
    Direct,
    Folded,
    Plain,
    Residual,
    Sequence,
    Spoiling,
    built,
    calls_of,
    images,
)
from torch import Tensor, nn

from prunebench.data import to_float
from prunebench.models import build_model, prunable_parameters, state_digest
from prunebench.pruning import keep_masks
from prunebench.sensitivity.recomputation import Suffixes, WholeModel, recomputation

pytestmark = pytest.mark.usefixtures("one_thread")

TRACEABLE = (Plain, Residual, Branches, Direct, Centred, Sequence)
OTHERS = (Branching, Spoiling, Adding, Folded)


def some_masks(model: nn.Module) -> dict[str, list[Tensor]]:
    return {
        name: keep_masks(weight.detach().abs(), [weight.numel() // 3, weight.numel() // 2])
        for name, weight in model.named_parameters()
        if weight.dim() >= 2
    }


Logits = dict[tuple[str | None, int], Tensor]


def from_scratch(model: nn.Module, batch: Tensor, masks: dict[str, list[Tensor]]) -> Logits:
    """The oracle: a copy of every weight, the whole model, the weight put back."""
    logits: Logits = {(None, 0): model(batch.clone())}
    weights = dict(model.named_parameters())
    for name, versions in masks.items():
        for version, mask in enumerate(versions):
            before = weights[name].detach().clone()
            weights[name].data.mul_(mask)
            logits[name, version] = model(batch.clone())
            weights[name].data.copy_(before)
    return logits


@pytest.mark.parametrize("kind", [*TRACEABLE, *OTHERS])
def test_answers_are_those_of_the_whole_model_bit_for_bit(kind: type[nn.Module]) -> None:
    model, batch = built(kind).eval(), to_float(images(20).inputs)
    masks = some_masks(model)
    with torch.inference_mode():
        expected = from_scratch(model, batch, masks)
        way = recomputation(model, batch[:2].clone(), prunable_parameters(model))
        found = {(answer.layer, answer.version): answer.logits for answer in way.batch(batch.clone(), masks)}
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("kind", TRACEABLE)
def test_a_model_that_can_be_traced_is_recomputed_from_the_weight_on(kind: type[nn.Module]) -> None:
    with torch.inference_mode():
        assert isinstance(recomputation(built(kind).eval(), to_float(images(2).inputs)), Suffixes)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_model_that_cannot_is_run_from_its_start(kind: type[nn.Module]) -> None:
    with torch.inference_mode():
        assert isinstance(recomputation(built(kind).eval(), to_float(images(2).inputs)), WholeModel)


def test_two_black_images_do_not_hide_what_others_show() -> None:
    model = built(Adding).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.zeros_(parameter)  # nothing to add to nothing
    with torch.inference_mode():
        assert isinstance(recomputation(model, torch.zeros(2, 3, 8, 8)), WholeModel)


@pytest.mark.parametrize("kind", [*TRACEABLE, *OTHERS])
def test_the_weights_end_as_they_were(kind: type[nn.Module]) -> None:
    model = built(kind).eval()
    before = state_digest(model.state_dict())
    with torch.inference_mode():
        way = recomputation(model, to_float(images(2).inputs))
        list(way.batch(to_float(images(5).inputs), some_masks(model)))
    assert before == state_digest(model.state_dict())


def test_the_weights_end_as_they_were_when_it_is_abandoned() -> None:
    model = built(Plain).eval()
    before = state_digest(model.state_dict())
    with torch.inference_mode():
        for way in (Suffixes(model), WholeModel(model)):
            answers = way.batch(to_float(images(5).inputs), some_masks(model))
            next(answers)
            assert before == state_digest(model.state_dict()), "a weight is changed while the caller has its answer"
            answers.close()
            assert before == state_digest(model.state_dict())


class Mixed(nn.Sequential):
    """A part that cannot be traced between parts that can."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(192, 8), Doubling(), nn.Linear(8, 4))


class Doubling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, values: Tensor) -> Tensor:
        return self.inner(values * 2 if values.mean() > 0 else values)


@pytest.mark.parametrize(("layers", "kind"), [(["1.weight", "3.weight"], Suffixes), (["2.inner.weight"], WholeModel)])
def test_a_part_that_cannot_be_traced_matters_where_it_holds_a_layer_scanned(layers: list[str], kind: type) -> None:
    model, batch = built(Mixed).eval(), to_float(images(20).inputs)
    masks = {name: versions for name, versions in some_masks(model).items() if name in layers}
    with torch.inference_mode():
        expected = from_scratch(model, batch, masks)
        way = recomputation(model, batch[:2], layers)
        found = {(answer.layer, answer.version): answer.logits for answer in way.batch(batch, masks)}
    assert isinstance(way, kind)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_what_comes_before_a_weight_is_computed_once() -> None:
    model = built(Plain).eval()
    calls = calls_of(model)
    with torch.inference_mode():
        way = Suffixes(model)
        list(way.batch(to_float(images(5).inputs), {"classifier.weight": some_masks(model)["classifier.weight"]}))
    assert 1 == calls.count("backbone.0")
    assert 3 == calls.count("classifier"), "two versions and the model as it is"


def test_the_documented_model_is_recomputed_from_the_weight_on() -> None:
    with torch.inference_mode():
        model = build_model("vgg").eval()
        assert isinstance(recomputation(model, torch.rand(2, 3, 16, 16)), Suffixes)


def test_bf16_sees_the_changed_weight_and_not_a_copy_of_the_old() -> None:
    model, batch = built(Plain).eval(), to_float(images(20).inputs)
    masks = some_masks(model)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        expected = from_scratch(model, batch, masks)
        found = {(a.layer, a.version): a.logits for a in recomputation(model, batch[:2]).batch(batch, masks)}
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("kind", [Plain, Residual, Branches, Direct, Branching])
def test_without_the_base_model_the_same_answers_and_no_more_work_than_they_need(kind: type[nn.Module]) -> None:
    model = built(kind).eval()
    batch = images(8).inputs.float() / 255
    way = recomputation(model, batch[:2])
    masks = {name: [torch.rand(weight.shape) < 0.5] for name, weight in prunable_parameters(model).items()}
    with torch.inference_mode():
        expected = [answer for answer in way.batch(batch, masks) if answer.layer is not None]
        found = list(way.batch(batch, masks, base=False))
        assert [(answer.layer, answer.version) for answer in expected] == [(a.layer, a.version) for a in found]
        assert all(torch.equal(one.logits, other.logits) for one, other in zip(expected, found, strict=True))
        assert [] == list(way.batch(batch, {}, base=False))


def test_what_comes_after_the_last_layer_asked_is_run_for_it_alone() -> None:
    model, calls = built(Plain).eval(), []
    model.classifier.register_forward_hook(lambda *_: calls.append(1))
    way = Suffixes(model)
    first = next(iter(prunable_parameters(model)))
    mask = torch.ones_like(model.backbone[0].weight, dtype=torch.bool)
    with torch.inference_mode():
        list(way.batch(images(4).inputs.float() / 255, {first: [mask]}, base=False))
    assert 1 == len(calls)
