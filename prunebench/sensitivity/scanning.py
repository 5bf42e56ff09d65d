"""`sensitivity_scan`: asks a model, one layer pruned at a time, as many images as the mode needs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.data import ImageSet, to_float
from prunebench.devices import Precision, model_device
from prunebench.environment import environment, exact_fingerprint
from prunebench.errors import PlanError, ScanError, UnknownNameError
from prunebench.evaluation import answering, check_answers
from prunebench.files import source_digest
from prunebench.measure import count_macs, nonzeros
from prunebench.models import check_model, forward_digest, in_float32, prunable_parameters, state_digest
from prunebench.pruning import CRITERIA, as_sparsity, compounded, keep_masks, pruned_count
from prunebench.revisions import provenance
from prunebench.sensitivity.activations import ActivationCache
from prunebench.sensitivity.answers import UNKNOWN, AnswerStore, Base, Doubts, packed, packed_doubts
from prunebench.sensitivity.asking import BaseReply, Inquiry, Reply, ScanProgress
from prunebench.sensitivity.bounds import HalfWidth
from prunebench.sensitivity.order import LEAST, Indices, Order, order_of
from prunebench.sensitivity.recomputation import Recomputation, recomputation
from prunebench.sensitivity.scan import SPARSITIES, Mode, Scan, ScannedLayer
from prunebench.sensitivity.stopping import BATCH_SIZE, Question, first_batch, points_of, rule_of

ANSWERING_SOURCES = ("data", "devices.py", "evaluation.py", "models", "pruning", "sensitivity")
"""Where, below the package, stands what decides an answer: what others answered is not gone on with."""

_PROBE_IMAGES = 2


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
        layers: parameters by name; all prunable ones by default.
        mode: `exact` asks every image. `adaptive` asks images in random order, those the model as it is doubts
            sooner, until the interval of a point's accuracy, at `confidence`, is as narrow as `half_width` says.
            `decision` finds for each layer the highest sparsity that loses at most `within` points; it is wrong about
            a layer with probability 1 - `confidence` at most.
        precision: of the arithmetic, of the base model's answers too.
        batch_size: images computed at once, 250 by default, which keeps the memory of this VGG under 1 GiB. With
            the size `evaluate` was given, the answers are those of `evaluate` bit for bit.
        seed: of the order in which images are asked; unused by `exact`.
        store: folder that answers are kept in as they are found; None keeps nothing.
        model_name, data_name, origin: for the scan's description.

    Raises:
        UnknownNameError: no such layer, criterion or mode.
        PlanError: a sparsity outside [0, 1], twice the same, or none.
        ScanError: `within`, `confidence`, `half_width`, `batch_size` or `seed` out of range.
        DataError, ModelError: the model cannot be asked about these images.
    """
    started = time.perf_counter()
    model, note = in_float32(check_model(model))
    classes = check_answers(model, data)
    half_width = half_width or HalfWidth()
    rule = rule_of(mode, half_width, within, confidence)
    if seed < 0:
        raise ScanError(f"seed must be at least 0, got {seed}")
    described = scanned_layers(model, tuple(data.images.shape[1:]))  # type: ignore[arg-type]
    device, model_digest = model_device(model), state_digest(model.state_dict())
    key = {
        "model": model_digest,
        "data": data.digest,
        "criterion": criterion,
        "precision": precision,
        "batch_size": batch_size,
        "order": [LEAST[mode], seed] if mode in LEAST else None,
        "machine": exact_fingerprint(device),
        "forward": forward_digest(model),
        "code": source_digest(*ANSWERING_SOURCES),
    }
    answers = AnswerStore(store, key, images=len(data)) if store else None
    masks = _masks(model, sparsities, layers, criterion, compounding=compounding)
    base = answers.load_base() if answers else Base.unknown(len(data))
    with answering(model, precision):
        images = data.to(device)
        way = recomputation(model, to_float(images.images[:_PROBE_IMAGES]))
        inquiry = Inquiry(
            _Model(way, images, masks, cache=ActivationCache(len(data)) if mode in LEAST else None),
            base,
            batch_size=batch_size,
            first_batch=first_batch(mode, batch_size),
            store=answers,
            progress=progress,
        )
        if mode in LEAST:
            inquiry.ask_base()
        order = order_of(mode, base.doubts, seed=seed)
        questions = {name: _questions(name, found, answers, order) for name, found in masks.items()}
        inquiry.ask(questions, rule)
        inquiry.ask_base()
    points = points_of(questions, base.answers, half_width=half_width, confidence=confidence)
    return Scan(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=model_name,
        model_digest=model_digest,
        data=data_name,
        data_digest=data.digest,
        origin="; ".join(filter(None, (origin, note))),
        criterion=criterion,
        precision=precision,
        mode=mode,
        recomputed=way.kind,
        seed=seed,
        batch_size=batch_size,
        confidence=1.0 if mode == "exact" else confidence,
        half_width=half_width.points if mode == "adaptive" else None,
        within=within if mode == "decision" else None,
        compounding=compounding,
        elements=sum(parameter.numel() for parameter in model.parameters()),
        nonzeros=sum(nonzeros(model).values()),
        images=len(data),
        classes=classes,
        base_correct=int(base.answers.sum()),
        base_bits=packed(base.answers == 1),
        base_doubts=packed_doubts(base.doubts),
        layers=described,
        points=points,
        seconds=time.perf_counter() - started,
        environment=environment(device),
        **provenance(),
    )


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
    ordered = sorted(as_sparsity(beta) for beta in sparsities)
    if not ordered or len(set(ordered)) < len(ordered):
        raise PlanError(f"sparsities to scan must be at least one and all different, got {list(sparsities)}")
    masks = {}
    for name, weight in weights.items():
        if layers is None or name in layers:
            zeros = weight.numel() - int(torch.count_nonzero(weight.detach()))
            absolute = [compounded(zeros / weight.numel(), beta) if compounding else beta for beta in ordered]
            absolute = list(dict.fromkeys(absolute))  # of an empty layer every fraction makes the same
            counts = [pruned_count(weight.numel(), sparsity, name=name) for sparsity in absolute]
            kept = keep_masks(CRITERIA[criterion](weight), counts, name=name)
            masks[name] = list(zip(absolute, kept, strict=True))
    return masks


