"""Pruning while a model is trained: a pruning schedule at work, and the trace of what it did."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from prunebench.errors import MaskError, PlanError, TrainingError, first_line
from prunebench.models import copied, load_state_, prunable_parameters, state_digest
from prunebench.pruning import Masks, SparsityPlan, add_movement_, compounded, keep_mask, pruned_count
from prunebench.pruning.schedules import PruningSchedule, settings_of


class Chooser(Protocol):
    """A criterion and a granularity at work: it chooses the masks for a plan."""

    @property
    def key(self) -> str:
        """Names of all that determines the masks beside the model, such as criterion, granularity and evidence."""
        ...

    def kept(self, shape: Sequence[int], sparsity: float) -> int:
        """The number of elements that a weight of `shape` keeps."""
        ...

    @property
    def reads_movement(self) -> bool:
        """True where the choice goes by how weights have moved in the training."""
        ...

    def choose(
        self, model: nn.Module, plan: SparsityPlan, alive: Masks | None, movement: Mapping[str, Tensor] | None
    ) -> Masks:
        """The masks of every weight in `plan`, on its device. Leaves the model and its gradients as they are.

        Args:
            alive: the masks so far; no element that they prune may be kept.
            movement: sums of -g w over all steps so far, by parameter; None before the first, or where it is not read.
        """
        ...


@dataclass(frozen=True)
class ByMagnitude:
    """Single elements by |w|, each layer on its own; what is pruned already goes before all others."""

    key: str = "magnitude, element"
    reads_movement: bool = False

    def kept(self, shape: Sequence[int], sparsity: float) -> int:
        """All but `round(sparsity * numel)`."""
        return math.prod(shape) - pruned_count(math.prod(shape), sparsity)

    def choose(
        self,
        model: nn.Module,
        plan: SparsityPlan,
        alive: Masks | None,
        movement: Mapping[str, Tensor] | None,  # noqa: ARG002
    ) -> Masks:
        """The masks of the largest weights among those alive."""
        masks = {}
        for name, weight in prunable_parameters(model).items():
            scores = weight.detach().abs()
            scores = scores if alive is None else scores.masked_fill(~alive[name], -1.0)
            masks[name] = keep_mask(scores, pruned_count(scores.numel(), plan[name]), name=name)
        return Masks(masks)


@dataclass(frozen=True, kw_only=True)
class Pruner:
    """The pruning that `train` does: by which schedule, to which sparsities, and who chooses the masks.

    Attributes:
        final: sparsity of every prunable parameter at the end.
        early: parameters and buffers that a schedule with `rewinds_weights` goes back to.
    """

    schedule: PruningSchedule
    final: SparsityPlan
    chooser: Chooser = ByMagnitude()
    early: Mapping[str, Tensor] | None = None

    @property
    def key(self) -> str:
        """Digest of all that determines the masks, beside model, data and recipe."""
        kind = type(self.schedule)
        parts = {
            "schedule": f"{self.schedule.name} ({kind.__module__}.{kind.__qualname__})",
            "settings": settings_of(self.schedule),
            "final": dict(self.final),
            "chooser": self.chooser.key,
            "early": state_digest(self.early) if self.early is not None else None,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class MaskChange:
    """One change of the masks in a training.

    Attributes:
        step: of the optimizer, from 0, before which they changed.
        sparsity: planned, by parameter.
        kept: elements that the masks keep, by parameter of the plan.
        grown: elements that came back to life.
        masks_digest: of the new masks.
        rewound_to: digest of the weights that the model went back to, before they were masked; None where it did not.
    """

    step: int
    sparsity: Mapping[str, float]
    kept: Mapping[str, int]
    grown: int
    masks_digest: str
    rewound_to: str | None = None


class Pruning:
    """A pruner at work in one training: when masks change, and the trace of it.

    Args:
        epochs: that the recipe names.
        steps: of the optimizer, an epoch.

    Attributes:
        epochs: of all rounds.
        trace: every change so far.
        movement: sums of -g w over the steps so far, where the chooser reads them.

    Raises:
        PlanError, UnknownNameError: the plan does not fit the model, or the schedule does not end in it.
        TrainingError: the schedule needs early weights, and there are none; or no epoch is left after rewinding.
        CheckpointError: early weights of another architecture.
    """

    def __init__(self, pruner: Pruner, model: nn.Module, *, epochs: int, steps: int, seed: int) -> None:
        self.pruner, self.schedule, self._seed = pruner, pruner.schedule, seed
        self.rewind_to = self.schedule.rewind_to or 0
        if self.rewind_to >= epochs:
            raise TrainingError(f"rewind_to must be below the recipe's {epochs} epochs, got {self.rewind_to}")
        self.round_epochs = epochs - self.rewind_to
        self.epochs = self.schedule.rounds * self.round_epochs
        self._epoch_steps, self._steps = steps, steps * self.epochs
        self._early_digest = self._check_early(model)
        self._due = self._timetable(model)
        self._shapes = {name: weight.shape for name, weight in prunable_parameters(model).items()}
        self.trace: list[MaskChange] = []
        self.movement: dict[str, Tensor] = {}

    def _check_early(self, model: nn.Module) -> str | None:
        if not self.schedule.rewinds_weights:
            return None
        if self.pruner.early is None:
            raise TrainingError(
                f"pruning schedule '{self.schedule.name}' goes back to the weights after epoch {self.rewind_to} of the "
                "dense training: expected a checkpoint of them (early), got none"
            )
        model = copied(model)
        load_state_(model, self.pruner.early, origin="early weights")
        return state_digest(model.state_dict())

    def _timetable(self, model: nn.Module) -> dict[int, SparsityPlan]:
        """The plan of each step at which masks change, checked before anything is trained."""
        name, final = self.schedule.name, SparsityPlan(self.pruner.final)
        final.check_fits(model)
        plans: dict[int, SparsityPlan] = {}
        last = SparsityPlan(dict.fromkeys(final, 0.0))
        for step in range(self._steps):
            try:
                plan = self.schedule.plan_at(step, self._steps, final)
            except Exception as error:  # somebody else's code may raise anything
                raise PlanError(f"pruning schedule '{name}' fails at step {step}: {first_line(error)}") from error
            if plan is None:
                continue
            plans[step] = plan = SparsityPlan(plan)
            plan.check_fits(model)
            for layer, sparsity in plan.items():
                if sparsity < last[layer]:
                    raise PlanError(
                        f"pruning schedule '{name}' lowers the sparsity of '{layer}' to {sparsity:g} at step {step}: "
                        f"expected at least {last[layer]:g}"
                    )
            last = plan
        for layer, sparsity in final.items():
            if last[layer] != sparsity or not plans:
                raise PlanError(
                    f"pruning schedule '{name}' ends with sparsity {last[layer]:g} of '{layer}' after {self._steps:,} "
                    f"steps: expected {sparsity:g}"
                )
        return plans

    @property
    def first_final(self) -> int:
        """The first epoch that ends with the final masks."""
        return max(self._due) // self._epoch_steps + 1

    def begins_round(self, epoch: int) -> bool:
        """True where `epoch` is the first of a round, but for the first round."""
        return epoch > 1 and (epoch - 1) % self.round_epochs == 0

    def is_due(self, step: int, *, has_gradients: bool) -> bool:
        """True where masks change at `step`, now: where they regrow, once this batch's gradients are there."""
        return step in self._due and (self.schedule.dropped(step, self._steps) > 0) == has_gradients

    def watch(self, step: int, model: nn.Module) -> None:
        """Add up the movement of a step, while a choice is to read it: after `backward`, before the optimizer steps."""
        if self.pruner.chooser.reads_movement and step <= max(self._due):
            add_movement_(self.movement, model)

    def change_(self, step: int, model: nn.Module, alive: Masks | None) -> Masks:
        """The new masks, not yet applied; `model` goes back to the early weights where the schedule says so.

        Raises:
            MaskError: the chooser leaves a layer out, or keeps an element that was pruned.
            PlanError: scores that are not numbers.
        """
        plan, fraction = self._due[step], self.schedule.dropped(step, self._steps)
        fewer = {name: compounded(sparsity, fraction) if sparsity else 0.0 for name, sparsity in plan.items()}
        plan_now = SparsityPlan(fewer) if fraction else plan
        masks = self.pruner.chooser.choose(model, plan_now, alive, self.movement or None)
        masks.check_fits(model)
        for name in plan:
            if name not in masks:
                raise MaskError(f"no mask of '{name}' was chosen: expected one of every layer in the plan")
        if revived := revivals(masks, alive):
            name, those = next(iter(revived.items()))
            raise MaskError(
                f"{int(those.sum())} elements of '{name}' are kept that were pruned before: expected masks that nest"
            )
        if fraction:
            masks = self._grown(step, model, masks)
        rewound = None
        if self.pruner.early is not None and self.schedule.rewinds_weights:
            load_state_(model, self.pruner.early, origin="early weights")
            rewound = state_digest(model.state_dict())
        self.trace.append(
            MaskChange(
                step=step,
                sparsity=dict(plan),
                kept={name: int(masks[name].sum()) for name in plan},
                grown=sum(int(those.sum()) for those in revivals(masks, alive).values()),
                masks_digest=masks.digest,
                rewound_to=rewound,
            )
        )
        return masks

    def _grown(self, step: int, model: nn.Module, survivors: Masks) -> Masks:
        """The survivors and, of all other elements, those that grow: as many as the plan says."""
        weights, masks = prunable_parameters(model), dict(survivors)
        for index, (name, sparsity) in enumerate(self._due[step].items()):
            drawn = hashlib.sha256(f"{self._seed}: masks at {step}, {index}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(drawn[:7], "big"))
            scores = self.schedule.growth_scores(weights[name], generator)
            wanted = self.pruner.chooser.kept(weights[name].shape, sparsity) - int(survivors[name].sum())
            others = scores.masked_fill(survivors[name], -math.inf)
            masks[name] = survivors[name] | keep_mask(others, others.numel() - wanted, name=name)
        return Masks(masks)

    def check(self, epoch: int, masks: Masks | None) -> None:
        """Check after `epoch` that the masks have obeyed the schedule at each step until then.

        Raises:
            MaskError: a change that was left out or made at another step, other sparsities or other numbers of kept
                elements than planned, other early weights, or masks other than those of the last change.
        """
        due = [step for step in self._due if step < epoch * self._epoch_steps]
        for expected, got in zip_longest(due, [change.step for change in self.trace]):
            self._compare("step of a change", expected, got)
        for change in self.trace:
            for name, sparsity in self._due[change.step].items():
                at = f"of '{name}' at step {change.step}"
                kept = self.pruner.chooser.kept(self._shapes[name], sparsity)
                self._compare(f"sparsity {at}", sparsity, change.sparsity.get(name))
                self._compare(f"elements kept {at}", kept, change.kept.get(name))
            self._compare(f"early weights at step {change.step}", self._early_digest, change.rewound_to)
        now, last = (masks.digest if masks is not None else None), (self.trace[-1].masks_digest if self.trace else None)
        self._compare("masks in force", last, now)

    def _compare(self, what: str, expected: Any, got: Any) -> None:
        if expected != got:
            raise MaskError(f"pruning schedule '{self.schedule.name}', {what}: expected {expected}, got {got}")

    def saved(self) -> list[dict[str, Any]]:
        """The trace, as plain values."""
        return [asdict(change) for change in self.trace]

    def take_up_(self, saved: Sequence[Mapping[str, Any]]) -> None:
        """Go on with the trace that `saved` gave."""
        self.trace = [MaskChange(**change) for change in saved]


def revivals(masks: Masks, alive: Masks | None) -> dict[str, Tensor]:
    """The elements that `masks` keep and `alive` prunes, by parameter: bool, only where there are any."""
    both = [] if alive is None else [name for name in masks if name in alive]
    found = {name: masks[name] & ~alive[name] for name in both if alive is not None}
    return {name: those for name, those in found.items() if those.any()}
