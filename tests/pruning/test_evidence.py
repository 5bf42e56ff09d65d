"""Evidence: from which examples, in which mode, and that it leaves the model as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prunebench.data import Examples
from prunebench.errors import DataError, ModelError, PlanError
from prunebench.models import state_digest
from prunebench.pruning import Evidence, Need, gather_evidence, plan_masks

NEEDS: tuple[Need, ...] = ("gradients", "batch_squares", "example_squares", "input_norms")


def model_of() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))


def data_of(n: int = 40, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    return Examples(torch.randn(n, 4, generator=generator), torch.randint(0, 3, (n,), generator=generator))


def same(first: Evidence, second: Evidence, need: Need) -> bool:
    return all(torch.equal(first.of(need, name), second.of(need, name)) for name in ("0.weight", "4.weight"))


@pytest.mark.parametrize("need", NEEDS)
def test_the_model_ends_as_it_was_and_equal_draws_are_equal(need: Need) -> None:
    model, data = model_of().train(), data_of()
    model.get_parameter("0.weight").requires_grad_(False)
    state, random = state_digest(model.state_dict()), torch.get_rng_state()
    first = gather_evidence(model, data, needs={need}, examples=20, batch_size=6)
    second = gather_evidence(model, data, needs={need}, examples=20, batch_size=6)
    assert state == state_digest(model.state_dict())
    assert all(module.training for module in model.modules())
    assert [False, True, True, True, True, True] == [each.requires_grad for each in model.parameters()]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(random, torch.get_rng_state())
    assert same(first, second, need)
    assert first.digest == second.digest


@pytest.mark.parametrize("need", NEEDS)
def test_it_comes_from_the_drawn_examples_alone(need: Need) -> None:
    model, data = model_of(), data_of()
    drawn = torch.randperm(40, generator=torch.Generator().manual_seed(7))[:10]
    others = data.inputs.clone()
    others[[index for index in range(40) if index not in drawn.tolist()]] = 99.0
    changed = Examples(others, data.targets)
    expected = gather_evidence(model, data, needs={need}, examples=10, seed=7)
    assert same(expected, gather_evidence(model, changed, needs={need}, examples=10, seed=7), need)
    assert not same(expected, gather_evidence(model, data, needs={need}, examples=10, seed=8), need)


def test_the_digest_tells_data_draw_and_settings_apart() -> None:
    model, data = model_of(), data_of()
    given = {"needs": {"gradients"}, "examples": 20, "batch_size": 5, "seed": 0}
    changes = [{}, {"needs": {"batch_squares"}}, {"examples": 21}, {"batch_size": 4}, {"seed": 1}]
    digests = {gather_evidence(model, data, **given | change).digest for change in changes}
    digests.add(gather_evidence(model, data_of(seed=1), **given).digest)
    assert 6 == len(digests)


def test_gradients_are_averaged_whatever_the_batches() -> None:
    model, data = model_of(), data_of()
    needs: tuple[Need, ...] = ("gradients", "input_norms")
    whole, parts = (gather_evidence(model, data, needs=needs, batch_size=size) for size in (40, 7))
    for need in needs:
        for name in ("0.weight", "4.weight"):
            torch.testing.assert_close(whole.of(need, name), parts.of(need, name), rtol=1e-4, atol=1e-7)


def test_squares_of_batches_are_those_of_examples_where_batches_have_one() -> None:
    model, data = model_of(), data_of()
    one = gather_evidence(model, data, needs={"batch_squares", "example_squares"}, batch_size=1)
    assert torch.equal(one.of("batch_squares", "0.weight"), one.of("example_squares", "0.weight"))


def test_movement_is_that_of_plain_sgd_on_a_copy() -> None:
    torch.manual_seed(0)
    model, data = nn.Linear(4, 3), data_of(12)
    trained, expected = copy.deepcopy(model), torch.zeros(3, 4)
    for batch in torch.randperm(12, generator=torch.Generator().manual_seed(3)).split(5):
        functional.cross_entropy(trained(data.inputs[batch]), data.targets[batch]).backward()
        with torch.no_grad():
            expected -= trained.weight * trained.weight.grad
            for parameter in trained.parameters():
                parameter.sub_(0.1 * parameter.grad)
                parameter.grad = None
    state = state_digest(model.state_dict())
    found = gather_evidence(model, data, needs={"movement"}, batch_size=5, learning_rate=0.1, seed=3)
    torch.testing.assert_close(expected, found.of("movement", "weight"))
    assert state == state_digest(model.state_dict())


def test_1000_examples_or_all_where_there_are_fewer() -> None:
    assert 40 == len(seen_by(data_of(40), examples=None))
    assert 1000 == len(seen_by(data_of(1200), examples=None))


def seen_by(data: Examples, examples: int | None) -> Tensor:
    seen: list[Tensor] = []
    model = model_of()
    model[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    gather_evidence(model, data, needs={"input_norms"}, examples=examples)
    return torch.cat(seen[1:])  # the first two are asked whether they fit


def test_each_example_is_seen_once() -> None:
    seen = seen_by(data_of(40), examples=30)
    assert 30 == len(seen) == len(seen.unique(dim=0))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"examples": 41}, "takes 1 to 40 examples of the training set, got 41"),
        ({"examples": 0}, "of the training set, got 0"),
        ({"batch_size": 0}, "takes batches of at least 1 example, got 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(DataError, match=said):
        gather_evidence(model_of(), data_of(), needs={"gradients"}, **settings)


def test_a_model_that_fails_is_named() -> None:
    with pytest.raises(ModelError, match="the model fails on inputs of shape"):
        gather_evidence(nn.Linear(5, 3), data_of(), needs={"gradients"})


def test_inputs_that_no_layer_takes_are_not_known() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.last = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            inputs = inputs[:, None]
            return self.last(self.attention(inputs, inputs, inputs)[0][:, 0])

    model = Attending()
    evidence = gather_evidence(model, data_of(), needs={"input_norms"})
    plan = {"attention.in_proj_weight": 0.5, "attention.out_proj.weight": 0, "last.weight": 0.5}
    with pytest.raises(PlanError, match=r"no input_norms of 'attention\.in_proj_weight'.*of linear layers"):
        plan_masks(model, plan, criterion="wanda", evidence=evidence)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(2, 4, 3, padding=2, dilation=2, padding_mode="circular"),
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding="valid"),
        nn.Conv2d(2, 4, 3, padding="same", padding_mode="reflect"),
        nn.Conv2d(4, 8, 3, padding=1, groups=4),
        nn.Conv3d(2, 3, 2),
    ],
)
def test_a_convolution_sees_what_each_weight_multiplies(layer: nn.Module) -> None:
    """Of a weight alone at 1, the norm of the outputs is the norm of what it multiplies."""
    dimensions = layer.weight.dim() - 2
    inputs = torch.randn(5, layer.in_channels, *(7, 6, 5)[:dimensions])
    model = nn.Sequential(layer, nn.AdaptiveAvgPool1d(1) if dimensions == 1 else nn.Flatten(), nn.Flatten())
    data = Examples(inputs, torch.zeros(5, dtype=torch.int64))
    norms = gather_evidence(model, data, needs={"input_norms"}, batch_size=2).of("input_norms", "0.weight")
    rows = layer.out_channels // layer.groups
    for index in torch.cartesian_prod(*(torch.arange(size) for size in norms.shape)).tolist():
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[index[0] * rows, *index[1:]] = 1
            outputs = layer(inputs) - (0 if layer.bias is None else layer.bias.view(-1, *[1] * dimensions))
        assert pytest.approx(float(outputs.norm()), rel=1e-4) == float(norms[*index])
