"""The documented rules, with the document's worked example."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning.scan_factory import make_curves, make_scan

from prunebench.errors import PlanError
from prunebench.planning import Curves, compounding, documented_reading
from prunebench.pruning import compounded

UNIT = st.floats(0, 1)
CURVES = {
    "first": {0.4: 85.0, 0.6: 70.0, 0.8: 40.0},
    "middle": {0.4: 89.5, 0.6: 88.0, 0.8: 80.0},
    "last": {0.4: 90.0, 0.6: 89.9, 0.8: 89.2},
}


def test_the_worked_example() -> None:
    assert pytest.approx(0.95, abs=1e-15) == compounded(0.75, 0.8)


@given(UNIT, UNIT, UNIT)
def test_compounding_composes_as_densities_multiply(first: float, second: float, third: float) -> None:
    left = compounded(compounded(first, second), third)
    assert pytest.approx(1 - (1 - first) * (1 - second) * (1 - third), abs=1e-12) == left
    assert pytest.approx(compounded(first, compounded(second, third)), abs=1e-12) == left


@given(UNIT, UNIT)
def test_compounding_stays_within_what_is_left(previous: float, beta: float) -> None:
    assert previous <= compounded(previous, beta) <= 1
    assert previous == compounded(previous, 0)


@pytest.mark.parametrize("arguments", [(1.2, 0.5), (0.5, -0.1), (0.5, float("nan"))])
def test_compounding_refuses_what_is_no_fraction(arguments: tuple[float, float]) -> None:
    with pytest.raises(PlanError, match=r"must be in \[0, 1\]"):
        compounded(*arguments)


def test_the_reading_is_the_largest_scanned_sparsity_within_the_points() -> None:
    planned = documented_reading(make_curves(CURVES), max_drop=2.0)
    assert {"first": 0.0, "middle": 0.6, "last": 0.8} == planned


def test_later_layers_go_first_and_those_before_stay_once_the_size_is_met() -> None:
    curves = make_curves(CURVES)
    size = curves.inventory.dense_total("size")
    planned = documented_reading(curves, max_drop=2.0, limit=0.74 * size)
    assert {"first": 0.0, "middle": 0.0, "last": 0.8} == planned
    assert {"first": 0.0, "middle": 0.6, "last": 0.8} == documented_reading(curves, max_drop=2.0, limit=0.73 * size)


def test_a_size_that_the_points_do_not_allow_is_refused_with_what_they_do() -> None:
    curves = make_curves(CURVES)
    with pytest.raises(PlanError, match=r"size 10\.00 % .* at most 2 points each: all of them give 53\.33 %"):
        documented_reading(curves, max_drop=2.0, limit=0.1 * curves.inventory.dense_total("size"))


def test_a_curve_that_recovers_is_read_at_its_far_end() -> None:
    curves = make_curves({"a": {0.4: 80.0, 0.6: 89.5, 0.8: 70.0}})
    assert {"a": 0.6} == documented_reading(curves, max_drop=1.0)


def test_compounding_reads_beta_off_the_scan_of_the_pruned_model() -> None:
    scan = make_scan(
        {"a": (10, 10), "b": (10, 10), "c": (10, 10)},
        {"a": {0.8: 89.5, 0.9: 50.0}, "b": {0.4: 90.0, 0.8: 20.0}, "c": {0.5: 10.0}},
        nonzeros={"a": 25, "b": 50},
    )
    planned = compounding(Curves.of_scan(scan), max_drop=1.0)
    assert {"a": 0.95, "b": 0.5, "c": 0.0} == {name: round(s, 12) for name, s in planned.items()}
    given_previous = compounding(Curves.of_scan(scan), max_drop=1.0, previous={"a": 0.5, "b": 0.0, "c": 0.2})
    assert {"a": 0.9, "b": 0.0, "c": 0.2} == {name: round(s, 12) for name, s in given_previous.items()}


def test_a_previous_table_that_leaves_a_layer_out_is_refused_by_name() -> None:
    with pytest.raises(PlanError, match="'middle'"):
        compounding(make_curves(CURVES), max_drop=1.0, previous={"first": 0.1})
