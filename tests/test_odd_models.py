"""Models that are not the VGG: what is unusual about them works, or one sentence says what does not."""

from __future__ import annotations

import copy
import threading
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_networks import CLASSES, images
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils import prune as torch_prune
from torch.optim.swa_utils import AveragedModel

from prunebench.data import Augmentation, Dataset, Examples
from prunebench.documented.runs import DocumentedRun
from prunebench.errors import (
    CheckpointError,
    DataError,
    ModelError,
    PrunebenchError,
    TrainingError,
    UnknownNameError,
)
from prunebench.experiments.flow import Setting, execute, prepare
from prunebench.gate import Status, check_record
from prunebench.measure import count_macs, nonzeros
from prunebench.models import load_state, prunable_parameters, save_state, state_digest
from prunebench.pruning import Masks, prune_, pruned_count
from prunebench.records import RunRecord
from prunebench.sensitivity import sensitivity_scan
from prunebench.tasks.evaluation import evaluate
from prunebench.training import Recipe
from prunebench.workloads import InMemoryWorkload

pytestmark = [
    pytest.mark.usefixtures("one_thread", "own_cache"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),  # of what is refused
]

DATA = Dataset(name="signs", train=images(60, seed=1), test=images(40), classes=("a", "b", "c", "d"), origin="random")
RECIPE = Recipe(epochs=1, batch_size=20, learning_rate=0.01)


class Odd(nn.Module):
    """One weight under two names, a convolution that is given its input by name, a kernel of three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.volume = nn.Conv3d(1, 2, 3, padding=1)
        self.inner, self.again = nn.Linear(12, 12), nn.Linear(12, 12)
        self.again.weight = self.inner.weight
        self.counts = nn.Parameter(torch.ones(2, 2, dtype=torch.int64), requires_grad=False)
        self.classifier = nn.Linear(12, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        planes = self.volume(self.first(input=images).relu().unsqueeze(1)).flatten(1, 2).mean(dim=(2, 3))
        return self.classifier(self.again(self.inner(planes).relu()))


def odd() -> nn.Module:
    torch.manual_seed(0)
    return Odd()


def setting(
    module: nn.Module,
    data: Dataset = DATA,
    recipe: Recipe = RECIPE,
    *,
    model: str = "",
    origin: str = "",
    **choices: Any,
) -> Setting:
    """Of a model in memory."""
    workload = InMemoryWorkload(
        name="mine", recipes={"ci": recipe}, module=module, dataset=data, model=model, origin=origin
    )
    return prepare(workload, **choices)


def halved(model: nn.Module) -> DocumentedRun:
    sparsity = dict.fromkeys(prunable_parameters(model), 0.5)
    return DocumentedRun(name="half", model="odd", sparsity=sparsity, source="this test")


def test_an_odd_model_is_pruned_tuned_and_scanned() -> None:
    model = odd()
    record = execute(halved(model), setting(model))
    assert {"first.weight", "volume.weight", "inner.weight", "classifier.weight"} == {
        layer.name for layer in record.layers
    }
    assert record.nonzeros["inner.weight"] == 72
    assert record.finetuning is not None
    assert sensitivity_scan(model, DATA.test, sparsities=[0.5]).recomputed == "suffix"


def test_weights_that_share_memory_are_saved_each_in_full(tmp_path: Path) -> None:
    save_state(odd().state_dict(), tmp_path / "odd.safetensors")
    state = load_state(tmp_path / "odd.safetensors")
    assert torch.equal(state["inner.weight"], state["again.weight"])
    odd().load_state_dict(state)


class Listed(nn.Module):
    """Weights in a ParameterList, a layer registered twice, and a buffer of two dimensions that is multiplied with."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.again = nn.Linear(12, 12)
        self.weights = nn.ParameterList(torch.randn(12, 12) for _ in range(2))
        self.register_buffer("mixing", torch.randn(12, CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        hidden = images[..., :2, :2].flatten(1)
        for weight in self.weights:
            hidden = (self.again(self.first(hidden)) @ weight).relu()
        return hidden @ self.get_buffer("mixing")


Outputs = namedtuple("Outputs", ["logits", "auxiliary"])  # as torchvision has it for GoogLeNet


class Answering(Odd):
    """Its scores in what `answer` makes of them and of whether it is training."""

    def __init__(self, answer: Callable[[Tensor, bool], object]) -> None:
        super().__init__()
        self.answer = answer
        self.auxiliary = nn.Linear(CLASSES, CLASSES)

    def forward(self, images: Tensor) -> object:  # type: ignore[override]
        return self.answer(super().forward(images), self.training)


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, CLASSES),
    )  # fmt: skip


