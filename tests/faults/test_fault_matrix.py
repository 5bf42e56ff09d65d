"""The gate, tested by breaking things: each fault is planted in the pipeline, and has to be caught as named here.

A tiny network on the `digits` data goes through the real pipeline once as it should be, which gives the baseline, and
once for each fault. It is judged as on another machine than the baseline's, where no bytes have to be equal, and by the
tolerances of the default workload: those of `digits` are wide, for its dense models differ.
`python tests/faults/test_fault_matrix.py` prints the table that stands in docs/measurements/gate.md.
`test_real_vgg.py` plants the faults of training in the VGG.
"""

import copy
import math
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_faults import TRAINING_FAULTS, training

from prunebench.baselines.comparison import compare_apart
from prunebench.baselines.shelf import baseline_path
from prunebench.data import Augmentation, Dataset, Examples, load_digits
from prunebench.data.batches import augment, whole_batches
from prunebench.documented.runs import Run
from prunebench.errors import PrunebenchError
from prunebench.experiments import flow, methods
from prunebench.gate import Status, Thresholds, compare_records
from prunebench.machine.devices import arithmetic
from prunebench.models import state_digest
from prunebench.pruning import Masks, keep_mask, prune_
from prunebench.records import RunRecord, case_id
from prunebench.storage.documents import render
from prunebench.storage.files import write_text
from prunebench.tasks.evaluation import Evaluation, evaluate
from prunebench.training import Recipe, train
from prunebench.workloads import DenseModel, find_workload

CPU = torch.device("cpu")
RUN = Run(
    name="tiny",
    model="tiny",
    sparsity={"conv0.weight": 0.21, "conv1.weight": 0.55, "classifier.weight": 0.25},  # neither floor nor ceil is round
    epochs=4,
    source="this test",
)
DENSE = Recipe(epochs=6, batch_size=64, learning_rate=0.2, learning_rate_schedule="one_cycle", augmentation=None)
FINE = Recipe(
    epochs=4,
    batch_size=64,
    learning_rate=0.02,
    learning_rate_schedule="cosine_per_iteration",
    augmentation=Augmentation(crop_padding=1, flip=False),
)


class Tiny(nn.Sequential):
    """Two convolutions with batch norm, and a linear layer: 1,578 parameters."""

    def __init__(self):
        super().__init__(
            OrderedDict(
                conv0=nn.Conv2d(3, 8, 3, padding=1, bias=False),
                bn0=nn.BatchNorm2d(8),
                relu0=nn.ReLU(),
                pool0=nn.MaxPool2d(2),
                conv1=nn.Conv2d(8, 16, 3, padding=1, bias=False),
                bn1=nn.BatchNorm2d(16),
                relu1=nn.ReLU(),
                pool1=nn.AdaptiveMaxPool2d(1),
                flat=nn.Flatten(),
                classifier=nn.Linear(16, 10),
            )
        )


@dataclass(frozen=True, kw_only=True)
class Sound:
    """The pipeline as it should be, and what it recorded."""

    setting: flow.Setting
    baseline: RunRecord


def sound():
    """One thread: so small a network is slower on two."""
    torch.set_num_threads(1)
    data = load_digits()
    torch.manual_seed(0)
    model = Tiny()
    train(model, data.train, DENSE, selection=data.test, seed=0)
    dense = DenseModel(model=model.eval(), origin="tiny", digest=state_digest(model.state_dict()))
    setting = flow.Setting(
        workload=replace(find_workload("shapes"), builder="tiny"),
        recipe_name="quick",
        recipe=FINE,
        data=data,
        dense=dense,
        dense_evaluation=evaluate(model, data.test),
        device=CPU,
        precision="fp32",
        seed=0,
        select_on="test",
    )
    return Sound(setting=setting, baseline=flow.execute(RUN, setting))


