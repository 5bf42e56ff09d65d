"""Workloads: the documented recipe is the documented one, and the dense model comes from where it should."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from prunebench.data import Augmentation, Dataset, load_digits
from prunebench.documented.runs import RUNS, documented_run
from prunebench.errors import CheckpointError, ImportedNameError, ModelError, UnknownNameError, WorkloadError
from prunebench.experiments.flow import Setting, prepare
from prunebench.machine.environment import ARITHMETIC
from prunebench.models import build_model, load_state, read_metadata, save_state, state_digest
from prunebench.training import Recipe, Training
from prunebench.workloads import (
    BUILT_IN,
    DENSE,
    DOCUMENTED_RECIPE,
    UNDOCUMENTED_EPOCHS,
    ComposedWorkload,
    InMemoryWorkload,
    Workload,
    dense,
    dense_model,
    find_recipe,
    find_workload,
    own_checkpoint,
    recipe_names,
    train_dense,
)
from prunebench.workloads.dense import COURSE_CHECKPOINT
from prunebench.workloads.workload import check_workload


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits()


def with_dense(workload: Workload, **changes: Any) -> ComposedWorkload:
    """The workload with another recipe of its dense model."""
    assert isinstance(workload, ComposedWorkload)
    return replace(workload, recipes={**workload.recipes, DENSE: replace(workload.recipes[DENSE], **changes)})


@pytest.fixture
def brief() -> ComposedWorkload:
    """Digits with a dense training of one batch."""
    return with_dense(BUILT_IN["digits"], epochs=1, images_per_epoch=64)


def test_full_on_cifar10_is_the_documented_recipe() -> None:
    name, recipe = find_recipe(find_workload("cifar10"), "full")
    expected = Recipe(
        epochs=9,
        batch_size=512,
        learning_rate=0.01,
        optimizer="sgd",
        momentum=0.9,
        nesterov=False,
        weight_decay=1e-4,
        decay_weights_only=False,
        learning_rate_schedule="cosine_per_iteration",
        label_smoothing=0.0,
        augmentation=Augmentation(crop_padding=4, flip=True),
        images_per_epoch=None,
        averaging=0.0,
    )
    assert ("full", expected) == (name, recipe.for_epochs(9))


def setting_of(workload: Workload, recipe: str, data: Dataset) -> Setting:
    """A setting whose model is never asked: only what it says of recipes counts."""
    return Setting(
        workload=workload,
        recipe_name=recipe,
        recipe=workload.recipes[recipe],
        data=data,
        dense=dense.DenseModel(model=nn.Identity(), origin="", digest=""),
        dense_evaluation=None,  # type: ignore[arg-type]
        device=torch.device("cpu"),
        precision="fp32",
        seed=0,
        select_on="test",
    )


def test_a_run_whose_epochs_are_not_documented_gets_as_many_as_run5(digits: Dataset) -> None:
    setting = setting_of(BUILT_IN["cifar10"], "full", digits)
    assert 9 == UNDOCUMENTED_EPOCHS == setting.recipe_for(documented_run("run4")).epochs
    assert 5 == setting.recipe_for(documented_run("run1")).epochs
    assert 1 == setting_of(BUILT_IN["cifar10"], "quick", digits).recipe_for(documented_run("run1")).epochs


def test_only_what_is_fine_tuned_as_documented_calls_itself_so(digits: Dataset) -> None:
    documented = {
        (name, recipe, run.name)
        for name, workload in BUILT_IN.items()
        for recipe in recipe_names(workload)
        for run in RUNS.values()
        if setting_of(workload, recipe, digits).is_documented(run)
    }
    assert {("cifar10", "full", name) for name in ("run1", "run2", "run3", "run5")} == documented
    held_out = replace(setting_of(BUILT_IN["cifar10"], "full", digits), select_on="validation")
    assert not held_out.is_documented(documented_run("run1"))


def test_an_unknown_recipe_names_those_that_fine_tune() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown recipe 'huge': expected one of full, quick$"):
        find_recipe(find_workload("digits"), "huge")
    assert DENSE == find_recipe(find_workload("digits"), DENSE)[0]  # for schedules that rewind; never by default


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_first_recipe_is_the_default_and_quick(name: str) -> None:
    assert "quick" == find_recipe(find_workload(name))[0] == recipe_names(BUILT_IN[name])[0]


def test_a_workload_without_a_recipe_that_fine_tunes_is_refused(digits: Dataset) -> None:
    workload = InMemoryWorkload(name="mine", recipes={DENSE: DOCUMENTED_RECIPE}, module=nn.Identity(), dataset=digits)
    with pytest.raises(WorkloadError, match="workload 'mine' has no recipe: expected one at least, beside 'dense'"):
        find_recipe(workload)


def test_digits_trains_its_dense_model_once_and_keeps_it(brief: Workload, digits: Dataset, own_cache: Path) -> None:
    first = dense_model(brief, digits)
    kept = list((own_cache / "checkpoints").iterdir())
    assert [own_checkpoint(brief, digits)] == kept
    before = kept[0].stat().st_mtime_ns
    again = dense_model(brief, digits)
    assert (first.digest, before) == (again.digest, kept[0].stat().st_mtime_ns)


def test_of_several_at_once_one_trains_the_dense_model(
    brief: Workload, digits: Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def counted(*arguments: Any, **options: Any) -> Training:
        trained.append(threading.current_thread().name)
        return train_dense(*arguments, **options)

    monkeypatch.setattr(dense, "train_dense", counted)
    with ThreadPoolExecutor(2) as pool:
        digests = {model.digest for model in pool.map(lambda data: dense_model(brief, data), [digits, digits])}
    assert (1, 1) == (len(trained), len(digests))


def other_arithmetic(checkpoint: Path) -> None:
    """Make `checkpoint` one that an earlier version wrote, with other weights."""
    state = {name: tensor * 2 for name, tensor in load_state(checkpoint).items()}
    metadata = read_metadata(checkpoint)
    assert str(ARITHMETIC) == metadata["arithmetic"]
    save_state(state, checkpoint, metadata={**metadata, "arithmetic": str(ARITHMETIC - 1)})


def damaged(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])


def other_machine(checkpoint: Path) -> None:
    """As `other_arithmetic`, by two threads more."""
    other_arithmetic(checkpoint)
    metadata = read_metadata(checkpoint)
    machine = json.loads(metadata["machine"])
    machine["threads"] += 2
    changed = {**metadata, "arithmetic": str(ARITHMETIC), "machine": json.dumps(machine)}
    save_state(load_state(checkpoint), checkpoint, metadata=changed)


@pytest.mark.parametrize("spoil", [other_arithmetic, other_machine, damaged])
def test_what_a_cache_left_behind_is_not_found_again(
    brief: Workload, digits: Dataset, spoil: Callable[[Path], None]
) -> None:
    """Or a cache that outlives a change of the arithmetic has weights that no new baseline was made on."""
    first = dense_model(brief, digits)
    spoil(own_checkpoint(brief, digits))
    assert first.digest == dense_model(brief, digits).digest


def test_a_checkpoint_of_hours_is_kept_whatever_arithmetic_made_it(brief: Workload, digits: Dataset) -> None:
    asked_for = replace(brief, trains_itself=False)
    train_dense(asked_for, digits, output=own_checkpoint(asked_for, digits), device=torch.device("cpu"))
    other_arithmetic(own_checkpoint(asked_for, digits))
    assert state_digest(load_state(own_checkpoint(asked_for, digits))) == dense_model(asked_for, digits).digest


def test_the_kept_checkpoint_belongs_to_recipe_data_and_seed(brief: Workload, digits: Dataset) -> None:
    longer = with_dense(brief, epochs=2)
    paths = {own_checkpoint(brief, digits), own_checkpoint(brief, digits, seed=1), own_checkpoint(longer, digits)}
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
    assert not dense_model(cifar10, digits, checkpoint=untrained_checkpoint).is_course_checkpoint
    course = own_cache / "checkpoints" / COURSE_CHECKPOINT
    course.parent.mkdir()
    torch.save({"state_dict": load_state(untrained_checkpoint)}, course)
    found = dense_model(cifar10, replace(digits, is_original=True))
    assert (True, COURSE_CHECKPOINT) == (found.is_course_checkpoint, found.origin)
    assert not dense_model(cifar10, digits).is_course_checkpoint, "a copy of the data may be harder than it"


def test_cifar10_without_a_checkpoint_asks_for_one(digits: Dataset) -> None:
    with pytest.raises(CheckpointError, match="give one with --checkpoint"):
        dense_model(find_workload("cifar10"), digits)


def test_the_dense_model_is_the_checkpoint(untrained_checkpoint: Path, digits: Dataset, tmp_path: Path) -> None:
    dense = dense_model(find_workload("digits"), digits, checkpoint=untrained_checkpoint)
    assert dense.digest == state_digest(load_state(untrained_checkpoint))
    other = tmp_path / "other.safetensors"
    save_state(build_model("vgg").state_dict(), other)
    assert dense.digest != dense_model(find_workload("digits"), digits, checkpoint=other).digest


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_workload_of_prunebenchs_own_is_whole(name: str) -> None:
    workload = BUILT_IN[name]
    assert workload is find_workload(name) is check_workload(workload, called=name)
    assert (name, workload.build().training) == (workload.name, True)
    if name in ("shapes", "digits", "digits-vit"):
        data = workload.data()
        outputs = workload.build().eval()(data.test.fed(data.test.inputs[:2]))
        workload.task.check(outputs, data.test)


class Mine(Workload):
    """The least that a workload has."""

    name = "mine"
    recipes: Mapping[str, Recipe] = {"ci": DOCUMENTED_RECIPE}

    def build(self) -> nn.Module:
        return nn.Linear(3, 2)

    def data(self, source: Path | None = None, progress: object = None) -> Dataset:
        return load_digits()


def test_a_class_that_names_the_protocol_as_its_base_needs_four_things() -> None:
    workload = check_workload(Mine(), called="nets:Mine")
    assert (None, (), "", False) == (
        workload.checkpoint(),
        tuple(workload.keep_dense),
        workload.model,
        workload.pretrained,
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (3, "'it' is no workload: it has no name, recipes, build, data; expected"),
        (threading.current_thread(), "'it' is no workload: it has no recipes, build, data; expected"),
    ],
)
def test_what_is_no_workload_is_refused_by_what_it_lacks(found: object, said: str) -> None:
    with pytest.raises(WorkloadError, match=f"^{said}"):
        check_workload(found, called="it")


def test_a_class_that_is_named_is_made_an_object_of() -> None:
    with pytest.raises(WorkloadError, match="is no workload: it has no recipes, build, data"):
        find_workload("prunebench.tasks:Classification")
    with pytest.raises(ImportedNameError, match=r"workload 'prunebench.data:Dataset' cannot be made: TypeError: "):
        find_workload("prunebench.data:Dataset")


def test_a_model_that_cannot_be_built_names_the_workload(digits: Dataset) -> None:
    class Failing(Mine):
        def build(self) -> nn.Module:
            raise ValueError("no such width")

    class Naming(Mine):
        def build(self) -> nn.Module:
            return "vgg"  # type: ignore[return-value]

    for workload, said in (
        (Failing(), "workload 'mine' cannot build its model: ValueError: no such width"),
        (Naming(), "workload 'mine': the model is of type str: expected a torch.nn.Module"),
    ):
        with pytest.raises(ModelError, match=said):
            dense_model(workload, digits, checkpoint=Path("none"))


def test_a_name_of_prunebenchs_own_is_refused_for_another_workload() -> None:
    workload = Mine()
    workload.name = "digits"
    with pytest.raises(WorkloadError, match="'digits' is a workload of prunebench's own: give yours another name"):
        prepare(workload)


def test_a_workload_without_a_checkpoint_and_a_recipe_for_one_says_the_ways() -> None:
    with pytest.raises(CheckpointError, match=r"no dense checkpoint for 'mine': .*--checkpoint PATH.*recipe 'dense'"):
        prepare(Mine())
