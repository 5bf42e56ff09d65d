"""Criteria against plain computations of their published formulas, and against other libraries."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable

import pytest
import torch
import torch_pruning
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.prune import ln_structured

from prunebench.data import Examples
from prunebench.errors import PlanError, UnknownNameError
from prunebench.models import prunable_parameters
from prunebench.pruning import (
    CRITERIA,
    Evidence,
    add_movement_,
    find_criterion,
    find_granularity,
    gather_evidence,
    plan_masks,
    pruned_count,
)

fewer = settings(max_examples=25)

NEEDS = frozenset({"gradients", "batch_squares", "example_squares", "input_norms"})
BY_ELEMENT = sorted(name for name, criterion in CRITERIA.items() if not criterion.by_channel)


class Small(nn.Module):
    """A convolution with a batch norm, a grouped one, and a linear layer."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.grouped, self.linear = nn.Conv2d(4, 6, 3, stride=2, groups=2), nn.Linear(24, 3)
        nn.init.normal_(self.norm.weight)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.grouped(self.norm(self.conv(images)).relu()).relu().flatten(1))


def examples(n: int = 12, seed: int = 1) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    return Examples(torch.randn(n, 2, 6, 6, generator=generator), torch.randint(0, 3, (n,), generator=generator))


def evidence_of(model: nn.Module, data: Examples, **settings: int) -> Evidence:
    gathered = gather_evidence(model, data, needs=NEEDS, batch_size=5, **settings)
    moved = {name: torch.randn(weight.shape) for name, weight in prunable_parameters(model).items()}
    return Evidence(**vars(gathered) | {"movement": moved, "example": data.inputs[:2]})


def scores(criterion: str, model: nn.Module, evidence: Evidence) -> dict[str, Tensor]:
    names = [*prunable_parameters(model)]
    return dict(CRITERIA[criterion].scores(model, names, evidence))


