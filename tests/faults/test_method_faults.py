"""Faults planted in criteria, evidence, granularities and allocations: the gate sees another model, or a test fails.

The gate compares the record of a method on a small network with that of the sound code, as `prunebench compare` does.
What another record would not show, or what gives the same masks here, fails one of the tests against a reference.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module

import pytest
import torch
from planning import test_methods as test_allocated
from pruning import test_channels, test_criteria, test_evidence, test_granularities
from torch import nn

from prunebench.data import Dataset, Examples
from prunebench.documented.method import Method
from prunebench.errors import PrunebenchError
from prunebench.experiments import flow, methods, requests
from prunebench.gate import Status, compare_records
from prunebench.planning import allocations, allocators
from prunebench.pruning import Evidence, evidence, find_criterion, gather_evidence
from prunebench.pruning.criteria.fisher import Fisher
from prunebench.pruning.criteria.snip import Snip
from prunebench.pruning.criteria.wanda import Wanda
from prunebench.pruning.granularities import channel
from prunebench.pruning.granularities.element import Element
from prunebench.pruning.granularities.nm import NM
from prunebench.records import RunRecord
from prunebench.training import Recipe
from prunebench.workloads import InMemoryWorkload, RequestedRun

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

Check = Callable[[], object]


class Small(nn.Sequential):
    """Two square weights among others: a transposed mask fits too."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 8)
        super().__init__(OrderedDict(zip(("first", "second", "relu", "flat", "last"), layers, strict=True)))


def images(count: int, seed: int) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    return Examples(torch.randn(count, 1, 6, 6, generator=generator), torch.arange(count) % 8)


DATA = Dataset(name="random", train=images(64, 1), test=images(64, 2), classes=tuple("abcdefgh"), origin="made here")
WORKLOAD = InMemoryWorkload(
    name="small",
    recipes={"quick": Recipe(epochs=1, batch_size=16, learning_rate=0.01)},
    module=Small().eval(),
    dataset=DATA,
    keep_dense=("first.weight",),
)


def record_of(method: Method) -> RunRecord:
    setting = flow.prepare(WORKLOAD)
    asked = RequestedRun(name="small", workload=WORKLOAD.name, method=method)
    run = requests.resolve(asked, WORKLOAD, setting.dense.model, setting.data, seed=0)
    return flow.execute(run, setting, finetune=False)


sound_record = cache(record_of)


def the_gate(**parts: object) -> Check:
    """Fails where the record of a method is not that of the sound code."""
    method = Method(**{"criterion": "taylor", "allocation": "global", "total": 0.5} | parts)  # type: ignore[arg-type]

    def check() -> None:
        verdicts = compare_records({"small": sound_record(method)}, {"small": record_of(method)})
        failed = {each.check for each in verdicts if each.status in (Status.FAIL, Status.INCOMPARABLE)}
        assert not failed, failed

    return check


def with_values(test: Callable[..., object], **values: object) -> Check:
    """A property-based test, for these values."""
    return partial(test.hypothesis.inner_test, **values)  # type: ignore[attr-defined]


def formula(criterion: str) -> Check:
    return partial(test_criteria.test_scores_are_the_published_formula, criterion)


@dataclass(frozen=True)
class Fault:
    """How to plant it, and the check that catches it."""

    name: str
    check: Check
    plant: Callable[[pytest.MonkeyPatch], None]


FAULTS: list[Fault] = []


def fault(name, check):
    def register(plant):
        FAULTS.append(Fault(name, check, plant))
        return plant

    return register


def patch_evidence(patch, gather):
    """`gather` gathers in the place of the real one, and its evidence has the digest of the real."""

    def gathered(model, training, **settings):
        digest = gather_evidence(model, training, **settings).digest
        return replace(gather(model, training, **settings), digest=digest)

    patch.setattr(methods, "gather_evidence", gathered)


def patch_gradients(patch, changed):
    real = evidence._mean_gradients
    patch.setattr(evidence, "_mean_gradients", partial(changed, real))


def scaled(found: Mapping[str, torch.Tensor], by: float) -> dict[str, torch.Tensor]:
    return {name: each * by for name, each in found.items()}


