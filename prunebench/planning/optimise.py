"""The best plan the curves allow: an integer program that gives each layer one of its candidate sparsities.

The problem is the multiple-choice knapsack (Sinha, Zoltners, The Multiple-Choice Knapsack Problem, 1979). scipy's
`milp` (HiGHS, branch and bound) solves it to the optimum, but for a millionth of the largest loss or cost, its own
tolerance.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from prunebench.errors import PlanError
from prunebench.planning.costs import Cost, layer_cost, told_apart
from prunebench.planning.curves import GUESSING, Curves
from prunebench.pruning import pruned_count

STEP = 0.01
"""Distance of the candidate sparsities of a layer, unless told otherwise."""

SHORTEST_STEP, LONGEST_STEP = 0.001, 0.5
"""A thousand candidates a layer take seconds, ten thousand minutes; a step over half leaves a layer one candidate."""

SPREAD_GAP = 1e-2
"""How near the least sum of squared sparsities is near enough: of many alike, the very least takes minutes to prove."""

_ATTEMPTS = 20
_ROUNDING = 1e-12  # of a sum of floats, relative to it


@dataclass(frozen=True, kw_only=True)
class Goal:
    """The goal of an optimal plan: least loss with `limit`, least cost with `max_drop`.

    Attributes:
        cost: what the limit is on, or what is minimised.
        limit: most the model may cost, in bits, bytes or MACs of one image.
        max_drop: most accuracy may fall below the base model, in points.

    Raises:
        PlanError: both are given, or none; a limit or drop that is negative or not finite.
    """

    cost: Cost = "size"
    limit: float | None = None
    max_drop: float | None = None

    def __post_init__(self) -> None:
        if (self.limit is None) == (self.max_drop is None):
            raise PlanError("a goal needs either a limit of the cost or a largest drop of accuracy, and not both")
        for name, value in (("limit", self.limit), ("largest drop", self.max_drop)):
            if value is not None and not 0 <= value <= sys.float_info.max:  # a longer int is less than infinity
                raise PlanError(f"the {name} must be a finite number of at least 0, got {value}")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One thing that can be done to a layer."""

    sparsity: float
    cost: float
    loss: float


def optimal_plan(curves: Curves, goal: Goal, *, step: float = STEP) -> dict[str, float]:
    """Sparsity by layer: the optimum, over the candidates, of what the curves predict.

    Candidates are the multiples of `step` from the base model's own sparsity of a layer to the end of its curve, the
    scanned points, and leaving the layer as it is. Where a curve rises again a higher sparsity is preferred to a lower
    one that loses more; a rise above the base model counts as no loss, and never pays for a loss elsewhere. Within a
    limit, layers that lose nothing that the scan can tell give back what others need not: of plans of the least loss
    the one with the least sum of squared sparsities. (At the end of its flat stretch a layer is near its edge, and
    layers add up.)

    Raises:
        PlanError: the goal cannot be met, and says what can; or a step outside its range.
    """
    if not SHORTEST_STEP <= step <= LONGEST_STEP:
        allowed = f"[{SHORTEST_STEP}, {LONGEST_STEP}]"
        raise PlanError(f"the step between candidate sparsities must be in {allowed}, got {step}")
    candidates = {name: layer_options(curves, name, goal.cost, step) for name in curves.layers}
    options = {name: undominated(found) for name, found in candidates.items()}
    if goal.max_drop is not None:
        loss = curves.loss_at(curves.base_accuracy - goal.max_drop)
        if loss >= GUESSING:
            chosen = {name: found[-1] for name, found in options.items()}  # nothing more can be lost
        else:
            chosen = choose(options, minimise="cost", limit=loss)
    else:
        assert goal.limit is not None, "a goal has one or the other"
        _check_reachable(curves, goal, {name: found[-1] for name, found in options.items()})
        limit = goal.limit - curves.inventory.others(goal.cost)
        chosen = choose(options, minimise="loss", limit=limit)
        chosen = choose(_as_good(candidates, chosen), minimise="loss", limit=limit, gap=SPREAD_GAP)
    return {name: option.sparsity for name, option in chosen.items()}


def layer_options(curves: Curves, name: str, cost: Cost, step: float) -> list[Option]:
    """A layer's candidates by rising sparsity; the first leaves it as it is."""
    curve = curves[name]
    layer = next(layer for layer in curves.inventory.layers if layer.name == name)
    multiples = (round(index * step, 12) for index in range(math.floor(1 / step) + 1))
    inside = {s for s in (*multiples, *curve.sparsity) if layer.sparsity < s <= curve.limit}
    options = []
    for sparsity in (layer.sparsity, *sorted(inside)):
        kept = min(layer.nonzeros, layer.numel - pruned_count(layer.numel, sparsity, name=name))
        loss = curves.layer_loss(name, sparsity)
        options.append(Option(sparsity=sparsity, cost=layer_cost(cost, layer, kept), loss=loss))
    return options


