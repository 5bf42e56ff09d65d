"""`sensitivity_scan`: asks a model, one layer pruned at a time, as many images as the mode needs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.data import ImageSet, to_float
from prunebench.devices import Precision, arithmetic, model_device
from prunebench.environment import environment, exact_fingerprint
from prunebench.errors import PlanError, ScanError, UnknownNameError
from prunebench.evaluation import evaluation_mode
from prunebench.measure import count_macs, nonzeros
from prunebench.models import prunable_parameters, state_digest
from prunebench.pruning import CRITERIA, compounded, keep_masks, pruned_count
from prunebench.sensitivity.answers import UNKNOWN, Answers, AnswerStore, packed
from prunebench.sensitivity.bounds import HalfWidth
from prunebench.sensitivity.recomputation import Recomputation, recomputation
from prunebench.sensitivity.scan import SPARSITIES, Mode, Point, Scan, ScannedLayer
from prunebench.sensitivity.stopping import EveryImage, HighestWithin, NarrowInterval, Question, Rule, interval

EXACT_BATCH_SIZE = 500
ADAPTIVE_BATCH_SIZE = 250
DECISION_BATCH_SIZE = 125
_PROBE_IMAGES = 2


class ScanProgress:
    """What a scan tells whoever watches; every method may be left as it is."""

    def asked(self, answered: int, most: int, open_points: int) -> None:
        """`answered` answers are known of the `most` that may be needed; `open_points` points need more."""


def sensitivity_scan(
    model: nn.Module,
    data: ImageSet,
    *,
    sparsities: Sequence[float] = SPARSITIES,
    compounding: bool = False,
    layers: Sequence[str] | None = None,
    mode: Mode = "exact",
    half_width: HalfWidth | None = None,
    within: float = 1.0,
    confidence: float = 0.95,
    criterion: str = "magnitude",
    precision: Precision = "fp32",
    batch_size: int | None = None,
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
        layers: parameters by name; all prunable ones by default.
        mode: `exact` asks every image. `adaptive` asks images in random order until the interval of a point's
            accuracy, at `confidence`, is as narrow as `half_width` says. `decision` finds for each layer the highest
            sparsity that loses at most `within` points; it is wrong about a layer with probability 1 - `confidence` at
            most.
        precision: of the arithmetic, of the base model's answers too.
        batch_size: images computed at once; with those of `evaluate`, the answers are those of `evaluate` bit for bit.
        seed: of the order in which images are asked; unused by `exact`.
        store: folder that answers are kept in as they are found; None keeps nothing.
        model_name, data_name, origin: for the scan's description.

    Raises:
        UnknownNameError: no such layer or criterion.
        PlanError: a sparsity outside [0, 1], twice the same, or none.
        ScanError: `within`, `confidence` or `half_width` out of range.
    """
    started = time.perf_counter()
    half_width, batch_size = half_width or HalfWidth(), batch_size or _BATCH_SIZES[mode]
    rule = _rule(mode, half_width, within, confidence)
    order_seed = None if mode == "exact" else seed
    device, model_digest = model_device(model), state_digest(model.state_dict())
    key = {
        "model": model_digest,
        "data": data.digest,
        "criterion": criterion,
        "precision": precision,
        "batch_size": batch_size,
        "order": order_seed,
        "machine": exact_fingerprint(device),
    }
    answers = AnswerStore(store, key, images=len(data)) if store else None
    masks = _masks(model, sparsities, layers, criterion, compounding=compounding)
    questions = {name: _questions(name, found, answers, images=len(data)) for name, found in masks.items()}
    batches = _batches(len(data), batch_size, seed=order_seed)
    with evaluation_mode(model), torch.inference_mode(), arithmetic(device, precision):
        torch.set_autocast_cache_enabled(False)  # it would keep the bf16 copy of a weight that was swapped
        images = data.to(device)
        way = recomputation(model, to_float(images.images[:_PROBE_IMAGES]))
        base = _ask(way, images, questions, batches, rule=rule, store=answers, progress=progress or ScanProgress())
    points = [
        _point(question, base, half_width=half_width, confidence=confidence)
        for group in questions.values()
        for question in group
        if len(question.images())
    ]
    sizes = nonzeros(model)
    return Scan(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=model_name,
        model_digest=model_digest,
        data=data_name,
        data_digest=data.digest,
        origin=origin,
        criterion=criterion,
        precision=precision,
        mode=mode,
        recomputed=way.kind,
        seed=seed,
        batch_size=batch_size,
        confidence=1.0 if mode == "exact" else confidence,
        half_width=half_width.points if mode == "adaptive" else None,
        within=within if mode == "decision" else None,
        elements=sum(parameter.numel() for parameter in model.parameters()),
        nonzeros=sum(sizes.values()),
        images=len(data),
        base_correct=int(base.sum()),
        base_bits=packed(base == 1),
        layers=_layers(model, sizes, data),
        points=points,
        seconds=time.perf_counter() - started,
        environment=environment(device),
    )


