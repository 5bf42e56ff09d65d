"""An export holds the model's weights bit for bit and gives its answers; each planted fault is a FAIL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from tiny_networks import CLASSES, images
from torch import Tensor, nn

from prunebench.cli import main
from prunebench.data import Dataset
from prunebench.errors import ExportError
from prunebench.export import Exported, find_format, format_for, metadata_of
from prunebench.export.onnx import ONNX
from prunebench.export.safetensors import SAFETENSORS
from prunebench.gate import Status
from prunebench.gate.exports import Check, check_export
from prunebench.models import save_state, state_digest
from prunebench.pruning import prune_
from prunebench.tasks import CLASSIFICATION
from prunebench.training import Recipe
from prunebench.workloads import DenseModel, Workload

DATA = Dataset(name="tiny", train=images(40), test=images(300), classes=tuple("abcd"))


class Skipping(nn.Module):
    """Padded convolutions, batch norm with statistics of its own, and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.classifier = nn.Linear(6, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        skipped = self.norm(self.first(inputs)).relu()
        return self.classifier((self.second(skipped) + skipped).relu().mean(dim=(2, 3)))


class Tiny(Workload):
    name = "tiny"
    recipes = MappingProxyType({"quick": Recipe(epochs=1, batch_size=20, learning_rate=0.01)})

    def build(self) -> nn.Module:
        return Skipping()

    def data(self, source: Path | None = None, progress: Any = None) -> Dataset:
        return DATA


def pruned(seed: int = 0) -> nn.Module:
    """Trained on nothing, but with answers of all classes; half of each weight is zero."""
    torch.manual_seed(seed)
    model = Skipping()
    nn.init.normal_(model.norm.running_mean, std=0.2)
    nn.init.uniform_(model.norm.running_var, 0.01, 0.1)
    nn.init.normal_(model.classifier.weight, std=2)
    prune_(model, {"first.weight": 0.5, "second.weight": 0.5, "classifier.weight": 0.25})
    with torch.no_grad():  # each class is the answer for some images
        model.eval().classifier.bias -= model(DATA.test.fed(DATA.test.inputs)).mean(dim=0)
    return model


def described(model: nn.Module) -> DenseModel:
    return DenseModel(model=model, origin="made here", digest=state_digest(model.state_dict()))


DENSE = described(pruned())
EXAMPLE = DATA.test.fed(DATA.test.inputs[:2])


@pytest.fixture(scope="module")
def exported_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    ONNX.write(DENSE.model, EXAMPLE, path, metadata_of(Tiny(), DENSE))
    return path


def checked(path: Path, dense: DenseModel = DENSE) -> Check:
    return check_export(format_for(path).open(path, dense.model), dense, DATA.test, name="tiny", task=CLASSIFICATION)


def failed(check: Check) -> set[str]:
    return {each.check.split(" of ")[0] for each in check.verdicts if each.status is Status.FAIL}


# What is right


def test_onnx_runtime_gives_the_same_answers_with_the_same_bits(exported_file: Path) -> None:
    check = checked(exported_file)
    assert (Status.PASS, 300) == (check.status, check.equal)
    assert {("tiny", "tiny")} == {(each.case, each.run) for each in check.verdicts}
    assert 4 == len(
        set(check.compared.first.answers.tolist())
    )  # a model that says one thing only would pass with any fault
    exported = ONNX.open(exported_file, DENSE.model)
    for name, tensor in DENSE.model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, exported.tensors[name])


def test_any_number_of_inputs_is_answered(exported_file: Path) -> None:
    exported = ONNX.open(exported_file, DENSE.model)
    for count in (1, 7):
        assert (count, CLASSES) == exported.outputs(DATA.test.fed(DATA.test.inputs[:count])).shape


def test_an_onnx_file_is_the_same_every_time_and_holds_no_path_of_this_machine(
    exported_file: Path, tmp_path: Path
) -> None:
    ONNX.write(DENSE.model, EXAMPLE, tmp_path / "again.onnx", metadata_of(Tiny(), DENSE))
    content = exported_file.read_bytes()
    assert content == (tmp_path / "again.onnx").read_bytes()
    assert str(Path(__file__).parent).encode() not in content