def frozen() -> nn.Module:
    model = plain()
    model[0].requires_grad_(requires_grad=False)
    return model


def hooked() -> nn.Module:
    model = plain()
    model[0].register_forward_hook(lambda _module, _inputs, outputs: outputs * 2)
    model[5].register_forward_pre_hook(lambda _module, inputs: (inputs[0] + 1,))
    return model


def compiled(model: nn.Module) -> nn.Module:
    """What was compiled raises where it is run compiled."""

    def refuse(*_: object) -> None:
        raise AssertionError("compiled")

    return torch.compile(model, backend=refuse)


WORKING = {
    "shared weights, kernels of three dimensions, integers": odd,
    "a ParameterList, a layer registered twice, a buffer": Listed,
    "a frozen layer": frozen,
    "forward hooks": hooked,
    "training mode": lambda: plain().train(),
    "evaluation mode": lambda: plain().eval(),
    "float64": lambda: plain().double(),
    "float16": lambda: plain().half(),
    "bfloat16 but for batch norm": lambda: plain().bfloat16()[:1].append(nn.BatchNorm2d(6)).extend(plain()[2:]),
    "compiled": lambda: compiled(plain()),
    "a compiled part": lambda: nn.Sequential(compiled(plain()[:3]), plain()[3:]),
    "averaged": lambda: AveragedModel(plain()),
    "DataParallel": lambda: nn.DataParallel(plain()),
    "compiled, then DataParallel": lambda: nn.DataParallel(compiled(plain())),
    "a weight that nothing uses": lambda: Answering(lambda scores, _: scores),
    "a dict, scores and more": lambda: Answering(lambda scores, _: {"logits": scores, "loss": None}),
    "auxiliary scores in training": lambda: Answering(
        lambda scores, training: (scores, -scores) if training else scores
    ),
}


