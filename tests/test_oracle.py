"""prunebench's counts on CIFAR-10 are those of a plain PyTorch script, and its images those that Pillow decodes.

`pytest tests/test_oracle.py` counts ten times as many images as the whole test suite: all 10,000 for run 3.
"""

from __future__ import annotations

import importlib.util
import io
import random
import sys
import tarfile
from pathlib import Path, PurePosixPath
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

from prunebench.cli import main
from prunebench.data import Dataset, Examples, load_cifar10
from prunebench.data.archives import is_archive
from prunebench.data.batches import whole_batches
from prunebench.data.cifar10 import CIFAR10_CLASSES
from prunebench.documented.runs import documented_run
from prunebench.gate.paired import correctness
from prunebench.machine.layout import lay_out_
from prunebench.models import build_model, load_state, load_state_
from prunebench.pruning import prune_
from prunebench.records import read_record
from prunebench.storage.files import CACHE_VARIABLE
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


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that keeps CIFAR-10 as it is decoded, once for all tests."""
    return tmp_path_factory.mktemp("decoded")


@pytest.fixture(scope="module")
def cifar10(cifar10_path: Path, decoded: Path) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(decoded))
        return load_cifar10(cifar10_path)


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


@pytest.mark.parametrize(("stage", "count"), [("dense", 200), ("run3", 1_000)])
def test_counts_equal_those_of_plain_pytorch(
    stage: str,
    count: int,
    plain: ModuleType,
    plain_images: tuple[Tensor, Tensor],
    cifar10: Dataset,
    cifar10_checkpoint: Path,
    is_asked_for: bool,
) -> None:
    count *= 10 if is_asked_for else 1
    inputs, labels = (each[:: len(each) // count] for each in plain_images)
    weights = load_state(cifar10_checkpoint)
    test = cifar10.test.take(torch.arange(0, len(cifar10.test), len(cifar10.test) // count))
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
    cifar10: Dataset,
    cifar10_path: Path,
    decoded: Path,
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
    monkeypatch.setenv(CACHE_VARIABLE, str(decoded))
    asked = ["run", "half", "--no-finetune", "--test-images", "1000", "--json", "record.json"]
    done = CliRunner().invoke(main, asked)
    assert 0 == done.exit_code, done.output
    record = read_record("record.json")
    public = sys.modules["public_resnet"]
    chosen = torch.randperm(10_000, generator=torch.Generator().manual_seed(0))[:1_000]
    for accuracy, sparsity in ((record.dense_accuracy, 0.0), (record.pruned_accuracy, 0.5)):
        inputs, labels = (each[chosen] for each in plain_images)
        expected = public.right(public.loaded(str(weights), 20, sparsity), inputs, labels)
        assert expected.tolist() == correctness(accuracy).tolist()


def test_the_real_archive_holds_cifar10_and_its_images_are_those_that_pillow_decodes(
    cifar10: Dataset, cifar10_path: Path
) -> None:
    if not is_archive(cifar10_path):
        pytest.skip(f"'{cifar10_path}' is no archive of class folders")
    assert (50_000, 3, 32, 32) == tuple(cifar10.train.inputs.shape)
    assert (10_000, 3, 32, 32) == tuple(cifar10.test.inputs.shape)
    assert [5_000] * 10 == cifar10.train.targets.bincount().tolist()
    assert [1_000] * 10 == cifar10.test.targets.bincount().tolist()
    with tarfile.open(cifar10_path) as archive:
        content = {
            PurePosixPath(member.name).parts[-3:]: file.read()
            for member in archive
            if member.isfile() and (file := archive.extractfile(member))
        }
    names = {
        split: sorted((CIFAR10_CLASSES.index(c), f) for s, c, f in content if s == split) for split in ("train", "test")
    }
    for split, images in (("train", cifar10.train), ("test", cifar10.test)):
        for index in random.Random(0).sample(range(len(images)), 10):
            label, name = names[split][index]
            picture = Image.open(io.BytesIO(content[split, CIFAR10_CLASSES[label], name])).convert("RGB")
            assert label == int(images.targets[index])
            assert np.array_equal(np.asarray(picture).transpose(2, 0, 1), images.inputs[index].numpy())
