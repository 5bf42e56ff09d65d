"""An adaptive scan or a decision: a model is asked random images, uncertain ones sooner, until a rule is content."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from prunebench.data import Examples
from prunebench.sensitivity.adaptive.activations import Remembering
from prunebench.sensitivity.adaptive.order import Indices, Uncertainty, order_of, packed_uncertainty, uncertainty_of
from prunebench.sensitivity.adaptive.stopping import OpenPoint, Settings, points_of
from prunebench.sensitivity.answers import UNKNOWN, Answers, AnswerStore, Version, right_of
from prunebench.sensitivity.exact import ScanProgress
from prunebench.sensitivity.scan import Point
from prunebench.tasks import Task


def adaptive_points(
    way: Remembering,
    data: Examples,
    versions: Mapping[str, Sequence[Version]],
    settings: Settings,
    *,
    task: Task,
    batch_size: int,
    store: AnswerStore,
    progress: ScanProgress,
) -> tuple[Answers, list[Point], dict[str, Any]]:
    """The answers of the model as it is, points of `versions`, by layer, as far as asked, and the scan's own fields."""
    base, uncertainty = _ask_base(way, data, task=task, batch_size=batch_size, progress=progress)
    order = order_of(settings.mode, uncertainty, seed=settings.seed)
    asked = {
        OpenPoint(layer=layer, sparsity=version.sparsity, answers=version.answers, order=order): version
        for layer, group in versions.items()
        for version in group
    }

    def ask(batch: Indices, points: Sequence[OpenPoint]) -> None:
        by_layer: dict[str, list[Version]] = {}
        for point in points:
            by_layer.setdefault(point.layer, []).append(asked[point])
        masks = {layer: [version.masks for version in group] for layer, group in by_layer.items()}
        which = torch.from_numpy(batch).to(data.inputs.device)
        inputs, targets = data.fed(data.inputs[which]), data.targets[which]
        for layer, index, outputs in way.batch(inputs, masks, base=False, which=which):
            assert layer  # the model as it is was not asked for
            version = by_layer[layer][index]
            version.answers[batch] = right_of(outputs, targets, task=task)
            store.keep(version.answers, layer, version.pruned)

    with store:
        ask_until_settled(ask, [*asked], base, settings, batch_size=batch_size, progress=progress)
    described = settings.described() | {"base_uncertainty": packed_uncertainty(uncertainty)}
    return base, points_of([*asked], base, settings), described


def _ask_base(
    way: Remembering, data: Examples, *, task: Task, batch_size: int, progress: ScanProgress
) -> tuple[Answers, Uncertainty]:
    """Answers to every image, and how uncertain they are; in no file, for this pass also fills the kept activations."""
    right, uncertain = [], []
    for which in torch.split(torch.arange(len(data), device=data.inputs.device), batch_size):
        inputs, targets = data.fed(data.inputs[which]), data.targets[which]
        (answered,) = way.batch(inputs, {}, base=True, which=which)
        right.append(right_of(answered.logits, targets, task=task))
        uncertain.append(uncertainty_of(answered.logits, task=task))
        progress.base_asked(int(which[-1]) + 1, len(data))
    return np.concatenate(right), np.concatenate(uncertain)


def ask_until_settled(
    ask: Callable[[Indices, Sequence[OpenPoint]], object],
    points: Sequence[OpenPoint],
    base: Answers,
    settings: Settings,
    *,
    batch_size: int,
    progress: ScanProgress | None = None,
) -> None:
    """Ask batch after batch until the rule of `settings` has no point open.

    `points` come layer by layer, by rising sparsity, all with one order. Each is asked it from its start, those that
    have come least far first: one that is opened late catches up, and shares the others' batches from then on. `ask`
    fills in the answers of points to a batch of which they lack some.
    """
    rule, most = settings.rule(), len(base) * len(points)
    layers: dict[str, list[OpenPoint]] = {}
    for point in points:
        layers.setdefault(point.layer, []).append(point)
    while open_ := [point for group in layers.values() for point in rule.next(group, base)]:
        start = min(point.asked for point in open_)
        size = batch_size if start else settings.first_batch(batch_size)
        batch = open_[0].order.images[start : start + size]
        behind = [point for point in open_ if point.asked == start]
        if missing := [point for point in behind if UNKNOWN in point.answers[batch]]:
            ask(batch, missing)
        for point in behind:
            point.asked += len(batch)
        if progress:
            progress.asked(sum(point.asked for point in points), most, len(open_))