def executed(setting):
    """From the evaluation of the dense model on, as `prepare` and `execute` do."""
    model = copy.deepcopy(setting.dense.model)  # a fault may change it
    answers = flow.evaluate(model, setting.data.test)
    setting = replace(setting, dense=replace(setting.dense, model=model), dense_evaluation=answers)
    with tempfile.TemporaryDirectory() as folder:
        return flow.execute(RUN, setting, save=Path(folder) / "kept.safetensors")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """How to plant it, and what has to catch it: the check's name, or the name of an error of the pipeline.

    Attributes:
        elsewhere: whether it is judged as on another machine than the baseline's.
    """

    name: str
    caught_by: str
    status: Status | None
    plant: Callable[[Sound, pytest.MonkeyPatch], tuple[RunRecord, RunRecord]]
    elsewhere: bool = True


FAULTS: list[Fault] = []


def fault(name, *, caught_by, status=Status.FAIL, elsewhere=True):
    def register(plant):
        FAULTS.append(Fault(name=name, caught_by=caught_by, status=status, plant=plant, elsewhere=elsewhere))
        return plant

    return register


def patched(name, *, caught_by, status=Status.FAIL):
    """A fault that changes the pipeline, and is executed."""

    def register(plant):
        def execute(sound, patch):
            plant(patch)
            return sound.baseline, executed(sound.setting)

        FAULTS.append(Fault(name=name, caught_by=caught_by, status=status, plant=execute))
        return plant

    return register


def patch_evaluate(patch, wrapped):
    patch.setattr(flow, "evaluate", wrapped)
    patch.setattr(training, "evaluate", wrapped)


def patch_plan(patch, changed):
    patch.setattr(methods, "prune_", lambda model, plan, **options: prune_(model, changed(dict(plan)), **options))


def patch_pruned_count(patch, wrapped):
    patch.setattr("prunebench.pruning.granularities.granularity.pruned_count", wrapped)


def patch_keep_mask(patch, wrapped):
    patch.setattr("prunebench.pruning.prune.keep_mask", wrapped)


@patched("mask not re-applied after the step", caught_by="MaskError", status=None)
def mask_not_reapplied(patch):
    apply_ = Masks.apply_
    patch.setattr(Masks, "apply_", lambda self, model: None if model.training else apply_(self, model))


@patched("one layer's mask not re-applied", caught_by="MaskError", status=None)
def one_mask_not_reapplied(patch):
    apply_ = Masks.apply_

    def all_but_one(self, model):
        masks = {name: mask for name, mask in self.items() if not model.training or name != "conv1.weight"}
        apply_(Masks(masks), model)

    patch.setattr(Masks, "apply_", all_but_one)


@patched("momentum and weight decay revive weights (mask before the step)", caught_by="MaskError", status=None)
def mask_before_the_step(patch):
    apply_, train_epoch = Masks.apply_, training._train_epoch

    def epoch(state, settings, number):
        masks, state.masks = state.masks, None
        state.optimizer.register_step_pre_hook(lambda *_: apply_(masks, state.model))
        done, state.masks = train_epoch(state, settings, number), masks
        return done

    patch.setattr(training, "_train_epoch", epoch)


@patched(">= for > at the threshold", caught_by="nonzeros")
def greater_or_equal(patch):
    patch_keep_mask(patch, lambda scores, count, name: scores >= scores.flatten().kthvalue(count).values)


@patched("ties pruned by highest index first", caught_by="pruned weights, from equal dense weights")
def other_ties(patch):
    def last_first(scores, count, name):
        turned = scores.mul(50).round().flatten().flip(0)  # rounding makes ties
        return keep_mask(turned, count, name=name).flip(0).view(scores.shape)

    patch_keep_mask(patch, last_first)


@patched("floor for round", caught_by="nonzeros")
def floor_for_round(patch):
    patch_pruned_count(patch, lambda numel, sparsity, name: math.floor(sparsity * numel))