_BATCH_SIZES: Mapping[Mode, int] = {
    "exact": EXACT_BATCH_SIZE,
    "adaptive": ADAPTIVE_BATCH_SIZE,
    "decision": DECISION_BATCH_SIZE,
}


def _rule(mode: Mode, half_width: HalfWidth, within: float, confidence: float) -> Rule:
    if not 0.5 <= confidence < 1:
        raise ScanError(f"confidence must be at least 0.5 and below 1, got {confidence}")
    if not 0 < half_width.points <= 100:
        raise ScanError(f"half width must be above 0 and at most 100 points, got {half_width.points}")
    if not 0 <= within <= 100:
        raise ScanError(f"within must be from 0 to 100 points, got {within}")
    rules: dict[Mode, Rule] = {
        "exact": EveryImage(),
        "adaptive": NarrowInterval(half_width, confidence),
        "decision": HighestWithin(within, 1 - confidence),
    }
    return rules[mode]


def _masks(
    model: nn.Module, sparsities: Sequence[float], layers: Sequence[str] | None, criterion: str, *, compounding: bool
) -> dict[str, list[tuple[float, Tensor]]]:
    """By layer in the model's order: absolute sparsities, rising, and their masks, from one selection a layer."""
    weights = prunable_parameters(model)
    for name in layers or ():
        if name not in weights:
            raise UnknownNameError("layer", name, weights)
    if criterion not in CRITERIA:
        raise UnknownNameError("criterion", criterion, CRITERIA)
    ordered = sorted(sparsities)
    if not ordered or len(set(ordered)) < len(ordered):
        raise PlanError(f"sparsities to scan must be at least one and all different, got {list(sparsities)}")
    masks = {}
    for name, weight in weights.items():
        if layers is None or name in layers:
            zeros = weight.numel() - int(torch.count_nonzero(weight.detach()))
            absolute = [compounded(zeros / weight.numel(), beta) if compounding else float(beta) for beta in ordered]
            counts = [pruned_count(weight.numel(), sparsity, name=name) for sparsity in absolute]
            kept = keep_masks(CRITERIA[criterion](weight), counts, name=name)
            masks[name] = list(zip(absolute, kept, strict=True))
    return masks


def _questions(
    layer: str, masks: Sequence[tuple[float, Tensor]], store: AnswerStore | None, *, images: int
) -> list[Question]:
    questions = []
    for sparsity, mask in masks:
        pruned = mask.numel() - int(mask.sum())
        answers = store.load(layer, pruned) if store else np.full(images, UNKNOWN, dtype=np.int8)
        questions.append(Question(layer=layer, sparsity=sparsity, pruned=pruned, mask=mask, answers=answers))
    return questions


def _batches(images: int, size: int, *, seed: int | None) -> list[NDArray[np.int64]]:
    order = np.arange(images) if seed is None else np.random.default_rng(seed).permutation(images)
    return [order[start : start + size] for start in range(0, images, size)]


