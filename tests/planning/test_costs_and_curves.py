"""Costs are counts, curves are what was measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning.scan_factory import VGG_ELEMENTS, make_curves, make_inventory, make_scan, vgg_scan

from prunebench.documented.runs import RUNS
from prunebench.errors import PlanError, UnknownNameError
from prunebench.measure import count_macs, nominal_size_bits
from prunebench.models import build_model
from prunebench.planning import Curves, Inventory, layer_cost, shortest_sparsity, standard_error
from prunebench.pruning import prune_, pruned_count


@pytest.mark.parametrize(("run", "nonzeros"), [("run3", 2_710_807), ("run5", 807_150)])
def test_the_documented_runs_have_their_documented_nonzeros(run: str, nonzeros: int) -> None:
    inventory = Inventory.of_scan(vgg_scan())
    kept = inventory.kept(RUNS[run].sparsity)
    assert VGG_ELEMENTS == inventory.elements
    assert 32 * nonzeros == inventory.total("size", kept)
    assert round(100 * nonzeros / VGG_ELEMENTS, 9) == round(inventory.percent("size", kept), 9)


def test_an_inventory_of_a_model_agrees_with_what_pruning_it_measures() -> None:
    model = build_model("vgg")
    inventory = Inventory.of_model(model, (3, 32, 32))
    assert sum(count_macs(model, (3, 32, 32)).values()) == inventory.total("macs", inventory.base_kept)
    prune_(model, RUNS["run5"].sparsity)
    assert nominal_size_bits(model) == inventory.total("size", inventory.kept(RUNS["run5"].sparsity))


def test_a_sparse_file_is_a_bitmap_and_values_or_dense_where_that_is_smaller() -> None:
    layer = make_inventory((10, 10)).layers[0]
    assert [13 + 40, 13 + 4 * 96, 400, 400] == [layer_cost("file", layer, kept) for kept in (10, 96, 97, 100)]


def test_macs_are_in_proportion_to_density() -> None:
    inventory = Inventory.of_scan(make_scan({"a": (10, 10)}, {}, macs={"a": 6400}))
    assert 1600 == inventory.total("macs", {"a": 25})


@given(st.integers(1, 3_000_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_shortest_sparsity_prunes_exactly_the_count(case: tuple[int, int]) -> None:
    pruned, numel = case
    assert pruned == pruned_count(numel, shortest_sparsity(pruned, numel))


@given(st.integers(0, 100).map(lambda percent: percent / 100), st.integers(1000, 3_000_000))
def test_a_sparsity_of_two_digits_stays_one(sparsity: float, numel: int) -> None:
    assert sparsity == shortest_sparsity(pruned_count(numel, sparsity), numel)


def test_pruning_less_than_the_base_model_already_lacks_changes_nothing() -> None:
    inventory = make_inventory((10, 10), nonzeros=[30])
    assert [{"a": 30}, {"a": 30}, {"a": 20}] == [inventory.kept({"a": s}) for s in (0.0, 0.7, 0.8)]


def test_a_plan_that_leaves_a_layer_out_is_refused_by_name() -> None:
    with pytest.raises(PlanError, match="'b'"):
        make_inventory((2, 2), (2, 2)).kept({"a": 0.5})


def test_a_curve_passes_through_its_points_and_stays_between_them() -> None:
    curve = make_curves({"a": {0.4: 89.0, 0.6: 80.0, 0.8: 85.0}})["a"]
    assert [0.0, 1.0, 10.0, 5.0] == [round(curve.drop_at(s), 9) for s in (0.0, 0.4, 0.6, 0.8)]
    assert all(80 <= curve.accuracy_at(s / 100) <= 90 for s in range(81))
    assert all(80 <= curve.accuracy_at(s / 100) <= 89 for s in range(40, 61))


def test_beyond_its_last_point_a_curve_says_nothing_unless_asked() -> None:
    scan = make_scan({"a": (10, 10)}, {"a": {0.5: 80.0, 0.9: 60.0}})
    with pytest.raises(PlanError, match=r"'a' is beyond the scan, which ends at 0\.9"):
        Curves.of_scan(scan)["a"].accuracy_at(0.91)
    extrapolated = Curves.of_scan(scan, extrapolate=True)["a"]
    assert pytest.approx([60.0, 10.0]) == [extrapolated.accuracy_at(0.9), extrapolated.accuracy_at(1.0)]


def test_a_layer_that_was_not_scanned_is_not_extrapolated() -> None:
    scan = make_scan({"a": (10, 10), "b": (10, 10)}, {"a": {0.5: 80.0, 0.9: 60.0}})
    assert (0.0,) == Curves.of_scan(scan, extrapolate=True)["b"].sparsity


def test_a_point_exactly_at_the_limit_keeps_within_it() -> None:
    curve = make_curves({"a": {0.5: 90.39999999999999}}, base=90.8)["a"]  # as a scan has it: two images of 500 fewer
    assert curve.accuracy[0] - curve.accuracy[1] > 0.4
    assert 0.5 == curve.largest_keeping(0.4)


def test_a_base_that_is_sparse_starts_its_curve_there() -> None:
    scan = make_scan({"a": (10, 10)}, {"a": {0.4: 90.0, 0.7: 80.0}}, nonzeros={"a": 50})
    curve = Curves.of_scan(scan)["a"]
    assert (0.5, 0.7) == curve.sparsity
    assert [0.0, 0.0, 10.0] == [curve.drop_at(s) for s in (0.4, 0.5, 0.7)]


def test_a_layer_that_was_not_scanned_has_the_base_model_alone() -> None:
    curves = Curves.of_scan(make_scan({"a": (10, 10), "b": (10, 10)}, {"a": {0.5: 80.0}}))
    assert 0.0 == curves["b"].limit
    with pytest.raises(UnknownNameError, match="'c'"):
        curves["c"]


def test_caution_takes_standard_errors_off_what_is_planned_by_and_not_off_what_was_measured() -> None:
    scan = make_scan({"a": (10, 10)}, {"a": {0.5: 85.0}})
    point = scan.points[0].model_copy(update={"lost": 700, "gained": 200})
    curve = Curves.of_scan(scan.model_copy(update={"points": [point]}), caution=2)["a"]
    # n = 10,000 pairs; the difference is -0.05 an image: the mean of 900 ones and 9,100 zeros with signs
    error = 100 * (0.09 - 0.05**2) ** 0.5 / 10_000**0.5
    assert pytest.approx(error) == standard_error(point, images=10_000)
    assert (85.0, 90.0) == (curve.accuracy_at(0.5), curve.cautious_at(0.0))
    assert pytest.approx(90.0 - 7.0 - 2 * error) == curve.cautious_at(0.5), "700 lost; what was gained pays for nothing"


def test_of_images_drawn_by_doubt_caution_takes_the_shares_of_all_and_the_error_of_drawing() -> None:
    scan = make_scan({"a": (10, 10)}, {"a": {0.5: 85.0}})
    drawn = {"images": 500, "lost": 90, "gained": 30, "lost_share": 0.07, "gained_share": 0.02, "drawing_error": 0.4}
    point = scan.points[0].model_copy(update=drawn)
    error = (0.4**2 + (100 * (0.09 - 0.05**2) ** 0.5 / 10_000**0.5) ** 2) ** 0.5
    assert pytest.approx(error) == standard_error(point, images=10_000)
    curve = Curves.of_scan(scan.model_copy(update={"points": [point]}), caution=1)["a"]
    assert pytest.approx(90.0 - 7.0 - error) == curve.cautious_at(0.5)


def test_chance_is_what_guessing_gets_right_unless_the_base_model_is_no_better() -> None:
    scan = make_scan({"head": (10, 8), "body": (2, 8)}, {}, base=90.0)
    assert 10 == Curves.of_scan(scan).chance, "whatever layer comes last"
    assert 89.99 == Curves.of_scan(scan.model_copy(update={"guessing": 89.99})).chance
    assert 0 == Curves.of_scan(scan.model_copy(update={"guessing": 90.0})).chance


def test_skills_multiply() -> None:
    curves = make_curves({"a": {0.5: 50.0}, "b": {0.5: 50.0}})  # half the skill each: (50 - 10) / (90 - 10)
    assert pytest.approx(10 + 80 / 4) == curves.predicted_accuracy({"a": 0.5, "b": 0.5})
    assert pytest.approx(10 + 40 / 4) == curves.predicted_accuracy({"a": 0.5, "b": 0.5}, base=50.0)


@given(st.floats(12, 90))
def test_one_layer_alone_loses_what_its_curve_says(accuracy: float) -> None:
    curves = make_curves({"a": {0.5: round(accuracy, 2)}, "b": {0.5: 50.0}})
    assert pytest.approx(round(accuracy, 2)) == curves.predicted_accuracy({"a": 0.5, "b": 0.0})


def test_a_rise_is_no_loss_and_guessing_is_finite() -> None:
    curves = make_curves({"a": {0.5: 95.0}, "b": {0.5: 5.0}})
    assert 0.0 == curves.layer_loss("a", 0.5)
    assert pytest.approx(10.8) == curves.predicted_accuracy({"a": 0.5, "b": 0.5})


def test_beyond_a_curve_nothing_is_predicted() -> None:
    assert make_curves({"a": {0.5: 95.0}, "b": {0.5: 5.0}}).predicted_accuracy({"a": 0.5, "b": 0.6}) is None