# Evidence


@fault("evidence from the test set", the_gate())
def of_the_test_set(patch):
    patch_evidence(patch, lambda model, training, **settings: gather_evidence(model, DATA.test, **settings))


@fault("evidence of another seed under the same digest", the_gate(evidence_examples=20))
def of_another_seed(patch):
    patch_evidence(patch, lambda *asked, seed, **settings: gather_evidence(*asked, seed=seed + 1, **settings))


@fault("half of the examples that were asked for", the_gate(evidence_examples=40))
def fewer_examples(patch):
    patch_evidence(patch, lambda *asked, **settings: gather_evidence(*asked, **settings | {"examples": 20}))


@fault("the draw ignores the seed", partial(test_evidence.test_it_comes_from_the_drawn_examples_alone, "gradients"))
def seed_ignored(patch):
    patch.setattr(torch, "randperm", lambda count, **_: torch.arange(count))


@fault("evidence gathered in training mode",
       partial(test_evidence.test_the_model_ends_as_it_was_and_equal_draws_are_equal, "gradients"))  # fmt: skip
def in_training_mode(patch):
    patch.setattr(evidence, "evaluation_mode", lambda model: contextlib.nullcontext(model.train()))


@fault("a sum over batches for the mean", formula("taylor"))
def summed(patch):
    patch_gradients(patch, lambda real, *asked, power: scaled(real(*asked, power=power), 3))


@fault("gradients of the last batch alone", formula("snip"))
def last_batch(patch):
    patch_gradients(patch, lambda real, model, batches, *asked, power:
                    real(model, iter([*batches][-1:]), *asked, power=power))  # fmt: skip


@fault("a small batch weighs as much as a full one", test_evidence.test_gradients_are_averaged_whatever_the_batches)
def equal_batches(patch):
    def averaged(real, model, batches, *asked, power):
        found = [real(model, iter([batch]), *asked, power=power) for batch in batches]
        return {name: sum(each[name] for each in found) / len(found) for name in found[0]}

    patch_gradients(patch, averaged)


@fault("the square of the mean gradient for the mean of squares", formula("taylor"))
def squared_late(patch):
    patch_gradients(patch, lambda real, *asked, power: {
        name: each**power for name, each in real(*asked, power=1).items()})  # fmt: skip


@fault("movement of the wrong sign", the_gate(criterion="movement"))
def wrong_sign(patch):
    add = evidence.add_movement_

    def added(sums, model):
        add(step := {}, model)
        for name, each in step.items():
            sums[name] = sums.get(name, 0) - each

    patch.setattr(evidence, "add_movement_", added)


# Criteria


@fault("the criterion ignored, magnitude in its place", the_gate())
def magnitude(patch):
    patch.setattr(methods, "find_criterion", lambda name, **_: find_criterion("magnitude"))


@fault("Wanda without the norm of the input", the_gate(criterion="wanda"))
def without_norm(patch):
    patch.setattr(Wanda, "score", lambda self, name, weight, found: weight.abs())


@fault("Wanda by the inputs of another group", formula("wanda"))
def other_group(patch):
    of = Evidence.of
    patch.setattr(Evidence, "of", lambda self, need, name: of(self, need, name).roll(1, 0))


@fault("SNIP by the sign", formula("snip"))
def signed(patch):
    patch.setattr(Snip, "scores", lambda self, model, names, found: {
        name: model.get_parameter(name).detach() * found.of("gradients", name) for name in names})  # fmt: skip


@fault("Fisher by squares of batches", formula("fisher"))
def by_batches(patch):
    patch.setattr(Fisher, "score", lambda self, name, weight, found:
                  weight.double().square() * found.of("batch_squares", name).double() / 2)  # fmt: skip


# Granularities


@fault("N:M along the kernel",
       test_granularities.test_two_of_every_four_in_the_matrix_that_semi_structured_tensors_take)  # fmt: skip
def along_the_kernel(patch):
    order = NM.order

    def flat(self, scores, *, name="a weight"):
        runs = scores.reshape(-1, 4)  # as the weight lies in memory
        return order(self, runs, name=name).view(scores.shape)

    patch.setattr(NM, "order", flat)


