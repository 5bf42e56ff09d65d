"""Shrunk models: the masked model's answers from fewer channels, built again from a file; faults are caught."""

from __future__ import annotations

import builtins
import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from channel_models import ARCHITECTURES, step
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from prunebench.data import Examples
from prunebench.errors import CheckpointError, ShrinkError
from prunebench.measure import count_macs
from prunebench.models import Kept, build_model, channels_metadata, keep_channels_, kept_channels, load_checkpoint_
from prunebench.models.channels import METADATA, Channels
from prunebench.models.dependencies import Dependencies, Member
from prunebench.pruning import prune_
from prunebench.shrink import Shrunk, removal, shrunk
from prunebench.tasks import CLASSIFICATION, compare_answers

pytestmark = pytest.mark.usefixtures("one_thread")


def answers(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return model.eval()(inputs)


def difference(first: nn.Module, second: nn.Module, inputs: Tensor) -> float:
    """The largest of the answers of both, relative to the largest answer."""
    one, two = answers(first, inputs), answers(second, inputs)
    return float((one - two).abs().max() / one.abs().max())


def parameters(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def out(channels: Channels, name: str) -> list[int]:
    return channels[name]["out"].indices


@pytest.fixture(scope="module")
def resnet() -> tuple[nn.Module, Shrunk]:
    """ResNet-20, masked and shrunk; not to be changed."""
    masked = ARCHITECTURES["resnet20"].masked()
    return masked, shrunk(masked, ARCHITECTURES["resnet20"].inputs())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_shrunk_model_answers_as_the_masked_one_and_loads_from_its_file(name: str, tmp_path: Path) -> None:
    architecture = ARCHITECTURES[name]
    masked, inputs = architecture.masked(), architecture.inputs(24, seed=2)
    small = shrunk(masked, architecture.inputs())

    assert difference(masked, small.model, inputs) < 1e-5
    assert torch.equal(answers(masked, inputs).argmax(1), answers(small.model, inputs).argmax(1))
    assert parameters(small.model) <= (1 - architecture.least) * parameters(masked)
    assert {type(module) for module in masked.modules()} == {type(module) for module in small.model.modules()}

    small.save(tmp_path / "small.safetensors")
    again = architecture.build()
    notes = load_checkpoint_(again, tmp_path / "small.safetensors")
    assert "shrunk by" in notes[0]
    assert torch.equal(answers(small.model, inputs), answers(again, inputs))
    assert repr(small.model) == repr(again)  # settings too: channels, groups, features


@pytest.mark.parametrize("name", ["resnet20", "mobilenet", "unet", "densenet"])
def test_parameters_and_macs_of_a_shrunk_model_are_those_torch_counts(name: str) -> None:
    architecture = ARCHITECTURES[name]
    small = shrunk(architecture.masked(), architecture.inputs()).model
    with FlopCounterMode(display=False) as counter:
        small(architecture.inputs(1))
    assert counter.get_total_flops() == 2 * sum(count_macs(small, architecture.inputs(1)).values())
    for module in small.modules():
        if isinstance(module, nn.Conv2d):
            assert (module.out_channels, module.in_channels // module.groups) == module.weight.shape[:2]


def test_layers_of_a_residual_sum_lose_what_is_zero_in_all_of_them(resnet: tuple[nn.Module, Shrunk]) -> None:
    masked, small = resnet
    tied = ["conv1", *(f"layer1.{block}.conv2" for block in range(3))]
    zero = [{int(i) for i in (masked.get_submodule(name).weight.flatten(1) == 0).all(1).nonzero()} for name in tied]
    expected = sorted({*range(16)} - set.intersection(*zero))
    channels = kept_channels(small.model)
    assert all(expected == (out(channels, name) if name in channels else [*range(16)]) for name in tied)


@pytest.mark.parametrize("name", ["resnet20", "resnet20-padding", "mobilenet"])
def test_coupled_channels_shrink_a_model_throughout(name: str, tmp_path: Path) -> None:
    architecture = ARCHITECTURES[name]
    masked, dense = architecture.masked(granularity="coupled-channel"), architecture.build()
    small, inputs = shrunk(masked, architecture.inputs()), architecture.inputs(24, seed=2)
    assert () == small.masked
    widths = {name: each.out_channels for name, each in dense.named_modules() if isinstance(each, nn.Conv2d)}
    assert {name: width - round(width / 2) for name, width in widths.items()} == {
        name: each.out_channels for name, each in small.model.named_modules() if isinstance(each, nn.Conv2d)
    }
    assert difference(masked, small.model, inputs) < 1e-5
    small.save(tmp_path / "small.safetensors")
    load_checkpoint_(dense, tmp_path / "small.safetensors")
    assert torch.equal(answers(small.model, inputs), answers(dense, inputs))


def test_everything_that_stays_masked_is_named_with_its_reason(resnet: tuple[nn.Module, Shrunk]) -> None:
    _, small = resnet
    zeros = {
        name: int((module.weight.flatten(1) == 0).all(1).sum())
        for name, module in small.model.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    named = {layer: sum(each.channels for each in small.masked if each.layer == layer) for layer in zeros}
    assert zeros == named
    assert all("shared with" in each.reason for each in small.masked)


def test_attention_keeps_its_heads_and_what_a_layer_norm_reads() -> None:
    architecture = ARCHITECTURES["vit"]
    small = shrunk(architecture.masked(), architecture.inputs())
    assert {f"blocks.{block}.{side}" for block in range(4) for side in ("expand", "contract")} == set(
        kept_channels(small.model)
    )
    reasons = {each.layer: each.reason for each in small.masked}
    assert "LayerNorm" in reasons["blocks.0.contract"]
    assert "blocks.0.qkv" in reasons


def test_a_constant_that_a_batch_norm_makes_of_zeros_is_not_dropped() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(step(3, 4), step(4, 4), nn.Flatten(), nn.Linear(4 * 64, 2))
    model[0][0].weight.data[1:3] = 0
    model[0][1].bias.data[1:3] = torch.tensor([0.5, -0.5])  # the second is cut off by ReLU
    inputs = torch.randn(4, 3, 8, 8)
    small = shrunk(model, inputs)
    assert [0, 1, 3] == out(kept_channels(small.model), "0.0")
    assert [("0.0", 1)] == [(each.layer, each.channels) for each in small.masked]
    assert "a constant, not zeros, reaches '1.0'" in small.masked[0].reason
    assert difference(model, small.model, inputs) < 1e-6


def test_one_channel_stays_where_all_are_pruned() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    prune_(model, {"0.weight": 1, "2.weight": 0}, granularity="channel")
    small = shrunk(model, torch.randn(4, 3))
    assert [0] == out(kept_channels(small.model), "0")
    assert "keeps one channel" in small.masked[0].reason
    assert difference(model, small.model, torch.randn(4, 3)) == 0


def test_the_models_answers_are_never_removed() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model[2].weight.data[1], model[2].bias.data[1] = 0, 0
    small = shrunk(model, torch.randn(4, 3))
    assert [("2", 1, "the model's answers")] == [(each.layer, each.channels, each.reason) for each in small.masked]


def test_an_unpruned_model_stays_as_it_is_and_its_original_too(resnet: tuple[nn.Module, Shrunk]) -> None:
    model = nn.Sequential(step(3, 4), nn.Flatten(), nn.Linear(4 * 64, 2))
    before = copy.deepcopy(model.state_dict())
    small = shrunk(model, torch.randn(2, 3, 8, 8))
    assert ((), {}, {}) == (small.masked, kept_channels(small.model), channels_metadata(small.model))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert kept_channels(resnet[0]) == {}


def test_a_shrunk_model_is_trained_pruned_and_shrunk_again(tmp_path: Path) -> None:
    architecture = ARCHITECTURES["resnet20"]
    model = shrunk(architecture.masked(), architecture.inputs()).model.train()
    loss = nn.functional.cross_entropy(model(architecture.inputs()), torch.arange(4))
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    plan = {name: 0.0 for name, each in model.named_parameters() if each.dim() > 1} | {"layer3.1.conv1.weight": 0.5}
    prune_(model, plan, granularity="channel", example=architecture.inputs())
    twice = shrunk(model, architecture.inputs())
    assert difference(model, twice.model, architecture.inputs(seed=3)) < 1e-5
    assert 64 == kept_channels(twice.model)["layer3.1.conv1"]["out"].of  # of the original, not of what was left
    assert 16 == len(out(kept_channels(twice.model), "layer3.1.conv1"))
    twice.save(tmp_path / "twice.safetensors")
    again = architecture.build()
    load_checkpoint_(again, tmp_path / "twice.safetensors")
    assert torch.equal(answers(twice.model, architecture.inputs()), answers(again, architecture.inputs()))


@pytest.mark.parametrize("model", ["resnet56", "vgg", "resnet20-padding"])
def test_a_shrunk_file_is_refused_by_another_architecture_which_stays_as_it_is(
    model: str, resnet: tuple[nn.Module, Shrunk], tmp_path: Path
) -> None:
    _, small = resnet
    small.save(tmp_path / "small.safetensors")
    other = ARCHITECTURES[model].build()
    before = repr(other)
    with pytest.raises(CheckpointError, match=r"is a (shrunk model|checkpoint) of another architecture: it has no '"):
        load_checkpoint_(other, tmp_path / "small.safetensors")
    assert before == repr(other)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"conv1": {"out": {"of": 16, "indices": []}}}', '{"conv1": {"out": {"of": 16, "indices": [3, 2]}}}',
     '{"conv1": {"out": {"of": 16, "indices": [16]}}}', '{"conv1": {"out": {"of": 17, "indices": [0]}}}',
     '{"conv1": {"sideways": {"of": 16, "indices": [0]}}}', '{"bn1": {"in": {"of": 16, "indices": [0]}}}',
     '{"conv1": {"out": {"of": 16, "indices": [0]}}}'],
)  # fmt: skip
def test_a_damaged_list_of_channels_is_refused(text: str, resnet: tuple[nn.Module, Shrunk], tmp_path: Path) -> None:
    _, small = resnet
    small.save(tmp_path / "small.safetensors")
    save_file(load_file(tmp_path / "small.safetensors"), tmp_path / "bad.safetensors", metadata={METADATA: text})
    model = build_model("resnet20")
    with pytest.raises(CheckpointError):
        load_checkpoint_(model, tmp_path / "bad.safetensors")
    assert (16, 16) == (model.conv1.out_channels, model.bn1.num_features)


# Planted faults: each is made on purpose, and found by the answers of the model without the channels.


def with_fault(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """What torch-pruning finds is changed by `change`, before it is used."""
    found = Dependencies.members

    def faulty(self: Dependencies, group: int, channels: Sequence[int]) -> list[Member]:
        return [change(member) for member in found(self, group, channels)]

    monkeypatch.setattr(Dependencies, "members", faulty)
    read = removal.largest_inputs  # which sees such faults too: here it sees zeros everywhere
    monkeypatch.setattr(
        removal, "largest_inputs", lambda *given: {name: 0 * found for name, found in read(*given).items()}
    )


def test_a_channel_off_by_one_in_a_skip_connection_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = ARCHITECTURES["unet"]

    def shifted(member: Member) -> Member:  # beside what came up, the first step's channels begin at 8
        beside = member.name == "last.0" and member.indices and min(member.indices) >= 8
        return replace(member, indices=[8 + (each - 7) % 8 for each in member.indices]) if beside else member

    with_fault(monkeypatch, shifted)
    masked = architecture.masked()
    small = shrunk(masked, architecture.inputs())
    assert "down.0" not in kept_channels(small.model)
    assert "the answers change" in next(each.reason for each in small.masked if each.layer == "down.0")
    assert difference(masked, small.model, architecture.inputs(seed=5)) < 1e-5


def test_a_constant_channel_that_is_dropped_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(step(3, 4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
    model[0][0].weight.data[1] = 0
    model[0][1].bias.data[1] = 0.5
    with_fault(monkeypatch, lambda member: member)
    small = shrunk(model, torch.randn(4, 3, 8, 8))
    assert kept_channels(small.model) == {}
    assert "the answers change" in small.masked[0].reason


def test_a_batch_norm_that_gets_another_channels_statistics_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(member: Member) -> Member:
        norm = member.kind == "BatchNorm2d"
        return replace(member, indices=[(each + 1) % 4 for each in member.indices]) if norm else member

    torch.manual_seed(0)
    model = nn.Sequential(step(3, 4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
    model[0][1].running_mean.normal_()
    prune_(
        model,
        {"0.0.weight": 0.25, "1.weight": 0, "3.weight": 0},
        granularity="channel",
        example=torch.randn(2, 3, 8, 8),
    )
    with_fault(monkeypatch, shifted)
    small = shrunk(model, torch.randn(4, 3, 8, 8))
    assert kept_channels(small.model) == {}
    assert "the answers change" in small.masked[0].reason


def test_compared_answers_tell_a_fault_from_rounding_and_from_a_tie(resnet: tuple[nn.Module, Shrunk]) -> None:
    masked, small = resnet
    data = Examples(torch.randint(0, 256, (30, 3, 16, 16), dtype=torch.uint8), torch.randint(0, 10, (30,)))
    found = compare_answers(masked, small.model, data, task=CLASSIFICATION)
    assert (True, 30, ()) == (found.same, found.images, found.different)

    wrong = copy.deepcopy(small.model)
    wrong.layer3[0].bn1.weight.data = wrong.layer3[0].bn1.weight.data.roll(1)
    found = compare_answers(masked, wrong, data, task=CLASSIFICATION)
    assert not found.same
    assert 1e-3 < found.difference

    tied, other = nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    for model, values in ((tied, [1.0, 1.00001]), (other, [1.00001, 1.0])):
        model[1].weight.data.zero_()
        model[1].bias.data = torch.tensor(values)
    found = compare_answers(tied, other, data, task=CLASSIFICATION)
    assert tuple(range(30)) == found.different == found.ties
    assert found.same


def test_without_torch_pruning_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "torch_pruning":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ShrinkError, match=r"pip install 'prunebench\[channels\]'"):
        shrunk(nn.Linear(3, 2), torch.randn(2, 3))


class ForInference(nn.Module):
    """Refuses what torch-pruning does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError("for inference alone")
        return self.layer(inputs)


def test_a_model_that_cannot_be_followed_is_refused_by_name() -> None:
    with pytest.raises(ShrinkError, match="follow the layers of this ForInference: RuntimeError: for inference alone"):
        shrunk(ForInference(), torch.randn(2, 3))


def test_keeping_channels_is_whole_or_not_at_all() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    keep = Kept(of=4, indices=[0, 2])
    with pytest.raises(Exception, match="'1' has 2 out channels"):
        keep_channels_(model, {"0": {"out": keep}, "1": {"out": keep}})
    assert (4, {}) == (model[0].out_features, kept_channels(model))
    keep_channels_(model, {"0": {"out": keep}, "1": {"in": keep}})
    assert {"0": {"out": {"of": 4, "indices": [0, 2]}}, "1": {"in": {"of": 4, "indices": [0, 2]}}} == json.loads(
        channels_metadata(model)[METADATA]
    )
