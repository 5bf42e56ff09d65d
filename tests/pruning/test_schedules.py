"""Pruning schedules on their own: the published curves, settings that can be, names."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.errors import ImportedNameError, PlanError, UnknownNameError
from prunebench.pruning import SparsityPlan
from prunebench.pruning.schedules import (
    Gradual,
    Iterative,
    LearningRateRewinding,
    OneShot,
    PruningSchedule,
    RigL,
    SparseEvolution,
    WeightRewinding,
    find_pruning_schedule,
    pruning_schedule_names,
    settings_of,
)

FINAL = SparsityPlan({"a": 0.9, "b": 0.5, "c": 0.0, "d": 1.0})


def plans(schedule: PruningSchedule, steps: int) -> dict[int, SparsityPlan]:
    asked = {step: schedule.plan_at(step, steps, FINAL) for step in range(steps)}
    return {step: plan for step, plan in asked.items() if plan is not None}


def zhu_gupta(t: int, *, t0: int, n: int, every: int, final: float, initial: float = 0.0) -> float:
    """Equation 1 of the paper."""
    return final + (initial - final) * (1 - (t - t0) / (n * every)) ** 3


@pytest.mark.parametrize(("t0", "n", "every"), [(0, 10, 10), (20, 8, 5), (50, 50, 1)])
def test_gradual_is_the_papers_curve(t0: int, n: int, every: int) -> None:
    steps = 200
    made = plans(Gradual(start=t0 / steps, end=(t0 + n * every) / steps, frequency=every), steps)
    assert [t0 + k * every for k in range(n + 1)] == list(made)
    for t, plan in made.items():
        for name, final in FINAL.items():
            assert zhu_gupta(t, t0=t0, n=n, every=every, final=final) == pytest.approx(plan[name], abs=1e-12)
    assert FINAL == made[t0 + n * every]


def test_gradual_without_a_frequency_changes_twenty_times_after_its_start() -> None:
    assert 21 == len(plans(Gradual(), 400))
    assert 4 == len(plans(Gradual(end=1), 4))  # not more often than there are steps


def test_iterative_geometric_prunes_the_same_fraction_of_what_is_left() -> None:
    """Renda 2020: 20 % a round make 1 - 0.8^r."""
    final = SparsityPlan({"a": 1 - 0.8**3})
    made = [Iterative(rounds=3).plan_at(step, 30, final) for step in (0, 10, 20)]
    assert [pytest.approx({"a": 1 - 0.8**r}) for r in (1, 2, 3)] == [dict(plan) for plan in made if plan]


def test_iterative_linear_prunes_as_many_in_every_round() -> None:
    made = plans(Iterative(rounds=3, spacing="linear"), 30)
    assert {0: 0.3, 10: 0.6, 20: 0.9} == pytest.approx({step: plan["a"] for step, plan in made.items()})


def test_regrowing_changes_until_its_end_and_rigl_drops_by_the_cosine() -> None:
    steps, every, last = 200, 10, 150
    due = [0, *range(every, last, every)]
    for schedule in (SparseEvolution(frequency=every), RigL(frequency=every)):
        assert due == list(plans(schedule, steps))
        assert all(FINAL == plan for plan in plans(schedule, steps).values())
    dropped = [RigL(frequency=every, fraction=0.4).dropped(step, steps) for step in range(steps)]
    assert [
        pytest.approx(0.2 * (1 + math.cos(step * math.pi / last))) if step in due[1:] else 0 for step in range(steps)
    ] == dropped
    assert [0.3 if step in due[1:] else 0 for step in range(steps)] == [
        SparseEvolution(frequency=every).dropped(step, steps) for step in range(steps)
    ]


SCHEDULES = st.one_of(
    st.just(OneShot()),
    st.builds(Iterative, rounds=st.just(1), spacing=st.sampled_from(["geometric", "linear"])),
    st.builds(
        Gradual,
        start=st.floats(0, 0.5),
        end=st.floats(0.5, 1),
        frequency=st.one_of(st.none(), st.integers(1, 50)),
    ),
    st.builds(RigL, end=st.floats(0, 1), fraction=st.floats(0, 1)),
)


@given(SCHEDULES, st.integers(1, 300))
def test_every_schedule_rises_and_ends_in_the_final_plan(schedule: PruningSchedule, steps: int) -> None:
    made = [*plans(schedule, steps).values()]
    assert FINAL == made[-1]
    for name in FINAL:
        assert sorted(plan[name] for plan in made) == [plan[name] for plan in made]


@pytest.mark.parametrize("rounds", range(1, 8))
@pytest.mark.parametrize("spacing", ["geometric", "linear"])
def test_rounds_rise_and_end_in_the_final_plan(rounds: int, spacing: str) -> None:
    made = [*plans(find_pruning_schedule("iterative", {"rounds": rounds, "spacing": spacing}), 3 * rounds).values()]
    assert (rounds, FINAL) == (len(made), made[-1])
    for name in FINAL:
        assert sorted(plan[name] for plan in made) == [plan[name] for plan in made]


def test_schedules_are_found_by_name_with_their_settings() -> None:
    assert {"one-shot", "iterative", "gradual", "learning-rate-rewinding", "weight-rewinding", "set", "rigl"} <= {
        *pruning_schedule_names()
    }
    assert Gradual(end=0.7) == find_pruning_schedule("gradual", {"end": 0.7})
    assert LearningRateRewinding(rounds=2, rewind_to=5) == find_pruning_schedule(
        "learning-rate-rewinding", {"rounds": 2, "rewind_to": 5}
    )
    assert {"start": 0.0, "end": 0.7, "frequency": None} == settings_of(Gradual(end=0.7))
    for name in pruning_schedule_names():
        assert name == find_pruning_schedule(name).name


def test_a_schedule_of_somebody_else_is_found_by_its_module() -> None:
    found = find_pruning_schedule("prunebench.pruning.schedules:WeightRewinding", {"rounds": 1})
    assert WeightRewinding(rounds=1) == found


@pytest.mark.parametrize(
    ("name", "settings", "error", "message"),
    [
        ("gradul", {}, UnknownNameError, "unknown pruning schedule 'gradul'"),
        ("nothing:here", {}, ImportedNameError, "no module 'nothing'"),
        ("math:pi", {}, PlanError, "'math:pi' is no pruning schedule"),
        ("gradual", {"ende": 1}, UnknownNameError, "unknown setting of pruning schedule 'gradual' 'ende'"),
        ("gradual", {"end": 1.5}, PlanError, "end of pruning schedule 'gradual' must be in [0, 1], got 1.5"),
        ("gradual", {"start": 0.6}, PlanError, "end of pruning schedule 'gradual' must be in [0.6, 1], got 0.5"),
        ("gradual", {"frequency": 0}, PlanError, "must be a whole number of at least 1, got 0"),
        ("gradual", {"end": "1"}, PlanError, "end of pruning schedule 'gradual' must be a number, got '1'"),
        ("iterative", {"rounds": 2.0}, PlanError, "rounds of pruning schedule 'iterative' must be a whole number"),
        ("iterative", {"spacing": "cubic"}, UnknownNameError, "unknown spacing 'cubic'"),
        ("learning-rate-rewinding", {"rewind_to": -1}, PlanError, "must be a whole number of at least 0, got -1"),
        ("set", {"fraction": -0.1}, PlanError, "fraction of pruning schedule 'set' must be in [0, 1], got -0.1"),
        ("one-shot", {"end": 0.5}, UnknownNameError, "unknown setting of pruning schedule 'one-shot' 'end'"),
    ],
)
def test_what_cannot_be_is_one_clear_error(
    name: str, settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        find_pruning_schedule(name, settings)