def test_onnx_runtime_folds_the_batch_norm_itself(exported_file: Path, tmp_path: Path) -> None:
    """The file is as fast as an optimised one."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(str(exported_file), options, providers=["CPUExecutionProvider"])
    used = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert set() == used & {"BatchNormalization", "Expand", "Cast", "Shape"}


def test_safetensors_give_the_same_model(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    SAFETENSORS.write(DENSE.model, EXAMPLE, path, metadata_of(Tiny(), DENSE))
    check = checked(path)
    assert (Status.PASS, 300, 0.0) == (check.status, check.equal, check.compared.difference)


def test_a_weight_by_another_name_is_found_by_its_bits(exported_file: Path) -> None:
    exported = ONNX.open(exported_file, DENSE.model)
    tensors = {name.replace("second.weight", "renamed"): tensor for name, tensor in exported.tensors.items()}
    check = check_export(replace(exported, tensors=tensors), DENSE, DATA.test, name="tiny", task=CLASSIFICATION)
    assert Status.PASS is check.status


# Planted faults


def edited(path: Path, tmp_path: Path, change: Callable[[Any], None]) -> Path:
    import onnx

    proto = onnx.load(path)
    change(proto.graph)
    faulty = tmp_path / "faulty.onnx"
    onnx.save(proto, faulty)
    return faulty


def nodes(graph: Any, kind: str) -> list[Any]:
    return [node for node in graph.node if node.op_type == kind]


def tensor(graph: Any, name: str) -> Any:
    return next(each for each in graph.initializer if each.name == name)


def refill(graph: Any, name: str, values: Tensor) -> None:
    from onnx import numpy_helper

    tensor(graph, name).CopyFrom(numpy_helper.from_array(values.numpy(), name))


def test_a_mask_lost_in_export_fails(tmp_path: Path) -> None:
    """Dense weights under the metadata of the pruned ones."""
    dense = pruned()
    with torch.no_grad():
        dense.second.weight[dense.second.weight == 0] = 0.02
    ONNX.write(dense, EXAMPLE, tmp_path / "dense.onnx", metadata_of(Tiny(), DENSE))
    check = checked(tmp_path / "dense.onnx")
    assert "weights and statistics" in failed(check)
    (found,) = (each for each in check.verdicts if each.check == "weights and statistics")
    assert "1 differ, 'second.weight' first: 0 zeros, the model's 162" == found.measured


def test_a_single_zero_that_became_a_negative_zero_fails(exported_file: Path, tmp_path: Path) -> None:
    weight = DENSE.model.second.weight.detach().clone()
    weight.view(-1)[(weight.view(-1) == 0).nonzero()[0]] = -0.0
    faulty = edited(exported_file, tmp_path, lambda graph: refill(graph, "second.weight", weight))
    assert {"weights and statistics"} == failed(checked(faulty))


def test_batch_norm_folded_wrongly_fails(exported_file: Path, tmp_path: Path) -> None:
    """Folded into the convolution before it without its mean; the file then names no weight that the model has."""

    def fold(graph: Any) -> None:
        state = DENSE.model.state_dict()
        scale = state["norm.weight"] / (state["norm.running_var"] + DENSE.model.norm.eps).sqrt()
        (norm,) = nodes(graph, "BatchNormalization")
        convolution = next(node for node in nodes(graph, "Conv") if "first.weight" in node.input)
        refill(graph, "first.weight", state["first.weight"] * scale[:, None, None, None])
        refill(graph, "first.bias", state["first.bias"] * scale + state["norm.bias"])
        tensor(graph, "first.weight").name = "folded"
        convolution.input[1] = "folded"
        convolution.output[0], used = norm.output[0], convolution.output[0]
        assert used == norm.input[0]
        graph.node.remove(norm)

    check = checked(edited(exported_file, tmp_path, fold))
    assert {"outputs", "weights and statistics"} <= failed(check)


@pytest.mark.parametrize("pads", [[0, 0, 2, 2], [2, 0, 0, 2]])
def test_other_padding_fails(pads: list[int], exported_file: Path, tmp_path: Path) -> None:
    def pad(graph: Any) -> None:
        (attribute,) = (each for each in nodes(graph, "Conv")[0].attribute if each.name == "pads")
        attribute.ints[:] = pads

    assert "outputs" in failed(checked(edited(exported_file, tmp_path, pad)))


def test_a_channel_off_by_one_in_a_skip_connection_fails(exported_file: Path, tmp_path: Path) -> None:
    def shift(graph: Any) -> None:
        from onnx import helper, numpy_helper

        (add,) = nodes(graph, "Add")
        order = numpy_helper.from_array(torch.arange(6).roll(1).numpy(), "order")
        graph.initializer.append(order)
        gather = helper.make_node("Gather", [add.input[1], "order"], ["shifted"], axis=1)
        graph.node.insert(list(graph.node).index(add), gather)
        add.input[1] = "shifted"

    assert "outputs" in failed(checked(edited(exported_file, tmp_path, shift)))


def test_a_stale_file_fails(exported_file: Path) -> None:
    """Exported before the last change, which changes no answer."""
    model = pruned()
    with torch.no_grad():
        model.classifier.bias += 1e-6
    assert {"state that the file was made of", "weights and statistics"} == {
        each.check for each in checked(exported_file, described(model)).verdicts if each.status is Status.FAIL
    }


def test_a_file_without_metadata_is_of_no_known_state(exported_file: Path) -> None:
    exported = replace(ONNX.open(exported_file, DENSE.model), metadata={})
    check = check_export(exported, DENSE, DATA.test, name="tiny", task=CLASSIFICATION)
    assert ["state that the file was made of"] == [each.check for each in check.verdicts if each.status is Status.FAIL]


def test_outputs_that_are_not_numbers_fail(exported_file: Path) -> None:
    exported = ONNX.open(exported_file, DENSE.model)
    spoiled = replace(exported, outputs=lambda inputs: exported.outputs(inputs) * float("nan"))
    check = check_export(spoiled, DENSE, DATA.test, name="tiny", task=CLASSIFICATION)
    assert {"answers", "outputs"} == failed(check)


# The command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "tiny_workload", sys.modules[__name__])
    save_state(DENSE.model.state_dict(), tmp_path / "pruned.safetensors")
    return tmp_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments), "--workload", "tiny_workload:Tiny"])


def test_the_command_writes_file_card_and_check(folder: Path) -> None:
    done = call("pruned.safetensors", "-o", "out.onnx")
    assert 0 == done.exit_code, done.output
    assert "300 of 300 predictions equal" in done.output
    found = json.loads(Path("out.onnx.check.json").read_text())
    assert ("PASS", 300, DENSE.digest) == (found["status"], found["equal_predictions"], found["state"])
    assert "out.onnx" == found["file"]
    card = Path("out.onnx.md").read_text()
    assert all(part in card for part in (DENSE.digest, "pixels in 0 to 1", "a, b, c, d", "-o out.onnx"))


def test_a_file_that_is_not_the_checkpoint_s_ends_with_1(folder: Path) -> None:
    assert 0 == call("pruned.safetensors", "-o", "out.safetensors").exit_code
    save_state(pruned(seed=1).state_dict(), folder / "other.safetensors")
    done = call("other.safetensors", "-o", "out.safetensors", "--check-only")
    assert 1 == done.exit_code, done.output
    assert "FAIL out.safetensors: state that the file was made of" in done.output
    assert "FAIL" == json.loads(Path("out.safetensors.check.json").read_text())["status"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pruned.safetensors", "-o", "out.tflite"), "must be one of .onnx, .safetensors, got '.tflite'"),
        (("pruned.safetensors", "-o", "out.onnx", "--format", "onix"), "unknown export format 'onix'"),
        (("pruned.safetensors", "-o", "pruned.safetensors"), "would overwrite 'pruned.safetensors'"),
        (("absent.pth", "-o", "out.onnx"), "no checkpoint at 'absent.pth'"),
        (("pruned.safetensors", "-o", "absent.onnx", "--check-only"), "cannot read 'absent.onnx' as ONNX"),
        (("pruned.safetensors", "-o", "out.onnx", "--images", "301"), "between 1 and 300, got 301"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(arguments: tuple[str, ...], said: str, folder: Path) -> None:
    before = sorted(folder.iterdir())
    done = call(*arguments)
    assert (2, 1) == (done.exit_code, len(done.stderr.strip().splitlines())), done.output
    assert said in done.stderr
    assert before == sorted(folder.iterdir())


def test_a_model_that_onnx_cannot_hold_is_told_in_one_line(tmp_path: Path) -> None:
    class Choosing(Skipping):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) * (2 if inputs.mean() > 0 else 1)

    with pytest.raises(ExportError, match="cannot be exported to ONNX: "):
        ONNX.write(Choosing().eval(), EXAMPLE, tmp_path / "out.onnx", {})
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_the_extra_onnx_names_it_and_safetensors_work(
    package: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = call("pruned.safetensors", "-o", "out.onnx")
    assert (2, f"error: this needs {package}: pip install 'prunebench[export]'") == (
        done.exit_code,
        done.stderr.strip().splitlines()[-1],
    )
    assert 0 == call("pruned.safetensors", "-o", "out.safetensors").exit_code


def test_every_module_and_the_command_line_load_without_the_extra() -> None:
    script = (
        "import importlib, pkgutil, sys\n"
        "sys.modules |= dict.fromkeys(('onnx', 'onnxruntime', 'onnxscript'))\n"
        "import prunebench\n"
        "for each in pkgutil.walk_packages(prunebench.__path__, 'prunebench.'): importlib.import_module(each.name)\n"
        "from prunebench.cli import main\n"
        "main(['lint'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (0, "") == (done.returncode, done.stderr)


class NumpyFile:
    """A format of somebody else's: tensors in numpy's .npz."""

    name, suffix = "npz", ".npz"

    def write(self, model: nn.Module, example: Tensor, path: Path, metadata: Mapping[str, str]) -> None:
        tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        with path.open("wb") as file:
            np.savez(file, **tensors, about=json.dumps(dict(metadata)))

    def open(self, path: Path, model: nn.Module) -> Exported:
        held = dict(np.load(path))
        metadata = json.loads(str(held.pop("about")))
        tensors = {name: torch.from_numpy(values) for name, values in held.items()}
        loaded = Skipping().eval()
        loaded.load_state_dict(tensors)
        return Exported(metadata=metadata, tensors=tensors, outputs=loaded, runtime="numpy")


def test_a_format_of_somebody_else_s_is_written_and_checked(folder: Path) -> None:
    done = call("pruned.safetensors", "-o", "out.npz", "--format", "tiny_workload:NumpyFile")
    assert 0 == done.exit_code, done.output
    assert "accuracy in numpy" in Path("out.npz.md").read_text()


def test_a_format_of_somebody_else_s_needs_all_of_a_format() -> None:
    with pytest.raises(ExportError, match=r"needs name, suffix, write\(\.\.\.\) and open\(\.\.\.\)"):
        find_format("json:dumps")
