"""The loop that plans, prunes, measures, corrects for layers acting together, and plans again.

What a plan is measured by comes in as a callable, so nothing here knows of images, devices or recipes. Plans are
chosen by what they measure: give images that the result is not reported on, a held-out part of the training set, say.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from prunebench.data import Examples
from prunebench.errors import PlanError
from prunebench.machine.devices import Precision
from prunebench.planning.costs import Cost
from prunebench.planning.curves import Curves
from prunebench.planning.interaction import (
    Interaction,
    fit_interaction,
    layer_losses,
    loss_of,
    predicted_accuracy,
)
from prunebench.planning.optimise import STEP, Goal, optimal_plan
from prunebench.planning.search import local_search
from prunebench.pruning import Masks, prune_
from prunebench.storage.documents import Count, Part, Percent
from prunebench.tasks import CLASSIFICATION, BatchProgress, Task, evaluate

FineTune = Callable[[nn.Module, Masks], None]
"""Fine-tunes a pruned model in place, under its masks."""


class Measured(Part):
    """A pruned model on the images that plans are chosen by: accuracy in percent, after fine-tuning too where done.

    `smooth` is the smooth accuracy (`Evaluation.smooth_accuracy`) that goes with the last of them.
    """

    accuracy: Percent
    finetuned: Percent | None = None
    smooth: Percent | None = None

    @property
    def decisive(self) -> float:
        """The accuracy that the goal is about: after fine-tuning where there is any, else before."""
        return self.accuracy if self.finetuned is None else self.finetuned

    @property
    def score(self) -> float:
        """The score that plans of one cost are compared by, higher is better: the mean of accuracy and smooth accuracy.

        Few images tell the smooth one better, but it is not what the goal is about (docs/planning.md).
        """
        return self.decisive if self.smooth is None else (self.decisive + self.smooth) / 2


Measure = Callable[[Mapping[str, float]], Measured]
"""Prunes a copy of the base model by a sparsity for each layer, and measures it."""

Kind = Literal["base", "start", "plan", "probe", "search"]


class Trial(Part):
    """One measured set of sparsities.

    Attributes:
        kind: the base model; a start, a plan that was given; the plan of a round; a probe, that plan with one layer
            left as in the base model; one of the local search.
        round: from 1; 0 for the base model and the starts.
        nonzeros: over all parameters.
        predicted: percent, by what was known when it was planned, on the same images; None where nothing was predicted.
    """

    kind: Kind
    round: Count
    sparsity: dict[str, float]
    nonzeros: Count
    predicted: Percent | None = None
    measured: Measured


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """All that was measured, in order, and what came of it.

    Attributes:
        interaction: fitted to all of it.
        best: of what meets the goal by its measurement: with a limit that of the best score, with a largest drop the
            cheapest, which is the base model where no plan keeps within the drop.
    """

    trials: Sequence[Trial]
    interaction: Interaction
    best: Trial


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


def refine(
    curves: Curves,
    goal: Goal,
    measure: Measure,
    *,
    rounds: int,
    probes: bool = True,
    starts: Sequence[Mapping[str, float]] = (),
    search: int = 0,
    seed: int = 0,
    step: float = STEP,
    finished: Sequence[Trial] = (),
    on_trial: Callable[[Trial], None] | None = None,
) -> Refinement:
    """Plan, measure, correct, `rounds` times; fewer where correcting leads back to a plan that is measured already.

    Each round's plan is the optimum under the law of interaction fitted to all measurements before it. Each is
    independent of the last: all start from the base model.

    Args:
        probes: measure, each round, also the plan with one layer at a time left as in the base model: what a layer
            costs amid the others, which its curve does not show. As many measurements more as layers were pruned.
        starts: plans by other rules, measured first: they teach how layers act together, and may be the best.
        search: after the rounds, so many measurements of a local search from the best plan; only with a limit.
        seed: of the search.
        finished: trials of an earlier, stopped refinement of the same thing; they are not measured again.
        on_trial: called after each measurement that was not finished before.

    Raises:
        PlanError: the goal cannot be met by the curves; fewer than one round; a search without a limit.
    """
    if rounds < 1:
        raise PlanError(f"rounds of refinement must be at least 1, got {rounds}")
    if search and goal.limit is None:
        raise PlanError("a local search moves sparsity at a fixed cost: it needs a limit, not a largest drop")
    loop = _Loop(curves, goal, measure, finished=finished, on_trial=on_trial)
    for start in map(loop.exact, starts):
        loop.trial("start", 0, start, loop.predicted(start, Interaction()) if loop.on_curves(start) else None)
    for number in range(1, rounds + 1):
        interaction = loop.fitted()
        plan = loop.exact(optimal_plan(curves, loop.on_scanned_images(), interaction=interaction, step=step))
        if loop.knows(plan, "plan"):
            break
        loop.trial("plan", number, plan, predicted=loop.predicted(plan, interaction))
        if probes:
            fitted = loop.fitted()
            for probe in loop.with_one_layer_left(plan):
                loop.trial("probe", number, probe, predicted=loop.predicted(probe, fitted))
    if search:
        loop.search(search, round_=rounds + 1, seed=seed)
    return Refinement(trials=tuple(loop.trials), interaction=loop.fitted(), best=loop.best())


class _Loop:
    """The state of one refinement: what it measured so far."""

    def __init__(
        self,
        curves: Curves,
        goal: Goal,
        measure: Measure,
        *,
        finished: Sequence[Trial],
        on_trial: Callable[[Trial], None] | None,
    ) -> None:
        self.curves, self.goal, self.measure, self.on_trial = curves, goal, measure, on_trial
        self.inventory = curves.inventory
        self.known = {_key(trial.sparsity): trial for trial in finished}
        self.trials: list[Trial] = []
        self.base = self.exact({layer.name: layer.sparsity for layer in self.inventory.layers})
        self.base_accuracy = self.trial("base", 0, self.base).measured.accuracy
        if self.base_accuracy <= curves.chance:
            raise PlanError(
                f"the base model gets {self.base_accuracy:.2f} % of the images right that plans are chosen by: "
                f"expected more than guessing, {curves.chance:.2f} %"
            )

    def exact(self, sparsity: Mapping[str, float]) -> dict[str, float]:
        """Sparsities of the same counts in the fewest digits, so that equal plans are seen to be equal."""
        return self.inventory.sparsity(self.inventory.kept(sparsity))

    def trial(self, kind: Kind, number: int, sparsity: dict[str, float], predicted: float | None = None) -> Trial:
        """A trial of these sparsities, measured now or taken from before."""
        before = self.known.get(_key(sparsity))
        trial = Trial(
            kind=kind,
            round=number,
            sparsity=sparsity,
            nonzeros=sum(self.inventory.kept(sparsity).values()) + self.inventory.other_nonzeros,
            predicted=predicted,
            measured=self.measure(sparsity) if before is None else before.measured,
        )
        self.trials.append(trial)
        self.known[_key(sparsity)] = trial
        if before is None and self.on_trial:
            self.on_trial(trial)
        return trial

    def knows(self, sparsity: Mapping[str, float], kind: Kind) -> bool:
        return any(trial.kind == kind and trial.sparsity == sparsity for trial in self.trials)

    def fitted(self) -> Interaction:
        """Fit the interaction to everything measured but the base model, whose loss is 0 by definition."""
        return fit_interaction(
            [
                (self.losses(trial.sparsity), self.loss(trial.measured.decisive))
                for trial in self.trials
                if trial.kind != "base" and self.on_curves(trial.sparsity)
            ]
        )

    def losses(self, sparsity: Mapping[str, float]) -> dict[str, float]:
        return layer_losses(self.curves, sparsity)

    def loss(self, accuracy: float) -> float:
        return loss_of(accuracy, base=self.base_accuracy, chance=self.curves.chance)

    def predicted(self, sparsity: Mapping[str, float], interaction: Interaction) -> float:
        return predicted_accuracy(self.curves, sparsity, interaction, base=self.base_accuracy)

    def on_curves(self, sparsity: Mapping[str, float]) -> bool:
        return all(sparsity[name] <= curve.limit for name, curve in self.curves.layers.items())

    def on_scanned_images(self) -> Goal:
        """The goal with its drop as the same share of skill on the scan's images, which may be others."""
        if self.goal.max_drop is None:
            return self.goal
        share = (self.curves.base_accuracy - self.curves.chance) / (self.base_accuracy - self.curves.chance)
        return Goal(cost=self.goal.cost, max_drop=self.goal.max_drop * share)

    def with_one_layer_left(self, plan: Mapping[str, float]) -> list[dict[str, float]]:
        pruned = [name for name in plan if plan[name] > self.base[name]]
        return [{**plan, name: self.base[name]} for name in pruned] if len(pruned) > 1 else []

    def search(self, evaluations: int, *, round_: int, seed: int) -> None:
        start = self.best()
        assert self.goal.limit is not None, "asked of a goal with a limit"

        def score(kept: dict[str, int]) -> float:
            sparsity = self.inventory.sparsity(kept)
            again = next((trial for trial in self.trials if trial.sparsity == sparsity), None)
            return (again or self.trial("search", round_, sparsity)).measured.score

        local_search(
            self.inventory.kept(start.sparsity),
            score,
            inventory=self.inventory,
            cost=self.goal.cost,
            limit=self.goal.limit,
            evaluations=evaluations,
            seed=seed,
        )

    def best(self) -> Trial:
        meeting = [trial for trial in self.trials if self.meets(trial)]
        if self.goal.limit is not None:
            return max(meeting, key=lambda trial: trial.measured.score)
        return min(meeting, key=lambda trial: self.cost(self.goal.cost, trial))

    def meets(self, trial: Trial) -> bool:
        if self.goal.limit is not None:
            return self.cost(self.goal.cost, trial) <= self.goal.limit * (1 + 1e-9)
        assert self.goal.max_drop is not None, "a goal has one or the other"
        return self.base_accuracy - trial.measured.decisive <= self.goal.max_drop + 1e-9

    def cost(self, cost: Cost, trial: Trial) -> float:
        return self.inventory.total(cost, self.inventory.kept(trial.sparsity))


def _key(sparsity: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(sparsity.items()))