def undominated(options: Sequence[Option]) -> list[Option]:
    """The options that no other beats in both cost and loss, by falling cost; of equals, the least sparse."""
    best: list[Option] = []
    for option in sorted(options, key=lambda option: (option.cost, option.loss, option.sparsity)):
        if not best or option.loss < best[-1].loss:
            best.append(option)
    return best[::-1]


def _as_good(candidates: Mapping[str, Sequence[Option]], chosen: Mapping[str, Option]) -> dict[str, list[Option]]:
    """The options that lose no more than the chosen ones, with the square of their sparsity for a loss."""
    return {
        name: [replace(option, loss=option.sparsity**2) for option in found if option.loss <= chosen[name].loss]
        for name, found in candidates.items()
    }


def choose(
    options: Mapping[str, Sequence[Option]], *, minimise: Literal["cost", "loss"], limit: float, gap: float = 0.0
) -> dict[str, Option]:
    """One option for each layer, with the least sum of one of cost and loss and at most `limit` of the other.

    It may be over the least by the share `gap` of it.

    Raises:
        PlanError: no choice stays within the limit.
    """
    other: Literal["cost", "loss"] = "loss" if minimise == "cost" else "cost"
    fitting = _fitting(options, other, limit)
    allowed = limit
    for _ in range(_ATTEMPTS):
        taken = _solve(fitting, minimise, other, allowed, gap)
        if taken is None:
            break
        excess = math.fsum(getattr(option, other) for option in taken) - limit
        if excess <= _ROUNDING * limit:
            return dict(zip(fitting, taken, strict=True))
        allowed -= 2 * excess  # the solver allows itself a relative error of a millionth; the limit does not
    return {name: min(layer, key=lambda option: float(getattr(option, other))) for name, layer in fitting.items()}


def _fitting(
    options: Mapping[str, Sequence[Option]], bound: Literal["cost", "loss"], limit: float
) -> dict[str, list[Option]]:
    """The options that are within the limit where all other layers take what is least."""
    least = {name: min(float(getattr(option, bound)) for option in layer) for name, layer in options.items()}
    room = limit - math.fsum(least.values())
    if room < -_ROUNDING * limit:
        raise PlanError(f"no choice of sparsities has a {bound} of at most {limit:g}: the least is {limit - room:g}")
    room += _ROUNDING * limit
    return {
        name: [option for option in layer if getattr(option, bound) - least[name] <= room]
        for name, layer in options.items()
    }


def _solve(
    options: Mapping[str, Sequence[Option]],
    goal: Literal["cost", "loss"],
    bound: Literal["cost", "loss"],
    limit: float,
    gap: float,
) -> list[Option] | None:
    """The option taken of each layer, in order; None where nothing fits.

    Both sums are scaled to about 1, which the solver's tolerances expect.
    """
    everything = [option for layer in options.values() for option in layer]
    goals, bounds = (np.array([getattr(option, of) for option in everything], dtype=float) for of in (goal, bound))
    with _silent():
        result = milp(
            goals / (goals.max() or 1.0),
            integrality=np.ones(len(everything)),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(_one_a_layer([len(layer) for layer in options.values()]), 1, 1),
                LinearConstraint(bounds[np.newaxis, :] / (limit or 1.0), -np.inf, 1 if limit else 0),
            ],
            options={"mip_rel_gap": gap},
        )
    return None if result.x is None else [everything[index] for index in np.flatnonzero(result.x > 0.5)]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """A context that silences HiGHS, which prints for its developers, past Python and whatever its options say."""
    with contextlib.ExitStack() as undo:
        with contextlib.suppress(OSError):  # no standard output, nothing to be kept from it
            output = os.dup(1)
            undo.callback(os.close, output)
            _flush()
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            undo.callback(os.dup2, output, 1)
            undo.callback(_flush)
        yield


def _flush() -> None:
    """Send off what Python and C hold back of standard output; C does for as long as it is no terminal."""
    if sys.stdout:
        sys.stdout.flush()
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)


def _one_a_layer(counts: Sequence[int]) -> csr_array:
    rows = np.repeat(np.arange(len(counts)), counts)
    return csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))))


def _check_reachable(curves: Curves, goal: Goal, cheapest: Mapping[str, Option]) -> None:
    assert goal.limit is not None, "asked of a goal with a limit"
    inventory = curves.inventory
    kept = inventory.kept({name: option.sparsity for name, option in cheapest.items()})
    if inventory.total(goal.cost, kept) > goal.limit:
        percent = 100 * goal.limit / inventory.dense_total(goal.cost)
        wanted, least = told_apart(percent, inventory.percent(goal.cost, kept))
        unscanned = [name for name, curve in curves.layers.items() if len(curve.sparsity) == 1]
        others = f" ({', '.join(unscanned)} not scanned at all)" if unscanned else ""
        raise PlanError(
            f"{goal.cost} {wanted} % of dense cannot be met: the least the scan's curves allow is {least} %"
            f"{others}: scan higher sparsities"
        )
