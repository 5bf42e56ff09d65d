"""Workloads: the documented protocol is the documented one, and the dense model comes from where it should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prunebench.data import Dataset, load_digits
from prunebench.errors import CheckpointError, UnknownNameError
from prunebench.models import build_model, load_state, save_state, state_digest
from prunebench.runs import documented_run
from prunebench.workloads import COURSE_CHECKPOINT, WORKLOADS, Workload, find_workload, train_dense


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits()


@pytest.fixture
def brief() -> Workload:
    """Digits with a dense training of one batch."""
    workload = WORKLOADS["digits"]
    return replace(workload, dense_protocol=replace(workload.dense_protocol, epochs=1, images_per_epoch=64))


def test_full_on_cifar10_is_the_documented_protocol() -> None:
    protocol = find_workload("cifar10").budget("full").protocol_for(documented_run("run5"))
    assert (9, 512, 0.01, 0.9, False, 1e-4, "cosine_per_iteration", 0.0, None, 0.0) == (
        protocol.epochs,
        protocol.batch_size,
        protocol.learning_rate,
        protocol.momentum,
        protocol.nesterov,
        protocol.weight_decay,
        protocol.schedule,
        protocol.label_smoothing,
        protocol.images_per_epoch,
        protocol.averaging,
    )
    assert protocol.augmentation is not None
    assert (4, True, False) == (
        protocol.augmentation.crop_padding,
        protocol.augmentation.flip,
        protocol.decay_weights_only,
    )


def test_run4_whose_epochs_are_not_documented_gets_those_of_run5() -> None:
    budget = find_workload("cifar10").budget("full")
    assert 9 == budget.protocol_for(documented_run("run4")).epochs


def test_only_full_calls_itself_full() -> None:
    assert {("quick", False), ("full", True)} == {
        (name, budget.full) for workload in WORKLOADS.values() for name, budget in workload.budgets.items()
    }


def test_an_unknown_budget_names_the_known() -> None:
    with pytest.raises(UnknownNameError, match="unknown budget 'huge': expected one of full, quick"):
        find_workload("digits").budget("huge")


def test_digits_trains_its_dense_model_once_and_keeps_it(brief: Workload, digits: Dataset, own_cache: Path) -> None:
    first = brief.dense_model(digits)
    kept = list((own_cache / "checkpoints").iterdir())
    assert [brief.dense_checkpoint(digits)] == kept
    before = kept[0].stat().st_mtime_ns
    again = brief.dense_model(digits)
    assert (first.digest, before) == (again.digest, kept[0].stat().st_mtime_ns)


def test_the_kept_checkpoint_belongs_to_protocol_data_and_seed(brief: Workload, digits: Dataset) -> None:
    longer = replace(brief, dense_protocol=replace(brief.dense_protocol, epochs=2))
    paths = {brief.dense_checkpoint(digits), brief.dense_checkpoint(digits, seed=1), longer.dense_checkpoint(digits)}
    assert 3 == len(paths)


def test_dense_training_writes_the_last_epoch_and_says_how_it_was_made(
    brief: Workload, digits: Dataset, tmp_path: Path
) -> None:
    from safetensors import safe_open

    output = tmp_path / "dense.safetensors"
    training = train_dense(brief, digits, output=output, seed=3, device=torch.device("cpu"))
    assert state_digest(training.last_state) == state_digest(load_state(output))
    with safe_open(output, framework="pt") as file:
        assert ("3", digits.digest, "fp32") == tuple(file.metadata()[key] for key in ("seed", "data", "precision"))


def test_the_courses_file_is_known_by_its_name(untrained_checkpoint: Path, digits: Dataset, own_cache: Path) -> None:
    cifar10 = find_workload("cifar10")
    assert not cifar10.dense_model(digits, checkpoint=untrained_checkpoint).is_course_checkpoint
    course = own_cache / "checkpoints" / COURSE_CHECKPOINT
    course.parent.mkdir()
    torch.save({"state_dict": load_state(untrained_checkpoint)}, course)
    found = cifar10.dense_model(digits)
    assert (True, COURSE_CHECKPOINT) == (found.is_course_checkpoint, found.origin)


def test_cifar10_without_a_checkpoint_asks_for_one(digits: Dataset) -> None:
    with pytest.raises(CheckpointError, match="give one with --checkpoint"):
        find_workload("cifar10").dense_model(digits)


def test_the_dense_model_is_the_checkpoint(untrained_checkpoint: Path, digits: Dataset, tmp_path: Path) -> None:
    dense = find_workload("digits").dense_model(digits, checkpoint=untrained_checkpoint)
    assert dense.digest == state_digest(load_state(untrained_checkpoint))
    other = tmp_path / "other.safetensors"
    save_state(build_model("vgg").state_dict(), other)
    assert dense.digest != find_workload("digits").dense_model(digits, checkpoint=other).digest
