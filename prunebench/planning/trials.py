"""Plans that are measured: one by one, and in a search for a better one.

What a plan is measured by comes in as a callable, so the search knows nothing of images, devices or recipes. Plans are
chosen by what they measure: give images that the result is not reported on, a held-out part of the training set, say.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from torch import nn

from prunebench.data import Examples
from prunebench.machine.devices import Precision
from prunebench.planning.costs import Cost, Inventory
from prunebench.planning.search import local_search
from prunebench.pruning import Masks, prune_
from prunebench.storage.documents import Count, Part, Percent
from prunebench.tasks import CLASSIFICATION, BatchProgress, Task, evaluate

FineTune = Callable[[nn.Module, Masks], None]
"""Fine-tunes a pruned model in place, under its masks."""


class Measured(Part):
    """Accuracy of a pruned model in percent, and after fine-tuning where that was done.

    `smooth` is the smooth accuracy (`Evaluation.smooth_accuracy`) that goes with the last of them.
    """

    accuracy: Percent
    finetuned: Percent | None = None
    smooth: Percent | None = None

    @property
    def decisive(self) -> float:
        """The accuracy that counts: after fine-tuning where there is any, else before."""
        return self.accuracy if self.finetuned is None else self.finetuned

    @property
    def score(self) -> float:
        """The score that plans of one cost are compared by, higher is better: the mean of accuracy and smooth accuracy.

        Few images tell the smooth one better, but it is not what the goal is about (docs/how-to/choose-a-table.md).
        """
        return self.decisive if self.smooth is None else (self.decisive + self.smooth) / 2


Measure = Callable[[Mapping[str, float]], Measured]
"""Prunes a copy of the base model by a sparsity for each layer, and measures it."""

MeasureAll = Callable[[Iterable[Mapping[str, float]]], Iterable[Measured]]
"""Measures several, in their order."""

Kind = Literal["base", "start", "search"]


class Trial(Part):
    """One measured set of sparsities.

    Attributes:
        kind: the base model; a start, which a search begins from; one of the search.
        nonzeros: over all parameters.
    """

    kind: Kind
    sparsity: dict[str, float]
    nonzeros: Count
    measured: Measured


def measure_on(
    model: nn.Module,
    images: Examples,
    *,
    task: Task = CLASSIFICATION,
    finetune: FineTune | None = None,
    precision: Precision = "fp32",
    progress: BatchProgress | None = None,
) -> Measure:
    """Measure plans by pruning copies of `model`, by magnitude, and evaluating them on `images` in `precision`.

    The base model is measured as it is and not fine-tuned.
    """

    def measure(sparsity: Mapping[str, float]) -> Measured:
        pruned = copy.deepcopy(model)
        zeros = Masks.of_zeros(pruned)
        masks = prune_(pruned, sparsity)
        before = evaluate(pruned, images, task=task, precision=precision, progress=progress)
        changed = any(bool((zeros[name] & ~masks[name]).any()) for name in masks)
        if finetune is None or not changed:
            return Measured(accuracy=before.accuracy, smooth=before.smooth_accuracy)
        finetune(pruned, masks)
        after = evaluate(pruned, images, task=task, precision=precision, progress=progress)
        return Measured(accuracy=before.accuracy, finetuned=after.accuracy, smooth=after.smooth_accuracy)

    return measure


def search_plans(
    starts: Iterable[Mapping[str, int]],
    measure: MeasureAll,
    *,
    inventory: Inventory,
    cost: Cost,
    limit: float,
    evaluations: int,
    seed: int = 0,
    finished: Sequence[Trial] = (),
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> tuple[Trial, list[Trial]]:
    """The best plan found, and all trials in order: the base model, the starts, then a local search from the best.

    Args:
        starts: elements kept by layer, within the limit.
        measure: of about ten at once; `partial(map, measure_on(...))` takes one after the other.
        evaluations: most measurements of the local search; the base model and the starts come on top.
        seed: of the search.
        finished: trials of an earlier, stopped search; they are not measured again.
        on_trial: called after each measurement that was not finished before.
    """
    known = {_key(trial.sparsity): trial.measured for trial in finished}
    trials: dict[tuple[tuple[str, float], ...], Trial] = {}
    untouched = {layer.name: layer.sparsity for layer in inventory.fixed}

    def tried(kind: Kind, plans: Sequence[Mapping[str, int]]) -> list[Trial]:
        sparsities = [{**untouched, **inventory.sparsity(kept)} for kept in plans]
        unknown = {key: each for each in sparsities if (key := _key(each)) not in known}
        measured = iter(measure(unknown.values()))
        for kept, sparsity in zip(plans, sparsities, strict=True):
            if (key := _key(sparsity)) in trials:
                continue
            nonzeros, is_new = sum(kept.values()) + inventory.other_nonzeros, key not in known
            if is_new:
                known[key] = next(measured)
            trials[key] = Trial(kind=kind, sparsity=sparsity, nonzeros=nonzeros, measured=known[key])
            if is_new:
                on_trial(trials[key])
        return [trials[_key(sparsity)] for sparsity in sparsities]

    def scores(plans: Sequence[Mapping[str, int]]) -> list[float]:
        return [trial.measured.score for trial in tried("search", plans)]

    base = inventory.base_kept
    tried("base", [base])
    possible = [*starts, base] if inventory.total(cost, base) <= limit else [*starts]
    start = max(tried("start", possible), key=lambda trial: trial.measured.score)
    found = local_search(
        inventory.kept(start.sparsity),
        scores,
        inventory=inventory,
        cost=cost,
        limit=limit,
        evaluations=evaluations,
        seed=seed,
    )
    best = max(start, *tried("search", [found]), key=lambda trial: trial.measured.score)
    return best, list(trials.values())


def _key(sparsity: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(sparsity.items()))
