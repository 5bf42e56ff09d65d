"""What a run without failures says of itself: how much passed, and the drop that would not have."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from prunebench.baselines.comparison import verdict_from
from prunebench.gate import Status, Tier, Verdict
from prunebench.report import notable, passed_lines


def accuracy(case: str, points: float | None, status: Status = Status.PASS) -> Verdict:
    return Verdict(
        run="run1",
        case=case,
        check="accuracy",
        tier=Tier.ACCURACY,
        status=status,
        expected="90 %",
        measured="90 %",
        shortfall=0.0,
        rule="",
        evidence={"smallest_effect_points": points},
        smallest_effect=f"{points} points with 90 % power" if points else "none: too few images",
    )


SIZE = Verdict(run="run1", check="size", status=Status.PASS, expected="1", measured="1", shortfall=0.0, rule="")


def test_the_least_sensitive_comparison_is_named_with_its_drop() -> None:
    found = passed_lines([accuracy("a", 0.5), accuracy("b", 1.25, Status.FAIL), SIZE], cases=2)
    assert found == [
        "2 of 3 comparisons passed, 2 cases; the others: 1 FAIL",
        "accuracy: every comparison would have failed a true drop of 1.25 points with 90 % power; "
        "least sensitive: b, accuracy",
    ]


def test_times_of_another_machine_take_one_line() -> None:
    def elsewhere(case: str) -> Verdict:
        rule = "advisory: another machine (cpu A -> B)"
        return replace(SIZE, case=case, tier=Tier.TIME, status=Status.INCOMPARABLE, advisory=True, rule=rule)

    worse = accuracy("b", 1.25, Status.FAIL)
    verdicts = [SIZE, worse, elsewhere("a"), elsewhere("a"), elsewhere("b")]
    reported = [verdict_from(json.loads(json.dumps(asdict(verdict)))) for verdict in verdicts]  # as pytest sees them
    for given in (verdicts, reported):
        shown, lines = notable(given)
        assert [worse] == shown
        assert ["3 times of 2 cases not compared: another machine (cpu A -> B)"] == lines


def test_cases_that_were_not_compared_for_one_reason_take_one_line() -> None:
    def other_weights(case: str, digests: str = "a -> b", *, advisory: bool = True) -> Verdict:
        return replace(SIZE, case=case, status=Status.INCOMPARABLE, advisory=advisory, measured=digests)

    deciding, lone = other_weights("e", advisory=False), other_weights("d", "a -> c")
    shown, lines = notable([other_weights("a"), SIZE, lone, other_weights("b"), deciding, other_weights("c")])
    assert [lone, deciding] == shown, "in the order they came in: worst first"
    assert ["INCOMPARABLE (advisory) a, b, c: size: a -> b"] == lines


def test_too_few_images_for_any_drop_are_not_passed_over() -> None:
    _, line = passed_lines([accuracy("a", 0.5), accuracy("b", None)])
    assert line == ("accuracy: no drop, however large, would have failed everywhere; too few images: b, accuracy")


def test_accuracy_that_was_not_compared_is_counted() -> None:
    uncompared = replace(accuracy("b", 0.5, Status.INCOMPARABLE), evidence={}, advisory=True)
    assert "accuracy of 1 case was not compared" == passed_lines([accuracy("a", 0.5), uncompared])[-1]
    assert "accuracy of 2 cases was not compared" == passed_lines([uncompared, replace(uncompared, case="c")])[-1]
    assert not any("not compared" in line for line in passed_lines([accuracy("a", 0.5)]))


def test_without_accuracies_nothing_is_said_of_them() -> None:
    assert ["1 of 1 comparison passed"] == passed_lines([SIZE])
