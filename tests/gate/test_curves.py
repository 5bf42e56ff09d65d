"""Scans against a baseline: a regression at a point is that point's, noise fails nothing, what is not there no pass."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from gate.scan_documents import (
    CONTRADICTORY,
    ENVIRONMENT,
    LAYERS,
    PLACES,
    SPARSITIES,
    Place,
    Right,
    base_right,
    edited,
    losing,
    make_scan,
    place_right,
    with_layer,
)
from hypothesis import given
from hypothesis import strategies as st
from record_factory import digest

from prunebench.baselines.comparison import worst_status
from prunebench.errors import RecordError
from prunebench.gate import Status, Thresholds, Verdict, compare_records
from prunebench.records import case_id
from prunebench.sensitivity import Scan, read_scan

OWN = "digits-08e6164e339e48dd.safetensors"


def by_check(verdicts: list[Verdict]) -> dict[str, Status]:
    found = {verdict.check: verdict.status for verdict in verdicts}
    assert len(found) == len(verdicts), "one verdict a check"
    return found


def compare_scans(baseline: Scan, new: Scan, thresholds: Thresholds | None = None) -> list[Verdict]:
    return compare_records({case_id(new): baseline}, {case_id(new): new}, thresholds=thresholds or Thresholds())


def named(place: Place) -> str:
    return f"{place[0]} at {place[1]:g}"


def test_the_same_scan_passes_with_a_verdict_a_point_one_of_the_base_and_one_of_the_time() -> None:
    verdicts = compare_scans(make_scan(), make_scan(created="2026-02-03T00:00:00+00:00"))
    expected = {"accuracy of the base model", "seconds, scan", *map(named, PLACES)}
    assert dict.fromkeys(expected, Status.PASS) == by_check(verdicts)
    assert {"digits/scan-vgg-10000"} == {verdict.case for verdict in verdicts}


@given(place=st.sampled_from(PLACES), images=st.sampled_from([600, 1000, 10_000]))
def test_a_planted_regression_fails_its_own_point_and_no_other(place: Place, images: int) -> None:
    lost = 60 if images == 10_000 else images // 20
    new = make_scan(losing(place, lost, images=images), images=images)
    found = by_check(compare_scans(make_scan(images=images), new))
    assert [named(place)] == [check for check, status in found.items() if status is not Status.PASS]
    assert Status.FAIL is found[named(place)]


@given(place=st.sampled_from(PLACES), lost=st.integers(1, 10))
def test_ten_answers_of_ten_thousand_never_fail(place: Place, lost: int) -> None:
    assert Status.PASS is worst_status(compare_scans(make_scan(), make_scan(losing(place, lost))))


def test_answers_won_back_are_an_improvement() -> None:
    place = PLACES[1]
    found = by_check(compare_scans(make_scan(losing(place, 60)), make_scan()))
    assert {named(place): Status.IMPROVED} == {c: status for c, status in found.items() if status is not Status.PASS}


def test_a_worse_base_model_under_the_same_digest_fails() -> None:
    base = base_right()
    base[-60:] = False
    found = by_check(compare_scans(make_scan(), make_scan(base=base)))
    assert Status.FAIL is found["accuracy of the base model"]


def flipped(right: Right, share: float, generator: np.random.Generator) -> Right:
    return right ^ (generator.random(len(right)) < share)


@pytest.mark.parametrize(("images", "share"), [(10_000, 0.05), (1000, 0.01)])
def test_two_scans_that_differ_by_chance_alone_fail_in_at_most_one_of_a_hundred(images: int, share: float) -> None:
    """Flips of either kind with one chance, in half-right answers, so that neither side is better.

    Were the rate 1 %, more than 9 of 400 would fail in one of a hundred runs of this test. Without Holm it is near 8 %.
    """
    generator, failed = np.random.default_rng(0), 0
    truth = np.arange(images) % 2 == 0
    for _ in range(400):
        one, other = (
            make_scan(
                {place: flipped(truth, share, generator) for place in PLACES},
                base=flipped(truth, share, generator),
                images=images,
            )
            for _ in range(2)
        )
        failed += worst_status(compare_scans(one, other)) is Status.FAIL
    assert failed <= 9


@given(st.sampled_from(PLACES))
def test_a_vanished_point_is_no_pass(place: Place) -> None:
    new = make_scan(places=[each for each in PLACES if each != place])
    verdicts = compare_scans(make_scan(), new)
    assert Status.INCOMPARABLE is worst_status(verdicts)
    assert Status.INCOMPARABLE is by_check(verdicts)[f"vanished point: {named(place)}"]
    assert "seconds, scan" not in by_check(verdicts), "less was timed"


def test_a_vanished_layer_is_no_pass_point_by_point() -> None:
    layer = next(iter(LAYERS))
    new = make_scan(places=[place for place in PLACES if place[0] != layer])
    statuses = Counter(verdict.status for verdict in compare_scans(make_scan(), new))
    assert len(SPARSITIES) == statuses[Status.INCOMPARABLE]


def test_a_new_point_has_no_baseline() -> None:
    place = (PLACES[0][0], 0.8)
    verdicts = compare_scans(make_scan(), make_scan({place: place_right(place)}))
    assert Status.NO_BASELINE is by_check(verdicts)[f"new point: {named(place)}"]
    assert Status.NO_BASELINE is worst_status(verdicts)


@pytest.mark.parametrize(
    ("new", "named"),
    [
        (make_scan(data_digest=digest("other")), "data digest"),
        (make_scan(images=1000), "images 10000 -> 1000"),
        (make_scan(criterion="random"), "criterion magnitude -> random"),
        (make_scan(precision="bf16"), "precision fp32 -> bf16"),
        (with_layer(make_scan(), shape=[64, 9, 3, 1]), "shape of backbone.conv0.weight"),
        (with_layer(make_scan(), macs=1), "MACs of backbone.conv0.weight"),
        (make_scan(layers=make_scan().layers[:2], places=PLACES[:6]), "layer classifier.weight is gone"),
    ],
)
def test_two_different_things_are_no_pass_and_said_to_differ(new: Scan, named: str) -> None:
    (verdict,) = compare_scans(make_scan(), new)
    assert (Status.INCOMPARABLE, False) == (verdict.status, verdict.advisory)
    assert named in verdict.measured


def test_curves_of_two_models_are_not_compared_and_their_largest_difference_is_shown() -> None:
    worse = make_scan(losing(PLACES[4], 500), model_digest=digest("other"))
    (verdict,) = compare_scans(make_scan(), worse)
    assert (Status.INCOMPARABLE, False) == (verdict.status, verdict.advisory)
    assert f"largest growth of a drop: {named(PLACES[4])}, 2.40 -> 7.40 points" in verdict.measured


@pytest.mark.parametrize(
    ("advisory", "origins", "threads"),
    [(True, (OWN, OWN), 4), (False, (OWN, OWN), 2), (False, (OWN, OWN.replace("8", "9")), 4), (False, ("a", "a"), 4)],
)
def test_one_recipe_trained_elsewhere_is_advisory_and_nothing_else_is(
    advisory: bool, origins: tuple[str, str], threads: int
) -> None:
    old = make_scan(origin=origins[0])
    new = make_scan(origin=origins[1], model_digest=digest("other"), environment=ENVIRONMENT | {"threads": threads})
    (verdict,) = compare_scans(old, new)
    assert (Status.INCOMPARABLE, advisory) == (verdict.status, verdict.advisory)
    assert Status.INCOMPARABLE is worst_status([verdict]), "nothing was compared"


def test_points_that_were_not_answered_in_full_are_compared_with_nothing() -> None:
    for sides in ((make_scan(), make_scan(answered=5000)), (make_scan(answered=5000), make_scan(answered=5000))):
        found = by_check(compare_scans(*sides))
        assert {Status.INCOMPARABLE} == {found[named(place)] for place in PLACES}


def test_more_points_need_more_evidence() -> None:
    """Holm: what fails as the only point may not fail among nine."""
    place = PLACES[0]
    thresholds = Thresholds(margin=0.05)
    statuses = []
    for places in ([place], PLACES):
        new = make_scan(losing(place, 8), places=places)
        (verdict,) = [
            verdict
            for verdict in compare_scans(make_scan(places=places), new, thresholds)
            if verdict.check == named(place)
        ]
        statuses.append((verdict.status, verdict.evidence["tests"]))
    assert [(Status.FAIL, 2), (Status.INCONCLUSIVE, 10)] == statuses


def test_seconds_never_fail_a_scan() -> None:
    found = by_check(compare_scans(make_scan(seconds=1.0), make_scan(seconds=1000.0)))
    assert Status.INCONCLUSIVE is found["seconds, scan"]
    elsewhere = make_scan(seconds=1000.0, environment=ENVIRONMENT | {"threads": 4})
    verdicts = compare_scans(make_scan(seconds=1.0), elsewhere)
    assert [("seconds, scan", Status.INCOMPARABLE)] == [
        (verdict.check, verdict.status) for verdict in verdicts if verdict.advisory
    ]
    assert Status.PASS is worst_status(verdicts)


@pytest.mark.parametrize("said", CONTRADICTORY)
def test_a_scan_that_contradicts_itself_cannot_be_built_and_its_file_not_read(said: str, tmp_path: Path) -> None:
    path = edited(tmp_path / "scan.json", **CONTRADICTORY[said])
    with pytest.raises(
        RecordError, match=rf"scan.json' cannot be used: the scan contradicts itself: .*{re.escape(said)}"
    ):
        read_scan(path)
    with pytest.raises(RecordError, match=re.escape(said)):
        make_scan(**CONTRADICTORY[said])
