"""The documented flow on a small model: what the record says is what happened."""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunebench.data import Augmentation, Dataset, Examples
from prunebench.documented.floors import Floor
from prunebench.documented.method import Method
from prunebench.documented.runs import DocumentedRun
from prunebench.errors import CheckpointError, MaskError, PlanError, StorageError, UnknownNameError
from prunebench.experiments import flow, methods
from prunebench.experiments.deployment import latency_runtime
from prunebench.experiments.flow import PRUNING_SAMPLES, Progress, Setting, execute, fine_tune, prepare, prune
from prunebench.gate import Status, check_record
from prunebench.latency.measure import compare_latency
from prunebench.machine.environment import exact_fingerprint
from prunebench.models import load_state, save_state, state_digest
from prunebench.pruning import prune_
from prunebench.records import RunRecord, read_record, write_record
from prunebench.tasks.evaluation import evaluate
from prunebench.training import Epoch, Recipe
from prunebench.workloads import DENSE, Workload

pytestmark = pytest.mark.usefixtures("one_thread")


CLASSES = 3
RUN = DocumentedRun(
    name="small", model="small", sparsity={"conv.weight": 0.25, "linear.weight": 0.5}, epochs=3, source="this test"
)


def _small() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    layers = OrderedDict(
        conv=nn.Conv2d(3, 8, 3, padding=1, bias=False),
        bn=nn.BatchNorm2d(8),
        relu=nn.ReLU(),
        pool=nn.AdaptiveAvgPool2d(2),
        flat=nn.Flatten(),
        linear=nn.Linear(32, CLASSES),
    )
    model = nn.Sequential(layers)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return model


def _images(count: int, seed: int) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    noise = torch.randint(0, 120, (count, 3, 8, 8), generator=generator)
    noise[torch.arange(count), labels] += 80  # each class is bright in one channel
    return Examples(noise.to(torch.uint8), labels)


DATA = Dataset(name="small", train=_images(120, 1), test=_images(50, 2), classes=("a", "b", "c"), origin="made here")
RECIPE = Recipe(
    epochs=3,
    batch_size=32,
    learning_rate=0.05,
    augmentation=Augmentation(crop_padding=1),
    learning_rate_schedule="cosine",
)


class Small(Workload):
    """A class of a user's own."""

    name = "small"
    recipes: Mapping[str, Recipe] = {"full": RECIPE, DENSE: RECIPE}
    trains_itself = True

    def build(self) -> nn.Module:
        return _small()

    def data(self, source: Path | None = None, progress: object = None) -> Dataset:
        return DATA


WORKLOAD = Small()


@pytest.fixture
def setting(own_cache: Path) -> Setting:
    return prepare(WORKLOAD, "full", device=torch.device("cpu"))


def test_the_record_says_what_the_models_are(setting: Setting) -> None:
    record = execute(RUN, setting)
    pruned = prune(RUN, setting)
    assert {"conv.weight": 216 - 54, "linear.weight": 96 - 48} == {
        layer.name: layer.nonzeros for layer in record.layers
    }
    assert (setting.dense.digest, state_digest(pruned.model.state_dict()), pruned.masks.digest) == (
        record.checkpoints.dense,
        record.checkpoints.pruned,
        record.masks_digest,
    )
    assert evaluate(pruned.model, DATA.test).correct_count == record.pruned_accuracy.correct
    assert {"conv.weight": 216 * 64, "linear.weight": 96} == {layer.name: layer.macs for layer in record.layers}
    assert 32 * sum(record.nonzeros.values()) == record.pruned_size_bits