@pytest.mark.parametrize("build", WORKING.values(), ids=WORKING)
def test_what_is_unusual_is_pruned_exactly_and_scanned_as_the_plain_loop_does(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = build()
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    counts = {name: pruned_count(weight.numel(), 0.3) for name, weight in prunable_parameters(model).items()}
    run = DocumentedRun(name="some", sparsity=dict.fromkeys(counts, np.float64(0.3)), source="this test")
    record = execute(run, setting(model))
    assert counts == {layer.name: layer.numel - layer.nonzeros for layer in record.layers}
    scan = sensitivity_scan(model, DATA.test, sparsities=[0.3, 0.8])
    assert len(scan.points) == 2 * len(counts)
    for point in scan.points:
        pruned = copy.deepcopy(model)
        prune_(pruned, dict.fromkeys(counts, 0) | {point.layer: point.sparsity})
        assert evaluate(pruned, DATA.test).correct_bits == point.correct_bits, point.layer
    assert state_digest(before) == state_digest(model.state_dict())
    assert modes == [module.training for module in model.modules()]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_another_type_are_made_float32_on_a_copy_and_the_origin_says_so(dtype: torch.dtype) -> None:
    model = plain().to(dtype)
    record = execute(halved(model), setting(model, origin="plain.pth"), finetune=False)
    scan = sensitivity_scan(model, DATA.test, sparsities=[0.5], origin="plain.pth")
    assert [f"plain.pth; weights were {dtype}"] * 2 == [record.checkpoints.origin, scan.origin]
    assert state_digest(copy.deepcopy(model).float().state_dict()) == record.checkpoints.dense == scan.model_digest
    assert {dtype} == {parameter.dtype for parameter in model.parameters()}


def test_weights_beyond_float32_are_refused() -> None:
    model = plain().double()
    nn.init.constant_(model[5].weight, 1e300)
    with pytest.raises(ModelError, match=r"'5.weight' has values beyond the range of torch.float32, got torch.float64"):
        setting(model)


def test_a_record_and_a_scan_name_the_users_model() -> None:
    run = halved(plain())
    assert "Sequential" == execute(run, setting(plain()), finetune=False).model
    named = setting(compiled(plain()), model="signnet")
    assert "signnet" == execute(run, named, finetune=False).model
    assert "Sequential" == execute(run, setting(compiled(plain())), finetune=False).model


def test_masks_fit_the_model_in_its_wrapper() -> None:
    model = compiled(plain())
    masks = prune_(model, dict.fromkeys(prunable_parameters(model), 0.5))
    masks.check(model)
    nn.init.ones_(model.get_parameter("_orig_mod.0.weight"))
    masks.apply_(model)
    assert Masks.of_zeros(model).digest == masks.digest
    assert 81 == nonzeros(model)["0.weight"]
    assert {"0.weight": 162 * 64, "5.weight": 192, "7.weight": 32} == count_macs(model, (3, 8, 8))


def test_a_run_takes_sparsities_of_any_real_kind() -> None:
    sparsity = {"0.weight": Decimal("0.3"), "5.weight": Fraction(1, 3), "7.weight": torch.tensor(0.5)}
    run = DocumentedRun(name="some", sparsity=sparsity, source="this test")
    record = execute(run, setting(plain()), finetune=False)
    assert [(0.3, 113), (1 / 3, 128), (0.5, 16)] == [(layer.sparsity, layer.nonzeros) for layer in record.layers]
    assert {Status.PASS} == {verdict.status for verdict in check_record(record)}


ANSWERS = {
    "a dict": lambda scores, _: {"logits": scores, "loss": None},
    "an object": lambda scores, _: Outputs(scores, None),
    "a tuple": lambda scores, _: (scores, "beside it"),
    "auxiliary scores in training": lambda scores, training: Outputs(scores, -scores) if training else scores,
    "a tuple in training": lambda scores, training: (scores, -scores) if training else scores,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_what_stands_beside_the_scores_changes_nothing(answer: Callable[[Tensor, bool], object]) -> None:
    def trained(answer: Callable[[Tensor, bool], object]) -> RunRecord:
        torch.manual_seed(0)
        model = Answering(answer)
        return execute(halved(model), setting(model))

    expected, found = trained(lambda scores, _: scores), trained(answer)
    assert expected.checkpoints == found.checkpoints
    assert expected.finetuning == found.finetuning


@pytest.mark.parametrize("shape", [(-1, 1), (-1,)])
def test_one_logit_trains_and_answers_as_two_scores_of_which_one_is_zero(shape: tuple[int, ...]) -> None:
    class One(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images)[:, 0].reshape(shape)

    class Two(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            logit = super().forward(images)[:, :1]
            return torch.cat([torch.zeros_like(logit), logit], dim=1)

    binary = {
        part: Examples(data.inputs, data.targets % 2) for part, data in (("train", DATA.train), ("test", DATA.test))
    }
    one, two = (
        execute(halved(plain()), setting(kind(*plain()), replace(DATA, **binary, classes=("no", "yes"))))
        for kind in (One, Two)
    )
    assert one.finetuning == two.finetuning
    assert one.checkpoints == two.checkpoints


def changed(name: str, value: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    """The plain model with a parameter that is something else than a tensor of its own."""

    def build() -> nn.Module:
        model = plain()
        owner, _, attribute = name.rpartition(".")
        parameter = nn.Parameter(value(model.get_parameter(name).detach()), requires_grad=False)
        setattr(model.get_submodule(owner), attribute, parameter)
        return model

    return build


def with_part(make: Callable[[nn.Module], object]) -> Callable[[], nn.Module]:
    """The plain model after `make` changed its first convolution."""

    def build() -> nn.Module:
        model = plain()
        make(model[0])
        return model

    return build


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight + weight.flip(0)


def recomputed(convolution: nn.Module) -> None:
    """By a hook of somebody's own."""
    raw = convolution.weight
    del convolution.weight
    convolution.weight_raw = raw
    convolution.register_forward_pre_hook(lambda module, _: setattr(module, "weight", module.weight_raw.abs()))
    convolution.weight = raw.abs()


COMPUTED = {
    "prune": lambda part: torch_prune.l1_unstructured(part, "weight", amount=0.5),
    "weight_norm, the older": nn.utils.weight_norm,
    "spectral_norm, the older": nn.utils.spectral_norm,
    "a hook": recomputed,
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "any parametrization": lambda part: parametrize.register_parametrization(part, "weight", Symmetric()),
    "one of a bias": lambda part: parametrize.register_parametrization(part, "bias", Symmetric()),
}

REFUSED = {
    "a state_dict": (lambda: plain().state_dict(), "is a state_dict: expected a torch.nn.Module"),
    "a class": (lambda: nn.Linear, "is the class Linear: expected a torch.nn.Module"),
    "a path": (lambda: "vgg.pth", "is of type str: expected a torch.nn.Module"),
    "no parameters": (nn.Flatten, "has no parameters: expected weights"),
    "a Lazy module": (
        lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(4)),
        "'1.weight' has no shape before the first",
    ),
    "meta": (lambda: plain().to("meta"), "'0.weight' is on the meta device"),
    "half on meta": (lambda: nn.Sequential(plain()[:3], plain()[3:].to("meta")), "'1.5.weight' is on the meta device"),
    "sparse": (changed("5.weight", Tensor.to_sparse), r"'5.weight' is a sparse tensor \(torch.sparse_coo\)"),
    "sparse rows": (changed("5.weight", Tensor.to_sparse_csr), r"is a sparse tensor \(torch.sparse_csr\)"),
    "quantised": (
        changed("5.weight", lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)),
        "'5.weight' is a quantised tensor",
    ),
    "expanded": (changed("5.weight", lambda weight: weight[:1].expand(8, 24)), "'5.weight' is an expanded tensor"),
    "complex": (changed("5.weight", lambda weight: weight + 0j), "'5.weight' is torch.complex64: expected real"),
    "float8": (changed("5.weight", lambda weight: weight.to(torch.float8_e4m3fn)), "'5.weight' is torch.float8_e4m3fn"),
    "tied by memory": (
        lambda: nn.Sequential(nn.Flatten(), *(changed("0.weight", lambda _: SHARED)() for _ in range(2))),
        "'1.0.weight' and '2.0.weight' share memory",
    ),
    **{
        name: (with_part(make), f"'0' computes its '{'bias' if 'bias' in name else 'weight'}' before each pass")
        for name, make in COMPUTED.items()
    },
}
SHARED = torch.randn(6, 3, 3, 3)


@pytest.mark.parametrize(("build", "said"), REFUSED.values(), ids=REFUSED)
def test_a_model_that_cannot_be_pruned_is_refused_in_one_sentence_everywhere(
    build: Callable[[], nn.Module], said: str
) -> None:
    sparsity = {"0.weight": 0.5}
    for use in (
        setting,
        lambda model: prune_(model, sparsity),
        lambda model: sensitivity_scan(model, DATA.test, sparsities=[0.5]),
        nonzeros,
        Masks.of_zeros,
    ):
        with pytest.raises(ModelError, match=said) as raised:
            use(build())
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["a state_dict", "a class", "a path", "no parameters", "a Lazy module", "meta"])
def test_what_cannot_answer_is_refused_by_evaluation_too(name: str) -> None:
    build, said = REFUSED[name]
    with pytest.raises(ModelError, match=said):
        evaluate(build(), DATA.test)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated")
@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: torch.jit.script(plain()), "the model is a ScriptModule: expected the torch.nn.Module that"),
        (lambda: torch.jit.trace(plain(), torch.rand(1, 3, 8, 8)), "the model is a"),
        (lambda: nn.Sequential(torch.jit.script(plain())), "'0' is a ScriptModule"),
        (
            lambda: torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear}, dtype=torch.qint8),
            "'5' is a Linear of torch.ao.nn.quantized.dynamic.modules.linear: expected a model that is not quantised",
        ),
    ],
)
def test_scripted_and_quantised_models_are_refused(build: Callable[[], nn.Module], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        setting(build())


@pytest.mark.parametrize("make", [make for name, make in COMPUTED.items() if "bias" not in name and "hook" not in name])
def test_a_computed_weight_that_was_made_final_is_pruned_as_it_computes(make: Callable[[nn.Module], object]) -> None:
    model = with_part(make)()
    effective = model[0].weight.detach().clone()
    if parametrize.is_parametrized(model[0]):
        parametrize.remove_parametrizations(model[0], "weight")
    elif torch_prune.is_pruned(model[0]):
        torch_prune.remove(model[0], "weight")
    else:
        remove = nn.utils.remove_weight_norm if hasattr(model[0], "weight_g") else nn.utils.remove_spectral_norm
        remove(model[0])
    assert int(effective.count_nonzero()) == nonzeros(model)["0.weight"]
    record = execute(halved(model), setting(model), finetune=False)
    assert 81 == record.nonzeros["0.weight"]


def remembering() -> nn.Module:
    """It keeps what a layer gave, and so a graph, in an attribute."""
    model = plain()
    model[2].kept = model[:3](DATA.test.inputs[:1].float())
    return model


def locked() -> nn.Module:
    model = odd()
    model.lock = threading.Lock()
    return model


class Planes(Odd):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return images, super().forward(images)


class Failing(Odd):
    def forward(self, images: Tensor) -> Tensor:
        raise ValueError("expected 224 rows\nand much else")


class FailingInTraining(Odd):
    """As Inception does on small images, whose auxiliary layers shrink them to nothing."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            raise RuntimeError("output size is too small")
        return super().forward(images)


class Remembering(Odd):
    def get_extra_state(self) -> dict[str, int]:
        return {"epoch": 3}


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        (Planes, ModelError, r"answers with a tensor \(2, 3, 8, 8\) of torch.float32: expected float scores"),
        (Failing, ModelError, r"fails on inputs of shape \(2, 3, 8, 8\): ValueError: expected 224 rows$"),
        (FailingInTraining, ModelError, r"fails in training on inputs of shape \(\d+, 3, 8, 8\): RuntimeError: output"),
        (remembering, ModelError, "cannot be copied: '2.kept' was computed from weights in an earlier pass"),
        (locked, ModelError, r"cannot be copied: TypeError: cannot pickle '_thread.lock' object"),
        (Remembering, CheckpointError, r"'_extra_state' of the model's state is dict: expected a tensor"),
        (lambda: odd().requires_grad_(requires_grad=False), TrainingError, "requires a gradient"),
    ],
)
def test_what_does_not_work_is_said_in_one_sentence(model, error: type[PrunebenchError], said: str) -> None:
    with pytest.raises(error, match=said) as raised:
        execute(halved(odd()), setting(model()))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (Examples(images(40).inputs, images(40).targets - 100), "labels begin at -100: expected 0 and up"),
        (Examples(images(40).inputs, images(40).targets + 1), "labels go up to 4, the model has 4 scores"),
        (Examples(images(40).inputs[..., :6], images(40).targets), r"have shape \(3, 8, 6\), test inputs \(3, 8, 8\)"),
    ],
)
def test_training_data_that_does_not_fit_is_refused_before_the_work(train: Examples, said: str) -> None:
    """A label of -100 is one that torch's cross-entropy leaves out without a word."""
    with pytest.raises(DataError, match=said):
        setting(odd(), replace(DATA, train=train))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": -1.0}, "learning_rate must be finite and at least 0, got -1.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite and at least 0, got nan"),
        ({"weight_decay": -1e-4}, "weight_decay must be finite"),
        ({"momentum": 1.5}, r"momentum must be in \[0, 1\], got 1.5"),
        ({"warmup": 2.0}, "warmup must be in"),
        ({"label_smoothing": 2.0}, "label_smoothing must be in"),
        ({"averaging": 1.5}, "averaging must be in"),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1, got 1.5"),
        ({"batch_size": 64.0}, "batch_size must be a whole number"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov needs a momentum above 0"),
        ({"augmentation": Augmentation(crop_padding=-1)}, "crop_padding must be at least 0, got -1"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_before_the_work(change: dict[str, object], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        setting(odd(), recipe=replace(RECIPE, **change))


@pytest.mark.parametrize(("name", "value"), [("precision", "fp16"), ("select_on", "valid")])
def test_an_unknown_choice_is_refused_before_the_work(name: str, value: str) -> None:
    with pytest.raises(UnknownNameError, match=f"{name}.*{value}"):
        setting(odd(), **{name: value})


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (images(40).take(torch.arange(0)), "no images to evaluate"),
        (Examples(images(40).inputs, images(40).targets + 1), "labels go up to 4, the model has 4 scores"),
        (Examples(images(40).inputs, images(40).targets - 1), "labels begin at -1: expected 0 and up"),
    ],
)
def test_data_that_does_not_fit_is_refused_by_runs_and_by_scans(test: Examples, said: str) -> None:
    with pytest.raises(DataError, match=said):
        setting(odd(), replace(DATA, test=test))
    with pytest.raises(DataError, match=said):
        sensitivity_scan(odd(), test)
