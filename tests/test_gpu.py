"""What a GPU computes is what the CPU computes: the same bits where no sum is rounded, else the same answers."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_networks import CLASSES, Plain, built, images

from prunebench.data import Dataset, to_float
from prunebench.documented.runs import DocumentedRun
from prunebench.experiments.flow import Setting, execute, prepare
from prunebench.models import prunable_parameters, state_digest
from prunebench.planning import lamp_scores
from prunebench.pruning import prune_
from prunebench.sensitivity import sensitivity_scan
from prunebench.tasks.evaluation import evaluate
from prunebench.training import Recipe, TrainingProgress, train
from prunebench.workloads import InMemoryWorkload

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.05)
DATA = Dataset(
    name="made up", train=images(96), test=images(90, seed=1), classes=tuple("abcd"[:CLASSES]), origin="here"
)
SPARSITY = dict.fromkeys(prunable_parameters(Plain()), 0.6)


def on_both(model: Plain) -> tuple[Plain, Plain]:
    return model, copy.deepcopy(model).cuda()


def test_pixels_are_the_same_floats() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_float(pixels), to_float(pixels.cuda()).cpu())


def test_pruning_gives_the_same_masks_and_weights() -> None:
    here, there = on_both(built(Plain))
    assert prune_(here, SPARSITY).digest == prune_(there, SPARSITY).digest
    assert state_digest(here.state_dict()) == state_digest(there.state_dict())


def test_lamp_scores_are_the_same() -> None:
    weight = built(Plain).classifier.weight
    assert torch.equal(lamp_scores(weight), lamp_scores(weight.cuda()))


@pytest.mark.parametrize("allowed", ["highest", "high", "medium"])
def test_evaluation_answers_the_same_whatever_the_process_allows(allowed: str) -> None:
    here, there = on_both(built(Plain))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(allowed)
    try:
        assert evaluate(here, DATA.test).correct_bits == evaluate(there, DATA.test).correct_bits
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("mode", ["exact", "adaptive", "decision"])
def test_a_scan_finds_the_same(mode: str) -> None:
    here, there = on_both(built(Plain))
    found = [sensitivity_scan(model, DATA.test, sparsities=(0.3, 0.6), mode=mode, within=6) for model in (here, there)]
    assert found[0].points == found[1].points


def test_a_stopped_training_goes_on_from_its_last_whole_epoch(tmp_path: Path) -> None:
    class Stop(TrainingProgress):
        def step(self, epoch: int, epochs: int, images: int, total: int) -> None:
            if epoch == 3:
                raise KeyboardInterrupt

    def training(progress: TrainingProgress | None = None) -> int:
        return train(
            built(Plain).cuda(),
            DATA.train,
            replace(RECIPE, averaging=0.9),
            selection=DATA.test,
            seed=0,
            state_folder=tmp_path,
            progress=progress,
        ).resumed_after

    with pytest.raises(KeyboardInterrupt):
        training(Stop())
    assert 2 == training()


def test_a_run_from_model_to_record() -> None:
    run = DocumentedRun(name="pruned", model="plain", sparsity=SPARSITY, source="here")

    def setting(device: str) -> Setting:
        workload = InMemoryWorkload(name="mine", recipes={"ci": RECIPE}, module=built(Plain), dataset=DATA)
        return prepare(workload, device=torch.device(device))

    record = execute(run, setting("cuda"))
    assert record.finetuning is not None
    assert torch.cuda.get_device_name() == record.environment["device"]
    on_cpu = execute(run, setting("cpu"), finetune=False)
    assert (on_cpu.nonzeros, on_cpu.masks_digest) == (record.nonzeros, record.masks_digest)
