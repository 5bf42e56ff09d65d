"""Seconds: what fails, what only advises, and what one sample cannot say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.gate import Status, Thresholds
from prunebench.gate.timing import Samples, judge_times

DEFAULTS = Thresholds()
SECONDS = st.floats(0, 1000)


def judged(before, after, others=()):
    samples = Samples(before=before, after=after, others=others)
    return judge_times("case", "run1", "seconds", samples, thresholds=DEFAULTS)


@pytest.mark.parametrize(
    ("before", "after", "others", "expected"),
    [
        ([1.0, 1.1], [2.0, 2.2], [], Status.FAIL),
        ([1.0, 1.1], [2.0, 2.2], [1.0, 3.0], Status.FAIL),
        ([1.0, 1.1], [2.0, 2.2], [1.9, 3.0], Status.INCONCLUSIVE),  # everything is slower: a busy machine
        ([2.7, 2.8], [11.8, 12.1], [2.5, 2.6], Status.INCONCLUSIVE),  # which does not slow everything alike
        ([2.7, 2.8], [11.8, 12.1], [1.1, 2.6], Status.FAIL),
        ([1.0, 2.1], [2.0, 3.2], [], Status.INCONCLUSIVE),  # not separated
        ([1.0], [2.0], [], Status.INCONCLUSIVE),  # one sample
        ([0.001, 0.0011], [0.005, 0.006], [], Status.INCONCLUSIVE),  # under the absolute minimum
        ([0.025, 0.026], [0.061, 0.066], [1.0], Status.INCONCLUSIVE),  # as one version took, minutes apart
        ([1.0, 1.1], [1.3, 1.4], [], Status.PASS),
        ([2.0, 2.2], [1.0, 1.1], [], Status.IMPROVED),
        ([2.0, 2.2], [1.0, 1.1], [0.5], Status.PASS),  # everything is faster
        ([11.8, 12.1], [2.7, 2.8], [0.4, 0.38], Status.PASS),  # the baseline was made on a busy machine
        ([0.0, 0.0], [0.0, 0.0], [], Status.PASS),
        ([0.0, 0.0], [1.0, 1.0], [], Status.FAIL),
    ],
)
def test_a_fail_needs_every_condition(before, after, others, expected):
    verdict = judged(before, after, others)
    assert verdict.status is expected
    assert verdict.advisory == (expected is Status.INCONCLUSIVE)
    assert verdict.evidence
    assert verdict.rule
    assert verdict.smallest_effect


def test_one_sample_says_that_it_sees_nothing():
    assert judged([1.0], [9.0]).smallest_effect == "none: one sample shows no spread"


def test_a_busy_machine_says_that_it_sees_nothing():
    seen = judged([2.7, 2.8], [11.8, 12.1], [2.5, 2.6]).smallest_effect
    assert seen == "none: everything else took x2.50, so the machine was busy"


@given(st.lists(SECONDS, min_size=1, max_size=9), st.lists(SECONDS, min_size=1, max_size=9), st.lists(SECONDS))
def test_changing_sides_mirrors_and_figures_are_finite(before, after, others):
    there = judged(before, after, others)
    back = Samples(before=before, after=after, others=others).mirrored
    mirror = {Status.FAIL: Status.IMPROVED, Status.IMPROVED: Status.FAIL}
    if there.status in mirror and all(ratio > 0 for ratio in others):
        assert judge_times("case", "run1", "seconds", back, thresholds=DEFAULTS).status is mirror[there.status]
    assert abs(there.shortfall) <= 1e9


@given(st.lists(SECONDS, min_size=1, max_size=9), st.lists(SECONDS, min_size=1, max_size=9), st.floats(0, 100))
def test_slower_never_turns_a_fail_into_anything_else(before, after, more):
    if judged(before, after).status is Status.FAIL:
        assert judged(before, [seconds + more for seconds in after]).status is Status.FAIL