@patched("ceil for round", caught_by="nonzeros")
def ceil_for_round(patch):
    patch_pruned_count(patch, lambda numel, sparsity, name: math.ceil(sparsity * numel))


@patched("a percentile for the threshold", caught_by="nonzeros")
def percentile(patch):
    def beyond(scores, count, name):
        return scores > float(np.quantile(scores.detach().numpy(), RUN.sparsity[name]))

    patch_keep_mask(patch, beyond)


@patched("one layer skipped", caught_by="nonzeros")
def layer_skipped(patch):
    patch_plan(patch, lambda plan: plan | {"conv1.weight": 0.0})


@patched("two layers' sparsities swapped", caught_by="nonzeros")
def layers_swapped(patch):
    patch_plan(patch, lambda plan: plan | {"conv0.weight": 0.55, "conv1.weight": 0.21})


@patched("one sparsity off by 0.01", caught_by="nonzeros")
def sparsity_off(patch):
    patch_plan(patch, lambda plan: plan | {"classifier.weight": 0.26})


@patched("the largest weights pruned", caught_by="accuracy of the pruned model")
def largest_pruned(patch):
    patch_keep_mask(patch, lambda scores, count, name: keep_mask(scores.max() - scores, count, name=name))


@patched("evaluation in training mode", caught_by="pruned weights, from equal dense weights")
def training_mode(patch):
    patch.setattr(Tiny, "eval", nn.Module.train)


@patched("evaluation drops the last partial batch", caught_by="RecordError", status=None)
def partial_batch(patch):
    patch_evaluate(patch, lambda model, data, **options: evaluate(model, data.take(torch.arange(500)), **options))


@patched("accuracy divides by n - 1", caught_by="RecordError", status=None)
def one_image_less(patch):
    patch.setattr(Evaluation, "count", property(lambda self: len(self.correct) - 1))


@patched("augmentation left on at test", caught_by="CheckpointError", status=None)
def augmented_test(patch):
    def shifted(data, *, batch_size):
        generator = torch.Generator().manual_seed(0)
        images = augment(data.inputs, Augmentation(crop_padding=4, flip=True), generator)
        return whole_batches(Examples(images, data.targets), batch_size=batch_size)

    patch.setattr("prunebench.tasks.evaluation.whole_batches", shifted)


@patched("labels off for one class", caught_by="accuracy of the dense model")
def labels_off(patch):
    def with_other_labels(model, data, **options):
        return evaluate(model, replace(data, targets=torch.where(data.targets == 3, 4, data.targets)), **options)

    patch_evaluate(patch, with_other_labels)


@patched("half precision where fp32 is claimed, in training", caught_by="RecordError", status=None)
def half_precision_training(patch):
    patch.setattr(training, "arithmetic", lambda device, precision: arithmetic(device, "bf16"))


@patched("half precision where fp32 is claimed, in the weights", caught_by="RecordError", status=None)
def half_precision_weights(patch):
    def rounded(model, plan, **options):
        masks = prune_(model, plan, **options)
        model.half().float()
        return masks

    patch.setattr(methods, "prune_", rounded)


@fault("data in another order", caught_by="same experiment", status=Status.INCOMPARABLE)
def other_order(sound, patch):
    data = sound.setting.data
    turned = Dataset(
        name=data.name,
        train=data.train,
        test=data.test.take(torch.arange(len(data.test)).flip(0)),
        classes=data.classes,
        origin=data.origin,
    )
    return sound.baseline, executed(replace(sound.setting, data=turned))


@fault("another seed called the same", caught_by="training as it was done")
def other_seed(sound, patch):
    record = executed(replace(sound.setting, seed=1))
    return sound.baseline, record.model_copy(update={"seed": 0})


@fault("a baseline edited by hand", caught_by="record and baseline", status=Status.INCOMPARABLE)
def edited_baseline(sound, patch):
    accuracy = sound.baseline.pruned_accuracy
    lowered = accuracy.model_copy(update={"correct": accuracy.correct - 30})
    return sound.baseline.model_copy(update={"pruned_accuracy": lowered}), sound.baseline