@pytest.mark.parametrize("finetune", [True, False])
def test_histograms_are_of_the_weights_before_pruning_after_it_and_of_the_best_epoch(
    finetune: bool, setting: Setting, tmp_path: Path
) -> None:
    record = execute(RUN, setting, finetune=finetune, save=tmp_path / "saved.safetensors")
    states = {"dense": setting.dense.model.state_dict(), "pruned": prune(RUN, setting).model.state_dict()}
    states |= {"finetuned": load_state(tmp_path / "saved.safetensors")} if finetune else {}
    for layer in record.layers:
        assert layer.histogram is not None
        weights = {stage: state[layer.name].double() for stage, state in states.items()}
        largest = max(float(weight.abs().max()) for weight in weights.values())
        assert largest == layer.histogram.largest
        edges = torch.linspace(-largest, largest, 41, dtype=torch.float64)
        expected = {
            stage: torch.histogram(weight[weight != 0], edges).hist.int().tolist() for stage, weight in weights.items()
        }
        assert expected == layer.histogram.counts


def test_zeros_of_a_model_that_was_pruned_before_stay_zeros_in_fine_tuning(setting: Setting, tmp_path: Path) -> None:
    """A table that asks for less than is there gives nothing back: the record's size is that of the tuned weights."""
    prune_(setting.dense.model, {"conv.weight": 0.75, "linear.weight": 0.75})
    record = execute(RUN, setting, save=tmp_path / "tuned.safetensors")
    tuned = load_state(tmp_path / "tuned.safetensors")
    assert {"conv.weight": 54, "linear.weight": 24} == {layer.name: layer.nonzeros for layer in record.layers}
    assert {name: int((tuned[name] != 0).sum()) for name in RUN.sparsity} == {"conv.weight": 54, "linear.weight": 24}


def test_the_signature_says_what_was_done_and_how_far_the_weights_moved(setting: Setting, tmp_path: Path) -> None:
    record = execute(RUN, setting, save=tmp_path / "best.safetensors")
    pruned = prune(RUN, setting)
    last = fine_tune(RUN, setting, pruned).last_state
    assert record.finetuning is not None
    signature, before = record.finetuning.signature, pruned.model.state_dict()
    assert (3 * 4, 3 * 120, "float32") == (signature.steps, signature.images, signature.scores_dtype)
    assert {"momentum": 0.9, "weight_decay": 1e-4, "nesterov": 0.0} == signature.optimizer
    for name in ("conv.weight", "bn.bias", "linear.bias"):
        moved = float((last[name] - before[name]).double().norm() / before[name].double().norm())
        assert moved == pytest.approx(signature.distance[name], rel=1e-5)
    assert {"bn.running_mean", "bn.running_var"} == set(signature.statistics)


