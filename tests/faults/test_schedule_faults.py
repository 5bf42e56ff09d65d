"""Faults planted in pruning schedules: each is caught by a check of the training's trace, or by one of the tests'.

The training checks its own trace after every epoch and stops with a MaskError. What it cannot know, the checks in
`schedule_checks.py` see from outside.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module

import pytest
import torch
from schedule_checks import (
    CHECKS,
    a_stopped_training_ends_in_the_same_bytes,
    early,
    pruner,
    recipe_for,
    rounds_begin_with_the_early_weights_masked_by_the_trained_ones,
    rounds_have_the_later_learning_rates_of_the_dense_recipe,
    the_best_epoch_is_one_with_the_final_masks,
    the_curve_is_cubic,
    the_largest_gradients_grow,
    watched,
    what_grows_begins_at_zero_without_momentum,
)

from prunebench.errors import MaskError
from prunebench.pruning import Masks, SparsityPlan, compounded
from prunebench.pruning.schedules import Gradual, RigL, SparseEvolution
from prunebench.training import ByMagnitude

pytestmark = pytest.mark.usefixtures("one_thread")

LOOP, PRUNER = import_module("prunebench.training.train"), import_module("prunebench.training.pruner")
ITSELF = "the training itself"


@dataclass(frozen=True)
class Fault:
    """How to plant it in which schedule, and what catches it."""

    name: str
    schedule: str
    caught_by: str
    plant: Callable[[pytest.MonkeyPatch], None]


FAULTS: list[Fault] = []


def fault(name, *, schedule, caught_by=ITSELF):
    def register(plant):
        found_by = caught_by if isinstance(caught_by, str) else caught_by.__name__
        FAULTS.append(Fault(name, schedule, found_by, plant))
        return plant

    return register


def patch_choice(patch, changed):
    """`changed` gets the model, plan and masks that the chooser is asked with, and gives those it is to answer."""
    choose = ByMagnitude.choose
    patch.setattr(ByMagnitude, "choose", lambda self, *asked: choose(self, *changed(*asked)))


@fault("masks frozen after the first", schedule="gradual")
def frozen(patch):
    choose = ByMagnitude.choose
    patch.setattr(
        ByMagnitude, "choose", lambda self, model, plan, alive, moved: alive or choose(self, model, plan, alive, moved)
    )


@fault("a change left out", schedule="gradual")
def left_out(patch):
    due, calls = PRUNER.Pruning.is_due, itertools.count()
    patch.setattr(PRUNER.Pruning, "is_due", lambda self, *step, **when: due(self, *step, **when) and next(calls) != 2)


@fault("masks chosen but not put in force", schedule="iterative")
def not_in_force(patch):
    change_, kept = PRUNER.Pruning.change_, []

    def first(self, *asked):
        kept.append(change_(self, *asked))
        return kept[0]

    patch.setattr(PRUNER.Pruning, "change_", first)


@fault("sparsity taken of what remains", schedule="iterative")
def relative(patch):
    def of_the_rest(model, plan, alive, moved):
        before = {name: alive.sparsity(name) if alive else 0.0 for name in plan}
        return model, SparsityPlan({name: compounded(before[name], plan[name]) for name in plan}), alive, moved

    patch_choice(patch, of_the_rest)


@fault("masks chosen among all elements, by other scores each time", schedule="gradual")
def not_nested(patch):
    def disturbed(model, plan, alive, moved):
        other = copy.deepcopy(model)
        generator = torch.Generator().manual_seed(hash(tuple(plan.values())) % 2**32)
        for weight in other.parameters():
            weight.data = torch.rand(weight.shape, generator=generator)
        return other, plan, None, moved

    patch_choice(patch, disturbed)


@fault("a linear curve for the cubic one", schedule="gradual", caught_by=the_curve_is_cubic)
def linear_curve(patch):
    plan_at = Gradual.plan_at

    def changed(self, step, steps, final):
        plan = plan_at(self, step, steps, final)
        share = min(1, (step - 0.1 * steps) / (0.5 * steps))
        is_last = plan is None or plan == final
        return plan if is_last else SparsityPlan({name: sparsity * max(0, share) for name, sparsity in final.items()})

    patch.setattr(Gradual, "plan_at", changed)


@fault("an epoch of a denser model kept as the best", schedule="gradual",
       caught_by=the_best_epoch_is_one_with_the_final_masks)  # fmt: skip
def denser_best(patch):
    patch.setattr(PRUNER.Pruning, "first_final", 1)


def patch_rewinding(patch, load):
    """`load` takes the place of loading the early weights into the model, and not into the copy of the check."""
    change_ = PRUNER.Pruning.change_

    def changed(self, *asked):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(PRUNER, "load_state_", load)
            return change_(self, *asked)

    patch.setattr(PRUNER.Pruning, "change_", changed)


@fault("weights rewound to another epoch", schedule="weight-rewinding")
def another_epoch(patch):
    def moved(model, state, origin):
        model.load_state_dict({name: value * 1.01 if value.dim() else value for name, value in state.items()})

    patch_rewinding(patch, moved)


@fault("weights not rewound", schedule="weight-rewinding")
def not_rewound(patch):
    patch_rewinding(patch, lambda model, state, origin: None)


@fault("masks chosen by the rewound weights", schedule="weight-rewinding",
       caught_by=rounds_begin_with_the_early_weights_masked_by_the_trained_ones)  # fmt: skip
def masks_after_rewinding(patch):
    change_ = PRUNER.Pruning.change_

    def rewound_first(self, step, model, alive):
        model.load_state_dict(early())
        return change_(self, step, model, alive)

    patch.setattr(PRUNER.Pruning, "change_", rewound_first)


@fault("learning rates rewound to another epoch", schedule="learning-rate-rewinding",
       caught_by=rounds_have_the_later_learning_rates_of_the_dense_recipe)  # fmt: skip
def other_rates(patch):
    begun = LOOP._begun
    patch.setattr(LOOP, "_begun", lambda model, settings: begun(model, replace(settings, skipped=0)))


@fault("learning rates not rewound for the second round", schedule="learning-rate-rewinding",
       caught_by=rounds_have_the_later_learning_rates_of_the_dense_recipe)  # fmt: skip
def rates_not_rewound(patch):
    patch.setattr(PRUNER.Pruning, "begins_round", lambda self, epoch: False)


@fault("momentum kept for regrown elements", schedule="rigl", caught_by=what_grows_begins_at_zero_without_momentum)
def momentum_kept(patch):
    patch.setattr(LOOP, "revivals", lambda masks, alive: {})


@fault("the smallest gradients grown", schedule="rigl", caught_by=the_largest_gradients_grow)
def smallest_gradients(patch):
    scores = RigL.growth_scores
    patch.setattr(RigL, "growth_scores", lambda self, *asked: -scores(self, *asked))


@fault("grown by the gradient of the weights that live", schedule="rigl", caught_by=the_largest_gradients_grow)
def gradient_under_the_mask(patch):
    """As of a layer that multiplies its weight by the mask: what is pruned has a gradient of zero."""
    scores = RigL.growth_scores
    patch.setattr(RigL, "growth_scores", lambda self, weight, draw: scores(self, weight, draw) * (weight != 0))


@fault("fewer grown than dropped", schedule="set")
def fewer_grown(patch):
    keep_mask = PRUNER.keep_mask

    def one_less(scores, count, **options):
        growing = (scores == -torch.inf).any() and count < scores.numel()
        return keep_mask(scores, count + int(growing), **options)

    patch.setattr(PRUNER, "keep_mask", one_less)


@fault("what was drawn depends on where training was stopped", schedule="set",
       caught_by=a_stopped_training_ends_in_the_same_bytes)  # fmt: skip
def drawn_on(patch):
    draw, calls = SparseEvolution.growth_scores, itertools.count()

    def drawn(self, weight, _):
        return draw(self, weight, torch.Generator().manual_seed(next(calls)))

    patch.setattr(SparseEvolution, "growth_scores", drawn)


@fault("gone on with without the masks", schedule="rigl", caught_by=a_stopped_training_ends_in_the_same_bytes)
def without_masks(patch):
    take_up = LOOP._State._take_up_

    def forgetting(self, content):
        take_up(self, content)
        self.masks = Masks({name: torch.ones_like(mask) for name, mask in self.masks.items()})

    patch.setattr(LOOP._State, "_take_up_", forgetting)


def caught(schedule, folder):
    """The names of the checks that fail."""
    try:
        seen = watched(pruner(schedule), recipe_for(schedule))
        found = set()
        for check in CHECKS[schedule]:
            try:
                check(seen)
            except AssertionError:
                found.add(check.__name__)
        try:
            a_stopped_training_ends_in_the_same_bytes(seen, folder)
        except AssertionError:
            found.add(a_stopped_training_ends_in_the_same_bytes.__name__)
    except MaskError:
        return {ITSELF}
    return found


@pytest.mark.parametrize("schedule", sorted({planted.schedule for planted in FAULTS}))
def test_nothing_is_caught_where_nothing_is_planted(schedule, tmp_path):
    assert set() == caught(schedule, tmp_path)


@pytest.mark.parametrize("planted", FAULTS, ids=lambda planted: planted.name)
def test_is_caught(planted, tmp_path, monkeypatch):
    planted.plant(monkeypatch)
    assert planted.caught_by in caught(planted.schedule, tmp_path)
