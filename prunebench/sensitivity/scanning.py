"""`sensitivity_scan`: asks a model, one layer pruned at a time, as many images as the mode needs."""

from __future__ import annotations

import time
from collections.abc import Sequence
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
    plan_masks,
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
        granularity: what is pruned as one; by channel a layer's bias and batch norm lose the channel too. Layers that
            share channels have one point, by the name of the first, in which all of them are pruned.
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
    masking = _Masking(model, units, criterion, evidence, data.fed(data.inputs[:1]), layers)
    versions = _versions(masking, sparsities, compounding=compounding, store=answers)
    found: dict[str, Any] = {}
    with answering(model, precision):
        resident = data.to(device)
        probe = resident.fed(resident.inputs[:_PROBE_IMAGES])
        way = recomputation(model, probe, masking.layers)
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


class _Masking:
    """The layers to scan, and their masks at any sparsity.

    Attributes:
        names: of the points, in the model's order; of layers that share channels the first.
        layers: all that lose something, by parameter name.
    """

    def __init__(
        self,
        model: nn.Module,
        units: Granularity,
        criterion: Criterion,
        evidence: Evidence | None,
        example: Tensor,
        layers: Sequence[str] | None,
    ) -> None:
        self.weights = prunable_parameters(model)
        for name in layers or ():
            if name not in self.weights:
                raise UnknownNameError("layer", name, self.weights)
        self._model, self._units, self._criterion = model, units, criterion
        self._evidence, self._example = evidence, example
        together = {name: group for group in units.coupled(model, example) for name in group}
        self._members: dict[str, Sequence[str]] = {}
        self._companions: dict[str, Sequence[str]] = {}
        for name, weight in self.weights.items():
            members = together.get(name, [name])
            wanted = layers is None or not {*members}.isdisjoint(layers)
            if not wanted or name != next(each for each in self.weights if each in members):
                continue
            try:
                units.unit_size(weight.shape, name=name)
                self._companions[name] = units.companions(model, [name], example).get(name, [])
                self._members[name] = members
            except PlanError:
                if layers is not None:
                    raise
        if not self._members:
            raise PlanError(f"no layer of the model can be pruned by granularity '{units.name}'")
        self.names = [*self._members]
        self.layers = [each for each in self.weights if any(each in members for members in self._members.values())]
        self._scores = scores_of(criterion, model, self.names, evidence)

    def pruned(self, name: str, sparsity: float) -> int:
        """Elements of the layer that a sparsity prunes."""
        return self._units.pruned_elements(self.weights[name].shape, sparsity, name=name)

    def masks(self, name: str, sparsities: Sequence[float]) -> list[dict[str, Tensor]]:
        """The masks of each sparsity by parameter name, from one selection of a layer that shares no channels."""
        if len(self._members[name]) > 1:
            return [self._together(name, sparsity) for sparsity in sparsities]
        weight = self.weights[name]
        counts = [self._units.pruned_units(weight.shape, sparsity, name=name) for sparsity in sparsities]
        scores = self._units.unit_scores(self._scores[name], self._criterion.aggregation)
        found = []
        for kept in keep_masks(self._units.order(scores, name=name), counts, name=name):
            mask = self._units.expand(kept, weight.shape)
            channels = {each: mask.flatten(1).any(dim=1) for each in self._companions[name]}
            found.append({name: mask, **channels})
        return found

    def _together(self, name: str, sparsity: float) -> dict[str, Tensor]:
        plan = dict.fromkeys(self.weights, 0.0) | dict.fromkeys(self._members[name], sparsity)
        masks = plan_masks(
            self._model,
            plan,
            criterion=self._criterion,
            granularity=self._units,
            example=self._example,
            evidence=self._evidence,
        )
        return {each: mask for each, mask in masks.items() if each in self._members[name] or not mask.all()}


def _versions(
    masking: _Masking, sparsities: Sequence[float], *, compounding: bool, store: AnswerStore
) -> dict[str, list[Version]]:
    """By layer in the model's order, by rising sparsity, with masks and what is known."""
    ordered = sorted(as_sparsity(beta) for beta in sparsities)
    if not ordered or len(set(ordered)) < len(ordered):
        raise PlanError(f"sparsities to scan must be at least one and all different, got {list(sparsities)}")
    versions = {}
    for name in masking.names:
        weight = masking.weights[name]
        zeros = weight.numel() - int(torch.count_nonzero(weight.detach()))
        absolute = [compounded(zeros / weight.numel(), beta) if compounding else beta for beta in ordered]
        absolute = list(dict.fromkeys(absolute))  # of an empty layer every fraction makes the same
        versions[name] = [
            Version(
                layer=name,
                sparsity=sparsity,
                pruned=masking.pruned(name, sparsity),
                masks=masks,
                answers=store.load(name, masking.pruned(name, sparsity)),
            )
            for sparsity, masks in zip(absolute, masking.masks(name, absolute), strict=True)
        ]
    return versions


def scanned_layers(model: nn.Module, example: Tensor | Sequence[int]) -> list[ScannedLayer]:
    """Every prunable parameter in the model's order; `example` as `count_macs` takes it."""
    counts, macs = nonzeros(model), count_macs(model, example)
    return [
        ScannedLayer(name=name, shape=list(weight.shape), nonzeros=counts[name], macs=macs[name])
        for name, weight in prunable_parameters(model).items()
    ]