def test_a_resumed_fine_tuning_has_the_signature_of_one_never_stopped(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = execute(RUN, setting)

    class StoppedError(Exception):
        pass

    class Stop(Progress):
        def epoch_done(self, epoch: Epoch, epochs: int) -> None:
            if epoch.number == 2:
                raise StoppedError

    with pytest.raises(StoppedError):
        execute(RUN, setting, progress=Stop())
    resumed = execute(RUN, setting)
    assert whole.finetuning is not None
    assert resumed.finetuning is not None
    assert 2 == resumed.finetuning.resumed_after
    assert whole.finetuning.signature == resumed.finetuning.signature


def test_a_file_that_holds_other_weights_than_were_judged_is_refused(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rounded(state: Mapping[str, Tensor], path: Path, **options: Any) -> None:
        save_state({name: value.half().to(value.dtype) for name, value in state.items()}, path, **options)

    monkeypatch.setattr(flow, "save_state", rounded)
    for finetune in (True, False):
        with pytest.raises(CheckpointError, match="does not hold the weights that were written to it"):
            execute(RUN, setting, finetune=finetune, save=tmp_path / "kept.safetensors")


def test_the_kept_model_is_measured_as_it_is_deployed(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunebench.experiments.deployment.compare_latency", partial(compare_latency, launches=8))
    sparsity = {"conv.weight": 0.5, "linear.weight": 0.0}
    run = replace(RUN, sparsity=sparsity, method=Method(granularity="channel"), measures=("shrunk", "onnx", "latency"))
    record = execute(run, setting)
    assert record.shrunk is not None
    assert record.exported is not None
    assert record.latency is not None
    weights = 4 * 27 + 16 * CLASSES
    assert (weights + 2 * 4 + CLASSES, 4 * 27 * 64 + 16 * CLASSES) == (record.shrunk.elements, record.shrunk.macs)
    kept = record.kept_accuracy
    assert [kept.correct_bits] * 2 == [record.shrunk.answers.correct_bits, record.exported.answers.correct_bits]
    assert ("eager", 8) == (record.latency.runtime, record.latency.launches)
    assert {Status.PASS} == {verdict.status for verdict in check_record(record)}


def test_a_floor_alone_asks_for_the_latency() -> None:
    assert latency_runtime(RUN) is None
    floor = Floor(figure="latency_ratio", least=1.3, rule="promised")
    assert "eager" == latency_runtime(replace(RUN, floors=(floor,)))
    assert "onnx" == latency_runtime(replace(RUN, floors=(floor,), measures=("latency:onnx",)))


def test_an_unknown_measure_is_refused_before_anything_is_done(setting: Setting) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown measure 'speed': expected one of latency, .*, shrunk"):
        execute(replace(RUN, measures=("speed",)), setting)
    with pytest.raises(PlanError, match="a run measures one latency: expected one of latency, latency:onnx"):
        execute(replace(RUN, measures=("latency", "latency:onnx")), setting)


def test_kept_elements_that_became_zero_are_no_masks(setting: Setting) -> None:
    pruned = prune(RUN, setting)
    training = fine_tune(RUN, setting, pruned)
    state = dict(training.best_state)
    flow.check_kept(state, training.best.evaluation, pruned=pruned, selection=DATA.test)
    state["linear.weight"] = torch.zeros_like(state["linear.weight"])
    with pytest.raises(MaskError, match=r"fine-tuning made 48 of 48 kept elements of 'linear\.weight' zero"):
        flow.check_kept(state, training.best.evaluation, pruned=pruned, selection=DATA.test)


def test_correctness_bits_are_one_an_image_in_order(setting: Setting) -> None:
    record = execute(RUN, setting, finetune=False)
    bits = np.unpackbits(np.frombuffer(base64.b64decode(record.pruned_accuracy.correct_bits), np.uint8))
    correct = evaluate(prune(RUN, setting).model, DATA.test).correct
    assert correct.tolist() == bits[: len(DATA.test)].astype(bool).tolist()


def test_pruning_is_timed_before_everything_else_and_after_it(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples a moment apart are all slow in one bad moment of a busy machine."""
    done: list[str] = []

    def told(module: Any, name: str) -> None:
        function = getattr(module, name)

        def wrapped(*arguments: object, **options: object) -> object:
            done.append(name)
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, wrapped)

    for module, name in ((methods, "prune_"), (flow, "evaluate"), (flow, "train")):
        told(module, name)
    record = execute(RUN, setting)
    timed = ["prune_"] * PRUNING_SAMPLES
    assert done == ["prune_", *timed, "evaluate", "train", *timed, "evaluate", "evaluate"]  # what is kept, asked again
    assert len(record.timings.prune) == 2 * PRUNING_SAMPLES


def test_every_evaluation_of_all_test_images_by_this_process_is_timed(setting: Setting) -> None:
    assert len(execute(RUN, setting, finetune=False).timings.evaluate) == 2
    assert len(execute(RUN, setting).timings.evaluate) == 2 + RECIPE.epochs
    assert len(execute(RUN, replace(setting, select_on="validation")).timings.evaluate) == 2


def test_the_dense_model_is_not_touched(setting: Setting) -> None:
    execute(RUN, setting)
    assert setting.dense.digest == state_digest(setting.dense.model.state_dict())


def test_two_executions_give_the_same_bytes(setting: Setting) -> None:
    first, second = execute(RUN, setting), execute(RUN, setting)
    assert first.checkpoints == second.checkpoints
    assert first.finetuning == second.finetuning


def test_best_and_last_epoch_are_both_kept(setting: Setting) -> None:
    tuned = execute(RUN, setting).finetuning
    assert tuned is not None
    assert 3 == len(tuned.selection_accuracies)
    assert max(tuned.selection_accuracies) == tuned.best.percent == tuned.selection_accuracies[tuned.best_epoch - 1]
    assert tuned.selection_accuracies[-1] == tuned.last.percent


def test_choosing_on_a_validation_split_never_looks_at_the_test_images(setting: Setting) -> None:
    held_out = replace(setting, select_on="validation")
    record = execute(RUN, held_out)
    assert record.finetuning is not None
    assert "validation" == record.finetuning.selected_on
    training = fine_tune(RUN, held_out, prune(RUN, held_out))
    assert 12 == training.best.evaluation.count
    other_labels = replace(DATA, test=Examples(DATA.test.inputs, (DATA.test.targets + 1) % CLASSES))
    relabelled = execute(RUN, replace(held_out, data=other_labels))
    assert record.checkpoints.best == relabelled.checkpoints.best


def test_an_interrupted_run_goes_on_and_ends_in_the_same_bytes(setting: Setting) -> None:
    class Interrupt(Progress):
        def step(self, epoch: int, epochs: int, images: int, total: int) -> None:
            if epoch == 3:
                raise KeyboardInterrupt

    whole = execute(RUN, setting)
    with pytest.raises(KeyboardInterrupt):
        execute(RUN, setting, progress=Interrupt())
    resumed = execute(RUN, setting)
    assert resumed.finetuning is not None
    assert whole.finetuning is not None
    assert 2 == resumed.finetuning.resumed_after
    assert 2 + 1 == len(resumed.timings.evaluate)  # those of the stopped process took its time
    assert whole.checkpoints == resumed.checkpoints
    assert whole.finetuning.best == resumed.finetuning.best


def test_no_epoch_is_lost_where_the_record_cannot_be_kept(setting: Setting) -> None:
    def full_disk(record: RunRecord) -> None:
        raise StorageError(f"cannot write the record of {record.run}")

    with pytest.raises(StorageError):
        execute(RUN, setting, keep=full_disk)
    kept: list[RunRecord] = []
    again = execute(RUN, setting, keep=kept.append)
    assert [again] == kept
    assert again.finetuning is not None
    assert RECIPE.epochs == again.finetuning.resumed_after


def test_a_record_reads_back_as_it_was_written(setting: Setting, tmp_path: Path) -> None:
    record = execute(RUN, setting)
    write_record(record, tmp_path / "record.json")
    assert record == read_record(tmp_path / "record.json")
    assert exact_fingerprint(torch.device("cpu")).items() <= record.environment.items()


def test_a_size_that_is_off_by_one_weight_fails_and_names_the_layer(setting: Setting) -> None:
    record = execute(RUN, setting, finetune=False)
    assert {Status.PASS} == {verdict.status for verdict in check_record(record)}
    layer = record.layers[0].model_copy(update={"nonzeros": record.layers[0].nonzeros + 1})
    wrong = record.model_copy(update={"layers": [layer, *record.layers[1:]]})
    failed = [verdict for verdict in check_record(wrong) if verdict.status is Status.FAIL]
    assert ["nonzeros of conv.weight"] == [verdict.check for verdict in failed]
    assert "163, expected 162 (exact, off by +1)" in str(failed[0])


def test_a_checkpoint_given_by_path_is_used(setting: Setting, tmp_path: Path) -> None:
    model = _small()
    save_state(model.state_dict(), tmp_path / "given.safetensors")
    given = prepare(WORKLOAD, checkpoint=tmp_path / "given.safetensors", device=torch.device("cpu"))
    assert state_digest(model.state_dict()) == given.dense.digest
