"""An adaptive scan or a decision: a model is asked random images, those it doubts sooner, until a rule is content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from prunebench.data import Examples
from prunebench.sensitivity.adaptive.activations import Remembering
from prunebench.sensitivity.adaptive.asking import BaseReply, Inquiry, Reply
from prunebench.sensitivity.adaptive.order import Indices, order_of
from prunebench.sensitivity.adaptive.stopping import Question, Settings, points_of
from prunebench.sensitivity.answers import Base, Saving, Version, doubts_of, right_of
from prunebench.sensitivity.exact import ScanProgress
from prunebench.sensitivity.scan import Point
from prunebench.tasks import Task


def ask_enough_images(
    way: Remembering,
    data: Examples,
    versions: Mapping[str, Sequence[Version]],
    base: Base,
    settings: Settings,
    *,
    task: Task,
    batch_size: int,
    saving: Saving,
    progress: ScanProgress,
) -> list[Point]:
    """What was found of those of `versions`, by layer, that the rule of `settings` asked; fills in all of `base`."""
    inquiry = Inquiry(
        _Model(way, data, versions, task),
        base,
        batch_size=batch_size,
        first_batch=settings.first_batch(batch_size),
        saving=saving,
        progress=progress,
    )
    inquiry.ask_base()
    order = order_of(settings.mode, base.doubts, seed=settings.seed)
    questions = {
        layer: [Question(layer=layer, sparsity=version.sparsity, pruned=version.pruned, answers=version.answers,
                         order=order) for version in group]
        for layer, group in versions.items()
    }  # fmt: skip
    inquiry.ask(questions, settings.rule())
    return points_of(questions, base.answers, settings)


class _Model:
    """Answers by running a model."""

    def __init__(self, way: Remembering, data: Examples, versions: Mapping[str, Sequence[Version]], task: Task) -> None:
        self._way = way
        self._data = data
        self._task = task
        self._masks = {
            (layer, version.sparsity): version.mask for layer, group in versions.items() for version in group
        }

    def __call__(self, batch: Indices, questions: Sequence[Question], /, *, base: bool) -> Iterator[Reply | BaseReply]:
        by_layer: dict[str, list[Question]] = {}
        for question in questions:
            by_layer.setdefault(question.layer, []).append(question)
        masks = {name: [self._masks[name, one.sparsity] for one in group] for name, group in by_layer.items()}
        chosen = torch.from_numpy(batch).to(self._data.inputs.device)
        inputs, targets = self._data.fed(self._data.inputs[chosen]), self._data.targets[chosen]
        for layer, version, outputs in self._way.batch(inputs, masks, base=base, which=chosen):
            if layer is None:
                yield BaseReply(right_of(outputs, targets, task=self._task), doubts_of(outputs, task=self._task))
            else:
                yield Reply(by_layer[layer][version], right_of(outputs, targets, task=self._task))
