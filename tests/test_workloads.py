"""Workloads: the documented recipe is the documented one, and the dense model comes from where it should."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from prunebench import workloads
from prunebench.data import Dataset, load_digits
from prunebench.documented.runs import RUNS, documented_run
from prunebench.errors import CheckpointError, UnknownNameError
from prunebench.models import build_model, load_state, read_metadata, save_state, state_digest
from prunebench.storage.files import source_digest
from prunebench.training import Training
from prunebench.workloads import (
    BUILT_IN,
    COURSE_CHECKPOINT,
    DENSE_TRAINING_SOURCES,
    Workload,
    find_workload,
    train_dense,
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits()


@pytest.fixture
def brief() -> Workload:
    """Digits with a dense training of one batch."""
    workload = BUILT_IN["digits"]
    return replace(workload, dense_recipe=replace(workload.dense_recipe, epochs=1, images_per_epoch=64))


def test_full_on_cifar10_is_the_documented_recipe() -> None:
    recipe = find_workload("cifar10").recipe("full").recipe_for(documented_run("run5"))
    assert (9, 512, 0.01, 0.9, False, 1e-4, "cosine_per_iteration", 0.0, None, 0.0) == (
        recipe.epochs,
        recipe.batch_size,
        recipe.learning_rate,
        recipe.momentum,
        recipe.nesterov,
        recipe.weight_decay,
        recipe.learning_rate_schedule,
        recipe.label_smoothing,
        recipe.images_per_epoch,
        recipe.averaging,
    )
    assert recipe.augmentation is not None
    assert (4, True, False) == (
        recipe.augmentation.crop_padding,
        recipe.augmentation.flip,
        recipe.decay_weights_only,
    )


def test_run4_whose_epochs_are_not_documented_gets_those_of_run5() -> None:
    recipe = find_workload("cifar10").recipe("full")
    assert 9 == recipe.recipe_for(documented_run("run4")).epochs


def test_only_what_is_fine_tuned_as_documented_calls_itself_so() -> None:
    documented = {
        (workload.name, recipe.name, run.name)
        for workload in BUILT_IN.values()
        for recipe in workload.recipes.values()
        for run in RUNS.values()
        if recipe.is_documented(run)
    }
    assert {("cifar10", "full", name) for name in ("run1", "run2", "run3", "run5")} == documented


def test_an_unknown_recipe_names_the_known() -> None:
    with pytest.raises(UnknownNameError, match="unknown recipe 'huge': expected one of full, quick"):
        find_workload("digits").recipe("huge")


def test_digits_trains_its_dense_model_once_and_keeps_it(brief: Workload, digits: Dataset, own_cache: Path) -> None:
    first = brief.dense_model(digits)
    kept = list((own_cache / "checkpoints").iterdir())
    assert [brief.dense_checkpoint(digits)] == kept
    before = kept[0].stat().st_mtime_ns
    again = brief.dense_model(digits)
    assert (first.digest, before) == (again.digest, kept[0].stat().st_mtime_ns)


def test_of_several_at_once_one_trains_the_dense_model(
    brief: Workload, digits: Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def counted(*arguments: Any, **options: Any) -> Training:
        trained.append(threading.current_thread().name)
        return train_dense(*arguments, **options)

    monkeypatch.setattr(workloads, "train_dense", counted)
    with ThreadPoolExecutor(2) as pool:
        digests = {model.digest for model in pool.map(brief.dense_model, [digits, digits])}
    assert (1, 1) == (len(trained), len(digests))


def other_code(checkpoint: Path) -> None:
    """Make `checkpoint` one that an earlier version wrote, with other weights."""
    state = {name: tensor * 2 for name, tensor in load_state(checkpoint).items()}
    save_state(state, checkpoint, metadata={**read_metadata(checkpoint), "code": "0" * 64})


def damaged(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])


def other_machine(checkpoint: Path) -> None:
    """As `other_code`, by two threads more."""
    other_code(checkpoint)
    metadata = read_metadata(checkpoint)
    machine = json.loads(metadata["machine"])
    machine["threads"] += 2
    code = source_digest(*DENSE_TRAINING_SOURCES)
    save_state(load_state(checkpoint), checkpoint, metadata={**metadata, "code": code, "machine": json.dumps(machine)})


@pytest.mark.parametrize("spoil", [other_code, other_machine, damaged])
def test_what_a_cache_left_behind_is_not_found_again(
    brief: Workload, digits: Dataset, spoil: Callable[[Path], None]
) -> None:
    """Or a cache that outlives a change of the arithmetic has weights that no new baseline was made on."""
    first = brief.dense_model(digits)
    spoil(brief.dense_checkpoint(digits))
    assert first.digest == brief.dense_model(digits).digest


def test_a_checkpoint_of_hours_is_kept_whatever_code_made_it(brief: Workload, digits: Dataset) -> None:
    asked_for = replace(brief, trains_itself=False)
    train_dense(asked_for, digits, output=asked_for.dense_checkpoint(digits), device=torch.device("cpu"))
    other_code(asked_for.dense_checkpoint(digits))
    assert state_digest(load_state(asked_for.dense_checkpoint(digits))) == asked_for.dense_model(digits).digest


def test_a_module_that_dense_training_comes_to_need_counts_as_its_code() -> None:
    """What `prunebench.workloads` imports decides the bits of a dense model, or stands here as not doing so."""
    without_effect = {"environment", "errors", "escaping", "files", "formats", "locks", "runs"}
    script = "import sys, prunebench.workloads; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    needed = {name.split(".")[1] for name in imported if name.startswith("prunebench.")}
    assert {source.removesuffix(".py") for source in DENSE_TRAINING_SOURCES} == needed - without_effect


def test_the_kept_checkpoint_belongs_to_recipe_data_and_seed(brief: Workload, digits: Dataset) -> None:
    longer = replace(brief, dense_recipe=replace(brief.dense_recipe, epochs=2))
    paths = {brief.dense_checkpoint(digits), brief.dense_checkpoint(digits, seed=1), longer.dense_checkpoint(digits)}
    assert 3 == len(paths)


def test_dense_training_writes_the_last_epoch_and_says_how_it_was_made(
    brief: Workload, digits: Dataset, tmp_path: Path
) -> None:
    output = tmp_path / "dense.safetensors"
    training = train_dense(brief, digits, output=output, seed=3, device=torch.device("cpu"))
    assert state_digest(training.last_state) == state_digest(load_state(output))
    assert ("3", digits.digest, "fp32") == tuple(read_metadata(output)[key] for key in ("seed", "data", "precision"))


def test_the_courses_file_is_known_by_its_name(untrained_checkpoint: Path, digits: Dataset, own_cache: Path) -> None:
    cifar10 = find_workload("cifar10")
    assert not cifar10.dense_model(digits, checkpoint=untrained_checkpoint).is_course_checkpoint
    course = own_cache / "checkpoints" / COURSE_CHECKPOINT
    course.parent.mkdir()
    torch.save({"state_dict": load_state(untrained_checkpoint)}, course)
    found = cifar10.dense_model(replace(digits, is_original=True))
    assert (True, COURSE_CHECKPOINT) == (found.is_course_checkpoint, found.origin)
    assert not cifar10.dense_model(digits).is_course_checkpoint, "a copy of the data may be harder than it"


def test_cifar10_without_a_checkpoint_asks_for_one(digits: Dataset) -> None:
    with pytest.raises(CheckpointError, match="give one with --checkpoint"):
        find_workload("cifar10").dense_model(digits)


def test_the_dense_model_is_the_checkpoint(untrained_checkpoint: Path, digits: Dataset, tmp_path: Path) -> None:
    dense = find_workload("digits").dense_model(digits, checkpoint=untrained_checkpoint)
    assert dense.digest == state_digest(load_state(untrained_checkpoint))
    other = tmp_path / "other.safetensors"
    save_state(build_model("vgg").state_dict(), other)
    assert dense.digest != find_workload("digits").dense_model(digits, checkpoint=other).digest


@pytest.mark.parametrize("name", BUILT_IN)
def test_images_have_the_shape_that_is_said_of_them(name: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue("cifar10_path") if name == "cifar10" else None
    assert BUILT_IN[name].image_shape == tuple(BUILT_IN[name].load(path, None).test.images.shape[1:])
