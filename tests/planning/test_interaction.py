"""How losses add, and that measured plans teach it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning.scan_factory import make_curves

from prunebench.planning import Interaction, accuracy_of, fit_interaction, layer_losses, loss_of, predicted_accuracy

POSITIVE = st.floats(0.2, 4)
LOSSES = st.dictionaries(st.sampled_from("abcd"), st.floats(0, 3), min_size=1)


@given(st.floats(12, 90))
def test_loss_and_accuracy_are_inverses(accuracy: float) -> None:
    assert pytest.approx(accuracy) == accuracy_of(loss_of(accuracy, base=90, chance=10), base=90, chance=10)


def test_a_rise_is_no_loss_and_guessing_is_finite() -> None:
    assert 0.0 == loss_of(95, base=90, chance=10)
    assert pytest.approx(10.8) == accuracy_of(loss_of(5, base=90, chance=10), base=90, chance=10)


def test_by_default_skills_multiply() -> None:
    curves = make_curves({"a": {0.5: 50.0}, "b": {0.5: 50.0}})  # half the skill each: (50 - 10) / (90 - 10)
    assert pytest.approx(10 + 80 / 4) == predicted_accuracy(curves, {"a": 0.5, "b": 0.5}, Interaction())


@given(LOSSES, POSITIVE)
def test_one_layer_alone_loses_what_its_curve_says(losses: dict[str, float], exponent: float) -> None:
    name, loss = next(iter(losses.items()))
    assert pytest.approx(loss, abs=1e-9) == Interaction(exponent=exponent).loss({name: loss})


@given(LOSSES)
def test_a_lower_exponent_amplifies(losses: dict[str, float]) -> None:
    half, one, two = (Interaction(exponent=exponent).loss(losses) for exponent in (0.5, 1.0, 2.0))
    assert half >= one - 1e-9
    assert one >= two - 1e-9


@given(POSITIVE, POSITIVE, st.floats(0, 4))
def test_the_budget_is_the_inverse_of_the_total(strength: float, exponent: float, loss: float) -> None:
    law = Interaction(strength=strength, exponent=exponent)
    assert pytest.approx(loss, abs=1e-9) == law.total(law.budget(loss))


def test_without_measurements_nothing_is_corrected() -> None:
    assert Interaction() == fit_interaction([])


@settings(deadline=None, max_examples=20)
@given(st.floats(0.4, 2.5))
def test_one_measured_plan_moves_the_prediction_most_of_the_way(factor: float) -> None:
    losses = {"a": 0.1, "b": 0.2, "c": 0.3}
    law = fit_interaction([(losses, 0.6 * factor)])
    assert abs(law.loss(losses) - 0.6 * factor) <= 0.1 * abs(0.6 * factor - 0.6) + 1e-6


def test_probes_show_which_layer_costs_more_amid_the_others() -> None:
    alone = {"a": 0.2, "b": 0.2, "c": 0.2}
    true = Interaction(weights={"a": 3.0, "b": 1.0, "c": 0.5})
    plans = [alone, *({**alone, name: 0.0} for name in alone)]
    law = fit_interaction([(plan, true.loss(plan)) for plan in plans])
    assert law.weights["a"] > 1.5 * law.weights["b"] > 1.5 * law.weights["c"]
    for plan in plans:
        assert pytest.approx(true.loss(plan), rel=0.15) == law.loss(plan)


def test_losses_come_from_the_curves() -> None:
    curves = make_curves({"a": {0.5: 50.0}, "b": {0.5: 95.0}})
    assert {"a": 0.6931, "b": 0.0} == {n: round(x, 4) for n, x in layer_losses(curves, {"a": 0.5, "b": 0.5}).items()}