def _ask(
    way: Recomputation,
    data: ImageSet,
    questions: Mapping[str, list[Question]],
    batches: Sequence[NDArray[np.int64]],
    *,
    rule: Rule,
    store: AnswerStore | None,
    progress: ScanProgress,
) -> Answers:
    """Ask batch after batch, again from the first after the last, until no question is open; the base model's answers.

    A question opened late starts where the others are: any stretch of a random order is a random sample.
    """
    base = store.load(None, 0) if store else np.full(len(data), UNKNOWN, dtype=np.int8)
    everything = [question for group in questions.values() for question in group]
    if any(question.is_complete() for question in everything):  # from before; what they lose is known with `base` only
        _complete(way, data, batches, base, store)
    step, most = 0, len(data) * len(everything)
    while open_ := [question for group in questions.values() for question in rule.next(group, base)]:
        batch = batches[step % len(batches)]
        _answer(way, data, batch, open_, base, store)
        for question in open_:
            question.asked.append(batch)
        progress.asked(sum(len(question.images()) for question in everything), most, len(open_))
        step += 1
    _complete(way, data, batches, base, store)
    return base


def _complete(
    way: Recomputation,
    data: ImageSet,
    batches: Sequence[NDArray[np.int64]],
    base: Answers,
    store: AnswerStore | None,
) -> None:
    """Ask the model as it is what it was not asked yet."""
    for batch in batches:
        _answer(way, data, batch, [], base, store)


def _answer(
    way: Recomputation,
    data: ImageSet,
    batch: NDArray[np.int64],
    questions: Sequence[Question],
    base: Answers,
    store: AnswerStore | None,
) -> None:
    """Fill in what is not known yet of one batch, and keep it."""
    missing: dict[str, list[Question]] = {}
    for question in questions:
        if (question.answers[batch] == UNKNOWN).any():
            missing.setdefault(question.layer, []).append(question)
    if not missing and (base[batch] != UNKNOWN).all():
        return
    chosen = torch.from_numpy(batch).to(data.images.device)
    images, labels = to_float(data.images[chosen]), data.labels[chosen]
    masks = {layer: [question.mask for question in group] for layer, group in missing.items()}
    for layer, version, logits in way.batch(images, masks):
        right = _right(logits, labels)
        if layer is None:
            base[batch] = right
            if store:
                store.save(None, 0, base)
        else:
            question = missing[layer][version]
            question.answers[batch] = right
            if store:
                store.save(layer, question.pruned, question.answers)


def _right(logits: Tensor, labels: Tensor) -> NDArray[np.int8]:
    """As `evaluate` counts: an image whose logits are not all finite is wrong."""
    right = (logits.argmax(dim=1) == labels) & torch.isfinite(logits).all(dim=1)
    return right.to(torch.int8).cpu().numpy()


def _point(question: Question, base: Answers, *, half_width: HalfWidth, confidence: float) -> Point:
    images, outcomes = question.images(), question.outcomes(base)
    drop = interval(question, base, half_width=half_width, confidence=confidence)
    accuracy = 100 * int(base.sum()) / len(base)
    return Point(
        layer=question.layer,
        sparsity=question.sparsity,
        images=len(images),
        correct=int(question.answers[images].sum()),
        lost=int((outcomes == 1).sum()),
        gained=int((outcomes == -1).sum()),
        accuracy=_percent(accuracy - drop.estimate),
        low=_percent(accuracy - drop.high),
        high=_percent(accuracy - drop.low),
        correct_bits=packed(question.answers == 1) if len(images) == len(base) else None,
        keeps=question.keeps,
    )


def _percent(value: float) -> float:
    return float(min(max(value, 0.0), 100.0))


def _layers(model: nn.Module, sizes: Mapping[str, int], data: ImageSet) -> list[ScannedLayer]:
    channels, height, width = data.images.shape[1:]
    macs = count_macs(model, (channels, height, width))
    return [
        ScannedLayer(name=name, shape=list(weight.shape), nonzeros=sizes[name], macs=macs[name])
        for name, weight in prunable_parameters(model).items()
    ]