@fault(
    "evaluation takes twice as long", caught_by="seconds, evaluation", elsewhere=False
)  # other machines, other times
def slower(sound, patch):
    doubled = [2 * seconds + 0.05 for seconds in (max(sound.baseline.timings.evaluate),) * 2]
    timings = sound.baseline.timings.model_copy(update={"evaluate": doubled})
    return sound.baseline, sound.baseline.model_copy(update={"timings": timings})


for planted in TRAINING_FAULTS:
    patched(planted.name, caught_by=planted.caught_by, status=planted.status)(planted.plant)


def on_another_machine(baseline):
    return baseline.model_copy(update={"environment": baseline.environment | {"cpu": "another processor"}})


def caught(fault, sound, patch):
    """What the fault led to, as (check or error, tier, status)."""
    try:
        baseline, record = fault.plant(sound, patch)
    except PrunebenchError as error:
        return [(type(error).__name__, "pipeline", None)]
    if fault.elsewhere:
        baseline = on_another_machine(baseline)
    with tempfile.TemporaryDirectory() as folder:
        path = baseline_path(case_id(record), Path(folder))
        approval = {"by": "Somebody", "at": "2026-01-03T00:00:00+00:00", "reason": "first", "replaced": None}
        content = {"schema_version": 1, "approval": approval, "record": baseline.model_dump(mode="json")}
        write_text(path, render(content))  # as it is, sound or not
        (verdicts,) = compare_apart([record], Path(folder), thresholds=Thresholds()).values()
    return [
        (verdict.check, verdict.tier, verdict.status)
        for verdict in verdicts
        if verdict.status is not Status.PASS and not verdict.advisory
    ]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        threads = torch.get_num_threads()
        yield sound()
        torch.set_num_threads(threads)


def test_nothing_is_caught_where_nothing_is_planted(reference):
    again = executed(reference.setting).model_copy(update={"timings": reference.baseline.timings})
    verdicts = compare_records({"tiny": reference.baseline}, {"tiny": again})
    assert {Status.PASS} == {verdict.status for verdict in verdicts}


def test_another_number_of_threads_is_no_fault(reference):
    """Training may round otherwise, and time is another; nothing of that decides."""
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        again = executed(reference.setting)
    finally:
        torch.set_num_threads(threads)
    verdicts = compare_records({"tiny": reference.baseline}, {"tiny": again})
    assert {Status.PASS} == {verdict.status for verdict in verdicts if not verdict.advisory}
    assert "repeats byte for byte" not in {verdict.check for verdict in verdicts}


def test_the_best_epoch_is_not_the_last(reference):
    """Two of the faults would be none."""
    assert reference.baseline.finetuning.best_epoch < FINE.epochs


def test_at_least_45_kinds_are_planted():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 45


@pytest.mark.parametrize("planted", FAULTS, ids=lambda planted: planted.name)
def test_is_caught(planted, reference, monkeypatch):
    found = {check: status for check, _, status in caught(planted, reference, monkeypatch)}
    assert planted.caught_by in found
    assert planted.status is found[planted.caught_by]


def matrix():
    """The table, as Markdown."""
    reference = sound()
    yield "| planted | tier | caught by | status |"
    yield "|---|---|---|---|"
    for planted in FAULTS:
        with pytest.MonkeyPatch.context() as patch:
            found = {check: (tier, status) for check, tier, status in caught(planted, reference, patch)}
        tier, status = found[planted.caught_by]
        yield f"| {planted.name} | {tier} | {planted.caught_by} | {status or 'the run stops'} |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PRUNEBENCH_CACHE"] = folder
        start = time.perf_counter()
        print("\n".join(matrix()))  # noqa: T201 - run as a command
        print(f"\n{len(FAULTS)} faults in {time.perf_counter() - start:.0f} s")  # noqa: T201