def gradients(model: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Of the mean loss, the plain way."""
    model = copy.deepcopy(model).eval()
    cross_entropy(model(inputs), targets).backward()
    return {name: weight.grad for name, weight in prunable_parameters(model).items()}


def plain(criterion: str, model: nn.Module, data: Examples, evidence: Evidence) -> dict[str, Tensor]:
    """The published formulas, in a few lines each; examples in the order of the evidence's draw, batches of 5."""
    weights = {name: weight.detach().double() for name, weight in prunable_parameters(model).items()}
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    inputs, targets = data.inputs[order], data.targets[order]

    def mean_square(size: int) -> dict[str, Tensor]:
        found = [gradients(model, i, t) for i, t in zip(inputs.split(size), targets.split(size), strict=True)]
        return {name: sum(each[name].double() ** 2 for each in found) / len(found) for name in weights}

    if criterion == "magnitude":
        return {name: weight.abs() for name, weight in weights.items()}
    if criterion == "taylor":
        return {name: weights[name] ** 2 * square for name, square in mean_square(5).items()}
    if criterion == "fisher":
        return {name: weights[name] ** 2 * square / 2 for name, square in mean_square(1).items()}
    if criterion == "snip":
        products = {name: (weights[name] * g).abs() for name, g in gradients(model, inputs, targets).items()}
        return {name: product / sum(p.sum() for p in products.values()) for name, product in products.items()}
    if criterion == "wanda":
        seen: dict[str, Tensor] = {}
        hook = lambda module, args: seen.update({module: args[0]})  # noqa: E731
        handles = [module.register_forward_pre_hook(hook) for module in model.children()]
        model.eval()(inputs)
        for handle in handles:
            handle.remove()
        conv = nn.functional.unfold(seen[model.conv], 3, padding=1).norm(dim=(0, 2)).view(1, 2, 3, 3)
        halves = [nn.functional.unfold(half, 3, stride=2).norm(dim=(0, 2)) for half in seen[model.grouped].chunk(2, 1)]
        grouped = torch.stack([half.view(2, 3, 3) for half in halves for _ in range(3)])
        norms = {"conv.weight": conv, "grouped.weight": grouped, "linear.weight": seen[model.linear].norm(dim=0)}
        return {name: weights[name].abs() * norms[name].detach() for name in weights}
    assert criterion == "movement"
    return dict(evidence.movement)


@pytest.mark.parametrize("criterion", sorted(set(BY_ELEMENT) - {"random"}))
def test_scores_are_the_published_formula(criterion: str) -> None:
    model, data = Small(), examples()
    evidence = evidence_of(model, data)
    expected, got = plain(criterion, model, data, evidence), scores(criterion, model, evidence)
    for name, score in expected.items():
        torch.testing.assert_close(score.double(), got[name].double(), rtol=1e-4, atol=1e-9)


def one_weight(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def linear(*rows: list[float]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight = nn.Parameter(torch.tensor(rows))
    return layer


def normed(scales: list[float]) -> nn.Module:
    model = nn.Sequential(nn.Linear(1, len(scales)), nn.BatchNorm1d(len(scales)))
    model[1].weight = nn.Parameter(torch.tensor(scales))
    return model


W = {"weight": torch.tensor([[1.0]])}
EXAMPLES: dict[str, tuple[nn.Module, Evidence, list[float]]] = {
    "magnitude": (linear([1.0, -4.0, 2.0]), Evidence(), [1, 4, 2]),
    "random": (linear([0.0, 0.0, 0.0, 0.0]), Evidence(), [0.3715, 0.5886, 0.4780, 0.3798]),
    "taylor": (one_weight(3), Evidence(batch_squares={"weight": torch.tensor([[(1 + 4) / 2]])}), [22.5]),
    "fisher": (one_weight(3), Evidence(example_squares={"weight": torch.tensor([[(1 + 4) / 2]])}), [11.25]),
    "snip": (linear([3.0, -1.0]), Evidence(gradients={"weight": torch.tensor([[-0.5, 0.5]])}), [0.75, 0.25]),
    "wanda": (linear([2.0, -3.0]), Evidence(input_norms={"weight": torch.tensor([[5.0, 1.0]])}), [10, 3]),
    "movement": (one_weight(1), Evidence(movement={"weight": torch.tensor([[-1.0 + 3.0]])}), [2]),
    "bn_scale": (normed([0.5, -2.0]), Evidence(example=torch.zeros(2, 1)), [0.5, 2]),
    "geometric_median": (linear([0.0, 0.0], [3.0, 4.0], [6.0, 8.0]), Evidence(), [15, 10, 15]),
}


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_worked_example_of_the_docstring(criterion: str) -> None:
    model, evidence, expected = EXAMPLES[criterion]
    (score,) = CRITERIA[criterion].scores(model, [*prunable_parameters(model)], evidence).values()
    assert pytest.approx(expected, abs=5e-5) == score.flatten().tolist()
    said = {float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", type(CRITERIA[criterion]).__doc__ or "")}
    assert set(expected) <= said


def test_input_norms_of_the_worked_example() -> None:
    data = Examples(torch.tensor([[3.0, 1.0], [4.0, 0.0]]), torch.tensor([0, 1]))
    evidence = gather_evidence(linear([2.0, -3.0], [0.0, 0.0]), data, needs={"input_norms"})
    assert [[5.0, 1.0]] == evidence.of("input_norms", "weight").tolist()


def test_movement_adds_up_the_steps_of_a_training() -> None:
    layer, sums, expected = one_weight(2), {}, 0.0
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for target in (0.0, 5.0, 1.0):
        optimizer.zero_grad()
        w = layer.weight.item()
        (layer(torch.ones(1, 1)) - target).square().sum().backward()
        expected -= w * 2 * (w - target)
        add_movement_(sums, layer)
        optimizer.step()
    assert pytest.approx(expected) == float(sums["weight"])


@fewer
@given(sparsity=st.floats(0, 1), seed=st.integers(0, 9), criterion=st.sampled_from(BY_ELEMENT), ties=st.booleans())
def test_masks_are_those_of_a_plain_selection(sparsity: float, seed: int, criterion: str, ties: bool) -> None:
    model, evidence = Small(seed), Evidence(seed=seed)
    if ties:
        with torch.no_grad():
            for weight in prunable_parameters(model).values():
                weight.copy_((weight * 3).round())
    if CRITERIA[criterion].needs:
        evidence = evidence_of(model, examples(4), seed=seed)
    plan = dict.fromkeys(prunable_parameters(model), sparsity)
    masks = plan_masks(model, plan, criterion=criterion, evidence=evidence)
    for name, score in scores(criterion, model, evidence).items():
        values = score.flatten().tolist()
        lowest = sorted(range(len(values)), key=lambda index: (values[index], index))
        pruned = set(lowest[: pruned_count(len(values), sparsity)])
        assert [index not in pruned for index in range(len(values))] == masks[name].flatten().tolist()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_masks_nest_and_sparsity_zero_keeps_all(criterion: str) -> None:
    model = Small()
    evidence, granularity = evidence_of(model, examples()), "channel" if CRITERIA[criterion].by_channel else "element"
    before = None
    for sparsity in (0, 0.2, 0.5, 0.9, 1):
        plan = {"conv.weight": sparsity, "grouped.weight": 0, "linear.weight": 0}
        masks = plan_masks(model, plan, criterion=criterion, granularity=granularity, evidence=evidence)
        now = masks["conv.weight"]
        assert sparsity > 0 or all(mask.all() for mask in masks.values())
        assert before is None or not (now & ~before).any()
        before = now


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_memory_format_changes_nothing(criterion: str) -> None:
    model, data = Small(), examples()
    evidence, granularity = evidence_of(model, data), "channel" if CRITERIA[criterion].by_channel else "element"
    plan = {"conv.weight": 0.5, "grouped.weight": 0.0, "linear.weight": 0.0}
    settings = {"criterion": criterion, "granularity": granularity, "evidence": evidence}
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    expected, got = (plan_masks(each, plan, **settings) for each in (model, last))
    assert expected.digest == got.digest


def test_random_scores_follow_from_seed_and_name_alone() -> None:
    first, second = Small(0), Small(1)
    expected = scores("random", first, Evidence(seed=3))
    assert all(torch.equal(score, scores("random", second, Evidence(seed=3))[name]) for name, score in expected.items())
    alone = CRITERIA["random"].scores(second, ["linear.weight"], Evidence(seed=3))
    assert torch.equal(expected["linear.weight"], alone["linear.weight"])
    assert not torch.equal(expected["linear.weight"], scores("random", first, Evidence(seed=4))["linear.weight"])
    drawn = CRITERIA["random"].score("x", torch.empty(20_000), Evidence())
    assert abs(float(drawn.mean()) - 0.5) < 4 * math.sqrt(1 / 12 / 20_000)


def group_of(model: nn.Sequential, channels: int) -> object:
    graph = torch_pruning.DependencyGraph().build_dependency(model, torch.randn(2, 2, 6, 6))
    return graph.get_pruning_group(model[0], torch_pruning.prune_conv_out_channels, [*range(channels)])


ORACLES: dict[str, Callable[[], torch_pruning.importance.Importance]] = {
    "snip": lambda: torch_pruning.importance.GroupTaylorImportance(target_types=[nn.Conv2d], normalizer=None),
    "taylor": lambda: torch_pruning.importance.GroupHessianImportance(target_types=[nn.Conv2d], normalizer=None),
    "fisher": lambda: torch_pruning.importance.GroupHessianImportance(target_types=[nn.Conv2d], normalizer=None),
    "bn_scale": lambda: torch_pruning.importance.BNScaleImportance(normalizer=None),
    "geometric_median": lambda: torch_pruning.importance.FPGMImportance(p=1, normalizer=None),
}


@pytest.mark.parametrize("criterion", ORACLES)
def test_channels_score_as_torch_pruning_has_them(criterion: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))
    nn.init.normal_(model[1].weight)
    if criterion == "geometric_median":
        with torch.no_grad():
            model[0].weight.abs_()  # torch-pruning measures distances of |w|
    n = 1 if criterion == "fisher" else 6  # torch-pruning keeps the squares of the last example alone
    data = Examples(torch.randn(n, 2, 6, 6), torch.randint(0, 3, (n,)))
    evidence = gather_evidence(model, data, needs=NEEDS | {"example"})
    name, units = "0.weight", find_granularity("channel")
    found = CRITERIA[criterion].scores(model, [name], evidence)[name]
    got = units.unit_scores(found, CRITERIA[criterion].aggregation)
    model.eval().requires_grad_()
    oracle = ORACLES[criterion]()
    group = group_of(model, 8) if criterion == "bn_scale" else group_of(model, 8)[:1]
    cross_entropy(model(data.inputs), data.targets).backward()
    if criterion in {"taylor", "fisher"}:
        oracle.accumulate_grad(model)
    expected = oracle(group)
    torch.testing.assert_close(expected / expected.sum(), (got / got.sum()).to(expected.dtype), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("sparsity", [0.2, 0.5, 0.8])
def test_channels_of_least_norm_as_torch_prunes_them(sparsity: float) -> None:
    model = Small()
    other = ln_structured(copy.deepcopy(model).conv, "weight", amount=sparsity, n=2, dim=0)
    plan = {"conv.weight": sparsity, "grouped.weight": 0, "linear.weight": 0}
    assert torch.equal(other.weight_mask.bool(), plan_masks(model, plan, granularity="channel")["conv.weight"])


@pytest.mark.parametrize(
    ("criterion", "said"),
    [
        ("taylor", r"the evidence has no batch_squares of '\w+\.weight', .*: gather_evidence gives them"),
        ("movement", r"the evidence has no movement of '\w+\.weight', .*: gather_evidence gives them"),
        ("bn_scale", r"criterion 'bn_scale' scores output channels: expected granularity 'channel', got 'element'"),
    ],
)
def test_missing_evidence_is_named(criterion: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        plan_masks(Small(), dict.fromkeys(prunable_parameters(Small()), 0.5), criterion=criterion)


def test_a_layer_without_a_batch_norm_has_no_scales() -> None:
    plan = {"conv.weight": 0.5, "grouped.weight": 0.5, "linear.weight": 0}
    evidence = Evidence(example=examples().inputs[:2])
    with pytest.raises(PlanError, match=r"'grouped\.weight' has no batch norms with scales on its output"):
        plan_masks(Small(), plan, criterion="bn_scale", granularity="channel", evidence=evidence)


def test_an_unknown_criterion_is_named_and_a_class_of_another_kind_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown criterion 'tailor'.*did you mean 'taylor'"):
        find_criterion("tailor")
    with pytest.raises(PlanError, match=r"'collections:Counter' is no criterion"):
        find_criterion("collections:Counter")