@fault("M counted over the outputs", the_gate(granularity="2:4"))
def over_outputs(patch):
    order = NM.order
    patch.setattr(NM, "order", lambda self, scores, **named:
                  order(self, scores.transpose(0, 1), **named).transpose(0, 1))  # fmt: skip


@fault("the least important of every M kept", the_gate(granularity="2:4"))
def least_kept(patch):
    order = NM.order
    patch.setattr(NM, "order", lambda self, scores, **named: order(self, -scores, **named))


def patch_aggregated(patch, changed):
    real = channel.aggregated
    patch.setattr(channel, "aggregated", lambda scores, dimensions, kind: real(*changed(scores, dimensions, kind)))


@fault("channels by the sum for the L2 norm", test_channels.test_the_norm_of_a_channel_is_no_sum)
def by_the_sum(patch):
    patch_aggregated(patch, lambda scores, dimensions, _: (scores, dimensions, "sum"))


@fault("channels forget an element", partial(test_criteria.test_channels_score_as_torch_pruning_has_them, "snip"))
def forgotten(patch):
    patch_aggregated(patch, lambda scores, *how: (scores[:, :-1], *how))


@fault("the mask of the transposed weight", the_gate())
def transposed(patch):
    patch.setattr(Element, "expand", lambda self, kept, shape: kept.mT if kept.dim() == 4 else kept)


# Allocations


@fault("the global threshold for each layer", the_gate())
def for_each_layer(patch):
    patch.setitem(allocations.OWN, "global", replace(allocations.OWN["global"], kept=allocations.OWN["uniform"].kept))


@fault("scores not normalised", the_gate(allocation="global_normalized"))
def not_normalised(patch):
    patch.setattr(allocators, "_normalized", lambda score: score)


@fault("LAMP over the smaller weights", the_gate(allocation="lamp"))
def smaller_weights(patch):
    def reversed_(scores):
        squares = scores.double().square().flatten()
        return squares.div(squares.cumsum(0)).view(scores.shape)

    patch.setattr(allocators, "lamp_scores", reversed_)


@fault("ERK's density above 1 cut off and not shared", the_gate(allocation="erk", total=0.2))
def not_shared(patch):
    def cut(inventory, shares, nonzeros):
        layers, whole = inventory.layers, sum(shares.values())
        wanted = nonzeros - inventory.other_nonzeros
        return {each.name: min(each.numel, round(wanted * shares[each.name] / whole)) for each in layers}

    patch.setattr(allocators, "_in_proportion", cut)


def patch_plan(patch, **changed):
    plan = requests.method_plan
    patch.setattr(requests, "method_plan", lambda *asked, **settings: plan(*asked, **settings | changed))


@fault("keep_dense ignored", the_gate())
def none_dense(patch):
    patch_plan(patch, keep_dense=())


@fault("limits ignored", the_gate(limits={"last.*": 0.4}))
def no_limits(patch):
    patch_plan(patch, limits={})


@fault("a total of elements for one of MACs", the_gate(total_of="macs"))
def of_elements(patch):
    patch_plan(patch, of="elements")


@fault("a total of all parameters, biases too", with_values(
    test_allocated.test_a_total_of_elements_is_hit_exactly,
    total=0.5, criterion="magnitude", allocation="erk", seed=0))  # fmt: skip
def biases_too(patch):
    methods_ = import_module("prunebench.planning.methods")
    patch.setattr(methods_, "_nonzeros", lambda inventory, open_, total: round((1 - total) * inventory.elements))


def is_caught(check: Check) -> bool:
    """The check fails, or the pipeline stops by itself."""
    try:
        check()
    except (AssertionError, PrunebenchError):
        return True
    return False


def test_at_least_25_kinds_are_planted() -> None:
    assert len({planted.name for planted in FAULTS}) == len(FAULTS) >= 25


@pytest.mark.parametrize("planted", FAULTS, ids=lambda planted: planted.name)
def test_is_caught_where_it_is_planted_and_only_there(planted: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_caught(planted.check)
    planted.plant(monkeypatch)
    assert is_caught(planted.check)
