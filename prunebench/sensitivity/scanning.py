"""`sensitivity_scan`: asks a model, one layer pruned at a time, as many images as the mode needs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from prunebench.data import Examples
from prunebench.errors import PlanError, ScanError, UnknownNameError
from prunebench.machine.devices import Precision, model_device
from prunebench.machine.environment import ARITHMETIC, environment, exact_fingerprint
from prunebench.measure import count_macs, nonzeros
from prunebench.models import check_model, in_float32, prunable_parameters, state_digest
from prunebench.pruning import (
    Criterion,
    Evidence,
    Granularity,
    as_sparsity,
    check_units,
    compounded,
    find_criterion,
    find_granularity,
    keep_masks,
    scores_of,
)
from prunebench.sensitivity.adaptive.activations import ActivationCache, Remembering
from prunebench.sensitivity.adaptive.asking import adaptive_points
from prunebench.sensitivity.adaptive.bounds import HalfWidth
from prunebench.sensitivity.adaptive.order import MINIMUM_WEIGHTS
from prunebench.sensitivity.adaptive.stopping import Settings
from prunebench.sensitivity.answers import AnswerStore, Version, packed
from prunebench.sensitivity.exact import BATCH_SIZE, ScanProgress, exact_points
from prunebench.sensitivity.recomputation import recomputation
from prunebench.sensitivity.scan import SPARSITIES, Mode, Scan, ScannedLayer
from prunebench.storage.revisions import provenance
from prunebench.tasks import (
    CLASSIFICATION,
    Task,
    answering,
    check_answers,
    check_right_or_wrong,
    forward_digest,
    task_key,
)

_PROBE_IMAGES = 2


def sensitivity_scan(
    model: nn.Module,
    data: Examples,
    *,
    task: Task = CLASSIFICATION,
    sparsities: Sequence[float] = SPARSITIES,
    compounding: bool = False,
    layers: Sequence[str] | None = None,
    mode: Mode = "exact",
    half_width: HalfWidth | None = None,
    within: float = 1.0,
    confidence: float = 0.95,
    criterion: str | Criterion = "magnitude",
    granularity: str | Granularity = "element",
    evidence: Evidence | None = None,
    precision: Precision = "fp32",
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    store: Path | None = None,
    model_name: str = "model",
    data_name: str = "data",
    origin: str = "",
    progress: ScanProgress | None = None,
) -> Scan:
    """Accuracy of `model` on `data` with one layer pruned at each of `sparsities`, the others as they are.

    Args:
        sparsities: absolute; on a pruned model, one below what a layer has already changes nothing.
        compounding: take `sparsities` as fractions of what each layer still has, as the documented runs were planned on
            pruned models; the points hold the absolute sparsity that comes to (`prunebench.pruning.compounded`).
        layers: parameters by name; all prunable ones by default, but for those that `granularity` does not prune.
        granularity: what is pruned as one; by channel a layer's bias and batch norm lose the channel too.
        mode: `exact` asks every image. `adaptive` asks images in random order, uncertain ones sooner, until the
            interval of a point's accuracy, at `confidence`, is as narrow as `half_width` says. `decision` finds for
            each layer the highest sparsity that loses at most `within` points; it is wrong about a layer with
            probability 1 - `confidence` at most.
        evidence: of the model on training examples, for a criterion that needs it.
        precision: of the arithmetic, of the base model's answers too.
        batch_size: images computed at once, 250 by default, which keeps the memory of this VGG under 1 GiB. With
            the size `evaluate` was given, the answers are those of `evaluate` bit for bit.
        seed: of the order in which images are asked; unused by `exact`.
        store: folder that answers are kept in as they are found; None keeps nothing.
        model_name, data_name, origin: for the scan's description.

    Raises:
        UnknownNameError: no such layer, criterion, granularity or mode.
        PlanError: a sparsity outside [0, 1], twice the same, or none; a criterion of channels, or one whose evidence is
            missing.
        ScanError: `batch_size` out of range, or for a mode that uses it `within`, `confidence`, `half_width` or `seed`.
        DataError, ModelError: the model cannot be asked about these images.
    """
    started = time.perf_counter()
    criterion, units = find_criterion(criterion), find_granularity(granularity)
    check_units(criterion, units)
    model, note = in_float32(check_model(model))
    check_right_or_wrong(task)
    check_answers(model, data, task=task)
    if mode not in get_args(Mode):
        raise UnknownNameError("mode", mode, get_args(Mode))
    settings = None
    if mode != "exact":
        settings = Settings(
            mode=mode, half_width=half_width or HalfWidth(), within=within, confidence=confidence, seed=seed
        )
    if batch_size < 1:
        raise ScanError(f"batch size must be at least 1, got {batch_size}")
    described = scanned_layers(model, data.fed(data.inputs[:1]))
    device, model_digest = model_device(model), state_digest(model.state_dict())
    answers = AnswerStore(len(data))
    if store:
        key = {
            "model": model_digest,
            "data": data.digest,
            "criterion": [criterion.name, evidence.digest, evidence.seed] if evidence else criterion.name,
            **({} if units.name == "element" else {"granularity": units.name}),
            "precision": precision,
            "batch_size": batch_size,
            "order": settings and [MINIMUM_WEIGHTS[settings.mode], seed],
            "machine": exact_fingerprint(device),
            "forward": forward_digest(model, data),
            "task": task_key(task),
            "arithmetic": ARITHMETIC,
        }
        answers = AnswerStore(len(data), store, key)
    companions = _open(model, layers, units, data.fed(data.inputs[:1]))
    scores = scores_of(criterion, model, [*companions], evidence)
    versions = _versions(
        model, [*companions], sparsities, units, scores, criterion, compounding=compounding, store=answers
    )
    found: dict[str, Any] = {}
    with answering(model, precision):
        resident = data.to(device)
        probe = resident.fed(resident.inputs[:_PROBE_IMAGES])
        way = recomputation(model, probe, versions, companions=companions)
        asking: dict[str, Any] = {
            "task": task,
            "batch_size": batch_size,
            "store": answers,
            "progress": progress or ScanProgress(),
        }
        if settings is None:
            base, points = exact_points(way, resident, versions, **asking)
        else:
            remembering = Remembering(way, model, probe, ActivationCache(len(data)))
            base, points, found = adaptive_points(remembering, resident, versions, settings, **asking)
    return Scan(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=model_name,
        model_digest=model_digest,
        data=data_name,
        data_digest=data.digest,
        origin="; ".join(filter(None, (origin, note))),
        criterion=criterion.name,
        granularity=units.name,
        precision=precision,
        mode=mode,
        seed=seed,
        **found,
        recomputed=way.kind,
        batch_size=batch_size,
        compounding=compounding,
        elements=sum(parameter.numel() for parameter in model.parameters()),
        nonzeros=sum(nonzeros(model).values()),
        images=len(data),
        guessing=100 * task.guessing(data),
        base_correct=int(base.sum()),
        base_bits=packed(base == 1),
        layers=described,
        points=points,
        seconds=time.perf_counter() - started,
        environment=environment(device),
        **provenance(),
    )


def _open(model: nn.Module, layers: Sequence[str] | None, units: Granularity, example: Tensor) -> dict[str, list[str]]:
    """The layers to scan in the model's order, each with the parameters that lose its units too."""
    weights = prunable_parameters(model)
    for name in layers or ():
        if name not in weights:
            raise UnknownNameError("layer", name, weights)
    found = {}
    for name, weight in weights.items():
        if layers is not None and name not in layers:
            continue
        try:
            units.unit_size(weight.shape, name=name)
            found[name] = units.companions(model, [name], example).get(name, [])
        except PlanError:
            if layers is not None:
                raise
    if not found:
        raise PlanError(f"no layer of the model can be pruned by granularity '{units.name}'")
    return found


