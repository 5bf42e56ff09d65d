"""What is timed: the lab's way, torch's way and prunebench's way of each job. How it is timed lives in `sides`."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import lab
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from prunebench import pruning
from prunebench.data import Examples, load_cifar10
from prunebench.documented.runs import RUNS
from prunebench.experiments.flow import Setting, execute, prepare
from prunebench.machine.devices import Precision
from prunebench.machine.layout import lay_out_
from prunebench.models import build_model, load_state, load_state_, prunable_parameters
from prunebench.pruning import keep_mask, prune_, pruned_count
from prunebench.sensitivity import SPARSITIES, sensitivity_scan
from prunebench.tasks.evaluation import evaluate
from prunebench.training import train
from prunebench.workloads import DOCUMENTED_RECIPE, find_workload

TABLE = RUNS["run5"].sparsity
WEIGHT, SPARSITY = (512, 512, 3, 3), 0.9
IMAGES = 10_000
REPEATS = 5
"""Masks of a weight in one round: the first after a change of processes is slower, by as much on either side."""

COMMAND = [sys.executable, "-m", "prunebench.cli"]


@dataclass(frozen=True, kw_only=True)
class Material:
    """Images of 32x32 and weights trained on them."""

    name: str
    test: Examples
    train: Examples
    state: Mapping[str, Tensor]


@cache
def material() -> Material:
    """CIFAR-10 and its checkpoint where PRUNEBENCH_DATA and PRUNEBENCH_CHECKPOINT name them, else digits enlarged."""
    data, checkpoint = (os.environ.get(f"PRUNEBENCH_{name}") for name in ("DATA", "CHECKPOINT"))
    if data and checkpoint:
        cifar10 = load_cifar10(Path(data))
        return Material(name="CIFAR-10", test=cifar10.test, train=cifar10.train, state=load_state(Path(checkpoint)))
    digits = digits_setting("fp32")
    return Material(
        name="digits enlarged to 32x32, repeated",
        test=_enlarged(digits.data.test, IMAGES),
        train=_enlarged(digits.data.train, IMAGES),
        state=digits.dense.model.state_dict(),
    )


@cache
def digits_setting(precision: Precision) -> Setting:
    """The digits and their dense model, trained if need be; one epoch a run."""
    setting = prepare(find_workload("digits"), "quick", precision=precision)
    return replace(setting, recipe=setting.recipe.shortened(epochs=1, images_per_epoch=192))


def make_ready(round_: int) -> Callable[[], str]:
    """Load what the jobs need; the name of the images."""
    return lambda: f"{material().name}; {len(digits_setting('fp32').data.test)} digits"


# Threshold and mask of one weight.


@cache
def _weight() -> Tensor:
    return torch.randn(WEIGHT, generator=torch.Generator().manual_seed(0)) * 0.02


Masks = list[np.ndarray]
"""Of each weight, True for what is kept."""


def _and_tied(masks: Callable[[], Masks], weights: Mapping[str, Tensor], table: Mapping[str, float]) -> Reference:
    """What a reference answers: its masks, and where elements are equal to the threshold, of which it may take any."""
    tied = [lab.tied(weights[name].detach(), sparsity).numpy() for name, sparsity in table.items()]
    return lambda: (masks(), tied)


Reference = Callable[[], tuple[Masks, Masks]]


def mask_by_torch_prune(round_: int) -> Reference:
    layers = [nn.Conv2d(WEIGHT[1], WEIGHT[0], 3, bias=False) for _ in range(REPEATS)]
    for layer in layers:
        layer.weight.data.copy_(_weight())

    def work() -> list[np.ndarray]:
        for layer in layers:
            torch_prune.l1_unstructured(layer, "weight", amount=SPARSITY)
            torch_prune.remove(layer, "weight")
        return [layers[-1].weight.detach().numpy() != 0]

    return _and_tied(work, {"weight": _weight()}, {"weight": SPARSITY})


def mask_by_kthvalue(round_: int) -> Reference:
    weight = _weight()
    masks = lambda: [lab.mask_of(weight, SPARSITY).numpy() for _ in range(REPEATS)][-1:]  # noqa: E731
    return _and_tied(masks, {"weight": weight}, {"weight": SPARSITY})


def mask_by_prunebench(round_: int) -> Callable[[], Masks]:
    weight, count = _weight(), pruned_count(_weight().numel(), SPARSITY)
    return lambda: [keep_mask(weight.detach().abs(), count).numpy() for _ in range(REPEATS)][-1:]


# Pruning the whole VGG by run5's table.


def prune_by_lab(round_: int) -> Reference:
    model = vgg(plain=True)
    return _and_tied(lambda: _kept(lab.prune(model, TABLE)), dict(model.named_parameters()), TABLE)


def prune_by_prunebench(round_: int) -> Callable[[], Masks]:
    model = vgg()
    return lambda: _kept(prune_(model, TABLE))


# Evaluation: each round another part of the 10,000 images.


def evaluate_by_lab(round_: int, *, images: int, device: str = "cpu", tf32: bool = False) -> Callable[[], Any]:
    part = _part(material().test, round_, images)
    model, (pixels, labels) = vgg(device=device, plain=True), _arrays(part)

    def work() -> tuple[np.ndarray, int]:
        torch.backends.cudnn.allow_tf32 = tf32
        logits, right = lab.evaluate(model, lab.evaluation_loader(pixels, labels, pinned=device == "cuda"))
        return logits.numpy(), right

    return work


def evaluate_by_prunebench(
    round_: int, *, images: int, precision: Precision = "fp32", device: str = "cpu"
) -> Callable[[], Any]:
    part = _part(material().test, round_, images).to(torch.device(device))
    model = vgg(device=device)

    def work() -> tuple[np.ndarray, int]:
        found = evaluate(model, part, precision=precision)
        return found.answers.numpy(), found.correct_count

    return work


# A sensitivity scan of every layer: the images right at each point.


def scan_by_lab(round_: int, *, images: int, sparsities: tuple[float, ...] = SPARSITIES) -> Callable[[], list[int]]:
    model, part = vgg(plain=True), _part(material().test, round_, images)
    pixels, labels = _arrays(part)
    return lambda: lab.scan(model, tuple(TABLE), sparsities, lab.evaluation_loader(pixels, labels))


def scan_by_prunebench(round_: int, *, images: int, precision: Precision = "fp32") -> Callable[[], list[int]]:
    model, part = vgg(), _part(material().test, round_, images)

    def work() -> list[int]:
        scan = sensitivity_scan(model, part, precision=precision, batch_size=images)
        return [point.correct for point in scan.points]

    return work


# One epoch of fine-tuning under run5's masks.


def train_by_lab(round_: int, *, images: int, device: str = "cpu", tf32: bool = False) -> Callable[[], Any]:
    model = vgg(device=device, plain=True)
    masks = lab.prune(model, TABLE)
    part = _part(material().train, round_, images)
    pixels, labels = _arrays(part)

    def work() -> dict[str, float]:
        torch.backends.cudnn.allow_tf32 = tf32
        loader = lab.training_loader(pixels, labels, padding=4, flip=True, limit=images, pinned=device == "cuda")
        loss = lab.train(model, loader, *lab.optimizer_of(model, epochs=5), masks)
        return _trained(model, masks, loss)

    return work


def train_by_prunebench(
    round_: int, *, images: int, precision: Precision = "fp32", device: str = "cpu"
) -> Callable[[], Any]:
    model = vgg(device=device)
    masks = prune_(model, TABLE)
    part = _part(material().train, round_, images).to(torch.device(device))
    few = part.take(torch.arange(8, device=device))  # `train` evaluates each epoch; the comparison is of training

    def work() -> dict[str, float]:
        recipe = replace(DOCUMENTED_RECIPE, epochs=1)
        training = train(model, part, recipe, selection=few, seed=round_, precision=precision, masks=masks)
        return _trained(model, masks, training.last.loss)

    return work


# The five runs on digits: prune, evaluate, one epoch, evaluate.


def runs_by_lab(round_: int) -> Callable[[], Any]:
    setting = digits_setting("fp32")
    (pixels, labels), (test, answers) = _arrays(setting.data.train), _arrays(setting.data.test)
    recipe = setting.recipe
    weights = dict(setting.dense.model.named_parameters())
    too_many = {
        run.name: sum(lab.pruned_too_many(weights[name].detach(), each) for name, each in run.sparsity.items())
        for run in RUNS.values()
    }

    def work() -> list[tuple[int, int, float]]:
        results = []
        for run in RUNS.values():
            model = copy.deepcopy(setting.dense.model).to(memory_format=torch.contiguous_format)
            masks = lab.prune(model, run.sparsity)
            lab.evaluate(model, lab.evaluation_loader(test, answers))
            loader = lab.training_loader(
                pixels, labels, padding=1, flip=False, limit=recipe.images_per_epoch or 0, batch=recipe.batch_size
            )
            lab.train(model, loader, *lab.optimizer_of(model, epochs=1), masks)
            _, right = lab.evaluate(model, lab.evaluation_loader(test, answers))
            results.append((_nonzeros(model), too_many[run.name], 100 * right / len(answers)))
        return results

    return work


def runs_by_prunebench(round_: int, *, precision: Precision = "fp32") -> Callable[[], Any]:
    setting = replace(digits_setting("fp32"), precision=precision, seed=round_)

    def work() -> list[tuple[int, int, float]]:
        results = []
        for run in RUNS.values():
            record = execute(run, setting)
            assert record.finetuning is not None
            nonzeros = sum(record.nonzeros[name] for name in run.sparsity)
            results.append((nonzeros, 0, record.finetuning.last.percent))
        return results

    return work


# Commands.


def import_torch(round_: int) -> Callable[[], str]:
    return lambda: _output([sys.executable, "-c", "import torch"])


def command(round_: int, *, arguments: tuple[str, ...]) -> Callable[[], str]:
    return lambda: _output([*COMMAND, *arguments])


def _output(line: list[str]) -> str:
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout  # noqa: S603


def vgg(*, device: str = "cpu", plain: bool = False) -> nn.Module:
    """The trained dense VGG, as it lies in memory in prunebench, or `plain`: contiguous."""
    model = build_model("vgg")
    load_state_(model, material().state, origin=material().name)
    model, test = model.to(device), material().test
    return model if plain else lay_out_(model, test.fed(test.inputs[:1]))


def _part(data: Examples, round_: int, images: int) -> Examples:
    """The images of one round: neighbouring rounds have others."""
    return data.take((torch.arange(images) + round_ * images) % len(data))


def _arrays(data: Examples) -> tuple[np.ndarray, list[int]]:
    return data.inputs.permute(0, 2, 3, 1).contiguous().numpy(), data.targets.tolist()


def _enlarged(data: Examples, images: int) -> Examples:
    chosen = data.take(torch.arange(images) % len(data))
    return Examples(chosen.inputs.repeat_interleave(2, 2).repeat_interleave(2, 3), chosen.targets)


def _kept(masks: Mapping[str, Tensor]) -> list[np.ndarray]:
    return [masks[name].numpy() for name in TABLE]


def _trained(model: nn.Module, masks: Mapping[str, Tensor], loss: float) -> dict[str, float]:
    weights = [parameter.detach() for parameter in model.parameters()]
    pruning.Masks({name: mask.to(weights[0].device) for name, mask in masks.items()}).check(model)
    smallest = torch.finfo(torch.float32).smallest_normal
    denormals = sum(int(((weight != 0) & (weight.abs() < smallest)).sum()) for weight in weights)
    return {"loss": loss, "denormals": denormals}


def _nonzeros(model: nn.Module) -> int:
    return sum(int(weight.count_nonzero()) for weight in prunable_parameters(model).values())
