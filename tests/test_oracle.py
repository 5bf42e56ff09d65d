"""prunebench's counts on CIFAR-10 are those of a plain PyTorch script."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from prunebench.cli import main
from prunebench.data import Examples, load_cifar10
from prunebench.data.batches import whole_batches
from prunebench.documented.runs import documented_run
from prunebench.gate.paired import correctness
from prunebench.machine.layout import lay_out_
from prunebench.models import build_model, load_state, load_state_
from prunebench.pruning import prune_
from prunebench.records import read_record
from prunebench.tasks.evaluation import evaluate

ROUNDING = 1e-3
"""Largest difference of two logits that rounding explains: fp32 sums of up to 4,608 products in another order."""


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    path = Path(__file__).parent / "oracles" / "plain_pytorch.py"
    spec = importlib.util.spec_from_file_location("plain_pytorch", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _ours(weights: Path, test: Examples) -> nn.Module:
    model = build_model("vgg")
    load_state_(model, load_state(weights), origin=str(weights))
    return lay_out_(model, test.fed(test.inputs[:1]))


@pytest.fixture(scope="module")
def plain_images(plain: ModuleType, cifar10_path: Path) -> tuple[Tensor, Tensor]:
    if not cifar10_path.is_file():
        pytest.skip("the plain script reads an archive, PRUNEBENCH_DATA is a folder")
    inputs, labels = plain.test_images(str(cifar10_path))
    return inputs, labels


@pytest.mark.parametrize(("stage", "count"), [("dense", 2_000), ("run3", 10_000)])
def test_counts_equal_those_of_plain_pytorch(
    stage: str,
    count: int,
    plain: ModuleType,
    plain_images: tuple[Tensor, Tensor],
    cifar10_path: Path,
    cifar10_checkpoint: Path,
) -> None:
    inputs, labels = (each[:: len(each) // count] for each in plain_images)
    weights = load_state(cifar10_checkpoint)
    test = load_cifar10(cifar10_path).test
    test = test.take(torch.arange(0, len(test), len(test) // count))
    model = _ours(cifar10_checkpoint, test)
    if stage == "run3":
        weights = plain.prune(weights, plain.RUN3)
        prune_(model, documented_run("run3").sparsity)
    assert torch.equal(inputs, torch.cat([images for images, _ in whole_batches(test, batch_size=500)]))
    assert torch.equal(labels, test.targets)
    theirs = plain.logits(plain.vgg(weights), inputs)
    ours = evaluate(model, test)
    differing = theirs.argmax(1) != ours.answers
    best_two = theirs.topk(2, dim=1).values
    assert (best_two[differing, 0] - best_two[differing, 1] < ROUNDING).all(), "an answer differs that is no tie"
    if not differing.any():
        assert int((theirs.argmax(1) == labels).sum()) == ours.correct_count


def test_a_public_resnet_by_toml_counts_as_plain_pytorch_does(
    plain_images: tuple[Tensor, Tensor],
    cifar10_path: Path,
    cifar10_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model file, a published checkpoint and a normalisation, in a file of a few lines; dense and at uniform 0.5."""
    weights = cifar10_checkpoint.with_name("resnet20-12fca82f.th")
    if not weights.is_file():
        pytest.skip(f"no {weights.name} beside PRUNEBENCH_CHECKPOINT")
    oracle = Path(__file__).parent / "oracles" / "plain_resnet.py"
    (tmp_path / "public_resnet.py").write_text(oracle.read_text())
    (tmp_path / "prunebench.toml").write_text(f"""
[workload.public]
model = "public_resnet:resnet20"
data = "prunebench:cifar10"
checkpoint = {str(weights)!r}
normalize = {{ mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }}
[workload.public.recipe.ci]
epochs = 1
learning_rate = 0.01
[run.half]
workload = "public"
sparsity = 0.5
""")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNEBENCH_DATA", str(cifar10_path))
    done = CliRunner().invoke(main, ["run", "half", "--no-finetune", "--json", "record.json"])
    assert 0 == done.exit_code, done.output
    record = read_record("record.json")
    public = sys.modules["public_resnet"]
    count = 2_000
    for accuracy, sparsity in ((record.dense_accuracy, 0.0), (record.pruned_accuracy, 0.5)):
        inputs, labels = (each[:count] for each in plain_images)
        expected = public.right(public.loaded(str(weights), 20, sparsity), inputs, labels)
        assert expected.tolist() == correctness(accuracy)[:count].tolist()
        assert 10_000 == accuracy.images