def _versions(
    model: nn.Module,
    names: Sequence[str],
    sparsities: Sequence[float],
    units: Granularity,
    scores: Mapping[str, Tensor],
    criterion: Criterion,
    *,
    compounding: bool,
    store: AnswerStore,
) -> dict[str, list[Version]]:
    """By layer in the model's order, by rising sparsity, with masks from one selection a layer and what is known."""
    weights = prunable_parameters(model)
    ordered = sorted(as_sparsity(beta) for beta in sparsities)
    if not ordered or len(set(ordered)) < len(ordered):
        raise PlanError(f"sparsities to scan must be at least one and all different, got {list(sparsities)}")
    versions = {}
    for name in names:
        weight = weights[name]
        zeros = weight.numel() - int(torch.count_nonzero(weight.detach()))
        absolute = [compounded(zeros / weight.numel(), beta) if compounding else beta for beta in ordered]
        absolute = list(dict.fromkeys(absolute))  # of an empty layer every fraction makes the same
        counts = [units.pruned_units(weight.shape, sparsity, name=name) for sparsity in absolute]
        order = units.order(units.unit_scores(scores[name], criterion.aggregation), name=name)
        size, kept = units.unit_size(weight.shape, name=name), keep_masks(order, counts, name=name)
        versions[name] = [
            Version(
                layer=name,
                sparsity=sparsity,
                pruned=count * size,
                mask=units.expand(mask, weight.shape),
                answers=store.load(name, count * size),
            )
            for sparsity, count, mask in zip(absolute, counts, kept, strict=True)
        ]
    return versions


def scanned_layers(model: nn.Module, example: Tensor | Sequence[int]) -> list[ScannedLayer]:
    """Every prunable parameter in the model's order; `example` as `count_macs` takes it."""
    counts, macs = nonzeros(model), count_macs(model, example)
    return [
        ScannedLayer(name=name, shape=list(weight.shape), nonzeros=counts[name], macs=macs[name])
        for name, weight in prunable_parameters(model).items()
    ]