def _questions(
    layer: str, masks: Sequence[tuple[float, Tensor]], store: AnswerStore | None, order: Order
) -> list[Question]:
    questions = []
    for sparsity, mask in masks:
        pruned = mask.numel() - int(mask.sum())
        answers = store.load(layer, pruned) if store else np.full(len(order), UNKNOWN, dtype=np.int8)
        questions.append(Question(layer=layer, sparsity=sparsity, pruned=pruned, answers=answers, order=order))
    return questions


class _Model:
    """Answers by running a model. A `cache` is for images that are asked more than once."""

    def __init__(
        self,
        way: Recomputation,
        data: ImageSet,
        masks: Mapping[str, Sequence[tuple[float, Tensor]]],
        *,
        cache: ActivationCache | None,
    ) -> None:
        self._way = way
        self._data = data
        self._cache = cache
        self._masks = {name: dict(found) for name, found in masks.items()}

    def __call__(self, batch: Indices, questions: Sequence[Question], /, *, base: bool) -> Iterator[Reply | BaseReply]:
        by_layer: dict[str, list[Question]] = {}
        for question in questions:
            by_layer.setdefault(question.layer, []).append(question)
        masks = {name: [self._masks[name][one.sparsity] for one in group] for name, group in by_layer.items()}
        chosen = torch.from_numpy(batch).to(self._data.images.device)
        images, labels = to_float(self._data.images[chosen]), self._data.labels[chosen]
        cached = self._cache.of(chosen) if self._cache else None
        for layer, version, logits in self._way.batch(images, masks, base=base, cached=cached):
            if layer is None:
                yield BaseReply(_right(logits, labels), _doubts(logits))
            else:
                yield Reply(by_layer[layer][version], _right(logits, labels))


def _right(logits: Tensor, labels: Tensor) -> NDArray[np.int8]:
    """As `evaluate` counts: an image whose logits are not all finite is wrong."""
    right = (logits.argmax(dim=1) == labels) & torch.isfinite(logits).all(dim=1)
    return right.to(torch.int8).cpu().numpy()


def _doubts(logits: Tensor) -> Doubts:
    """1 less what the two likeliest classes are apart, in 255ths; all doubt where logits are not finite."""
    likeliest = logits.float().softmax(dim=1).topk(min(2, logits.shape[1]), dim=1).values
    apart = likeliest[:, 0] - likeliest[:, 1:].sum(dim=1)
    doubts: Doubts = (255 * (1 - apart.nan_to_num(0))).round().to(torch.uint8).cpu().numpy()
    return doubts


def scanned_layers(model: nn.Module, image_shape: tuple[int, int, int]) -> list[ScannedLayer]:
    """Every prunable parameter in the model's order, for images of (channels, height, width)."""
    counts, macs = nonzeros(model), count_macs(model, image_shape)
    return [
        ScannedLayer(name=name, shape=list(weight.shape), nonzeros=counts[name], macs=macs[name])
        for name, weight in prunable_parameters(model).items()
    ]
