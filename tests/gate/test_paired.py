"""The paired test against oracles, the interval's coverage, the smallest effect, and properties of the verdict."""

import base64
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, false_discovery_control

from prunebench.errors import RecordError
from prunebench.gate import Status, Thresholds
from prunebench.gate.paired import (
    PairedCounts,
    approximate_effect,
    correctness,
    drop_interval,
    fail_probability,
    holm,
    judge_paired,
    mcnemar,
    minimum_detectable_effect,
    paired_counts,
)
from prunebench.records import Accuracy

DEFAULTS = Thresholds()
WORSE_FIRST = [Status.FAIL, Status.INCONCLUSIVE, Status.PASS, Status.IMPROVED]


def accuracy(bits):
    bits = np.asarray(bits, dtype=bool)
    packed = base64.b64encode(np.packbits(bits).tobytes()).decode()
    return Accuracy(correct=int(bits.sum()), images=len(bits), correct_bits=packed, predictions_digest="0" * 64)


def status(counts, margin=DEFAULTS.margin):
    return judge_paired(
        counts,
        p_worse=mcnemar(counts),
        p_better=mcnemar(counts.mirrored),
        fail_margin=margin,
        thresholds=DEFAULTS,
    )


@st.composite
def paired(draw):
    n = draw(st.integers(1, 20_000))
    b = draw(st.integers(0, min(n, draw(st.sampled_from([5, 100, 20_000])))))
    return PairedCounts(b=b, c=draw(st.integers(0, min(n - b, 3 * b + 20))), n=n)


def test_counts_come_from_the_bits_image_by_image():
    before, after = [1, 1, 1, 0, 0, 1, 0, 1, 1, 0], [1, 0, 0, 1, 0, 1, 0, 1, 0, 0]
    assert PairedCounts(b=3, c=1, n=10) == paired_counts(accuracy(before), accuracy(after))
    assert before == correctness(accuracy(before)).astype(int).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correct_bits": "not base64!"}, "not base64"),
        ({"correct_bits": "/w=="}, "need 2"),
        ({"correct": 3}, "3"),
        ({"correct": 6, "correct_bits": base64.b64encode(bytes([0b11111000, 0b00000001])).decode()}, "record says"),
    ],
)
def test_bits_that_do_not_fit_are_refused(change, message):
    sound = accuracy([1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
    with pytest.raises(RecordError, match=message):
        correctness(sound.model_copy(update=change))


def test_other_numbers_of_images_are_refused():
    with pytest.raises(RecordError, match="10 images, the new model 9"):
        paired_counts(accuracy([1] * 10), accuracy([1] * 9))


@pytest.fixture(scope="module")
def statsmodels():
    pytest.importorskip("statsmodels", reason="statsmodels is the oracle")
    from statsmodels.stats import contingency_tables, multitest

    return SimpleNamespace(mcnemar=contingency_tables.mcnemar, multipletests=multitest.multipletests)


@given(counts=paired())
def test_scipy_and_statsmodels_agree(statsmodels, counts):
    if counts.b + counts.c == 0:
        assert mcnemar(counts) == 1
        return
    one_sided = binomtest(counts.b, counts.b + counts.c, 0.5, alternative="greater").pvalue
    assert one_sided == mcnemar(counts)
    both = counts.n - counts.b - counts.c
    two_sided = statsmodels.mcnemar([[both, counts.b], [counts.c, 0]], exact=True).pvalue
    assert two_sided == pytest.approx(min(1, 2 * min(mcnemar(counts), mcnemar(counts.mirrored))), abs=1e-12)


@settings(max_examples=20)
@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_statsmodels_holm_agrees(statsmodels, p_values):
    expected = statsmodels.multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected)


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_lies_between_the_plain_values_and_bonferroni(p_values):
    for plain, adjusted in zip(p_values, holm(p_values), strict=True):
        assert plain <= adjusted <= min(1, len(p_values) * plain) + 1e-12
    assert all(
        adjusted >= controlled - 1e-9
        for adjusted, controlled in zip(holm(p_values), false_discovery_control(p_values), strict=True)
    )


def miss_rate(n, worse, better, alpha):
    """Probability that the upper limit lies under the true drop, summed over every outcome."""
    missed, differing = 0.0, worse + better
    for m in range(int(binom.ppf(1e-9, n, differing)), int(binom.ppf(1 - 1e-9, n, differing)) + 1):
        low, high = 0, m + 1  # the limit rises with b: the first b that covers, by bisection
        while low < high:
            middle = (low + high) // 2
            upper = drop_interval(PairedCounts(b=middle, c=m - middle, n=n), alpha=alpha)[1]
            low, high = (low, middle) if upper >= 100 * (worse - better) else (middle + 1, high)
        missed += binom.pmf(m, n, differing) * binom.cdf(low - 1, m, worse / differing)
    return missed


@pytest.mark.parametrize("n", [100, 600, 10_000])
@pytest.mark.parametrize(
    ("differing", "drop"), [(0.005, 0.005), (0.01, 0.0), (0.01, 0.005), (0.03, 0.005), (0.1, 0.005)]
)
def test_the_upper_limit_covers_by_exact_enumeration(n, differing, drop):
    """A pass rests on the upper limit: where the true drop is the margin, at most alpha of all experiments pass."""
    assert miss_rate(n, (differing + drop) / 2, (differing - drop) / 2, 0.01) <= 0.0105


@given(counts=paired())
def test_interval_holds_the_estimate_and_mirrors(counts):
    lower, upper = drop_interval(counts, alpha=0.01)
    assert -100 <= lower <= counts.drop + 1e-6
    assert counts.drop - 1e-6 <= upper <= 100
    assert drop_interval(counts.mirrored, alpha=0.01) == pytest.approx((-upper, -lower), abs=1e-6)


@pytest.mark.parametrize("alpha", [0.4, 0.499, 0.4999])
@pytest.mark.parametrize("b", [0, 3])
def test_the_limit_at_a_level_that_rejects_nearly_all_is_the_estimate(alpha, b):
    lower, upper = drop_interval(PairedCounts(b=b, c=0, n=10_000), alpha=alpha)
    assert lower <= 100 * b / 10_000 <= upper < 100 * b / 10_000 + 0.05


def test_interval_agrees_with_the_published_example():
    """Airway hyper-responsiveness of 21 children before and after transplantation, b = 1 and c = 7.

    Bentur 2009; Tango's 95 % interval of the difference in Fagerland, Lydersen, Laake 2014 is -0.517 to -0.026.
    """
    assert drop_interval(PairedCounts(b=1, c=7, n=21), alpha=0.025) == pytest.approx((-51.7, -2.6), abs=0.05)


def test_60_of_10_000_fail_and_10_never_do():
    assert status(PairedCounts(b=60, c=0, n=10_000)) is Status.FAIL
    for b in range(11):
        assert status(PairedCounts(b=b, c=0, n=10_000)) is Status.PASS


@given(counts=paired(), more=st.integers(1, 200), turn=st.booleans())
def test_worse_never_turns_a_fail_into_anything_else(counts, more, turn):
    """Worse: images that both got right are lost, or gains are undone."""
    if turn:
        worse = PairedCounts(b=counts.b, c=max(0, counts.c - more), n=counts.n)
    else:
        worse = PairedCounts(b=min(counts.n - counts.c, counts.b + more), c=counts.c, n=counts.n)
    before, after = status(counts), status(worse)
    assert WORSE_FIRST.index(after) <= WORSE_FIRST.index(before)


@given(counts=paired())
def test_changing_sides_mirrors_the_verdict(counts):
    mirror = {Status.FAIL: Status.IMPROVED, Status.IMPROVED: Status.FAIL}
    there, back = status(counts), status(counts.mirrored)
    assert mirror.get(there) is (back if there in mirror else None)
    assert mirror.get(back) is (there if back in mirror else None)


@given(counts=paired())
def test_a_pass_is_never_beyond_the_margin_and_a_fail_never_within(counts):
    if status(counts) is Status.PASS:
        assert counts.drop < DEFAULTS.margin
    if status(counts) is Status.FAIL:
        assert counts.drop >= DEFAULTS.margin


@pytest.mark.parametrize("images", [600, 10_000])
@pytest.mark.parametrize("discordance", [0.0, 0.01, 0.1])
def test_the_smallest_effect_fails_with_the_power_it_claims(images, discordance):
    """By simulation, in which nothing of the formula is used but the verdict itself."""
    effect = minimum_detectable_effect(images=images, discordance=discordance, alpha=0.01, margin=0.5, power=0.9)
    worse, better = discordance / 2 + effect / 100, discordance / 2
    drawn = np.random.default_rng(0).multinomial(images, [worse, better, 1 - worse - better], size=2000)
    fails = sum(status(PairedCounts(b=int(b), c=int(c), n=images)) is Status.FAIL for b, c, _ in drawn)
    assert 0.9 - 3 * (0.09 / 2000) ** 0.5 <= fails / 2000


def test_the_usual_formula_is_too_small_where_the_margin_decides():
    """(z + z) sqrt(discordance / n) is what the test alone sees; a FAIL needs the margin as well."""
    known = {"images": 10_000, "discordance": 0.005, "alpha": 0.01}
    usual = approximate_effect(**known, power=0.9)
    assert pytest.approx(0.255, abs=0.001) == usual
    assert fail_probability(usual, **known, margin=0.5) < 0.01
    assert minimum_detectable_effect(**known, margin=0.5, power=0.9) > 0.5


def test_the_usual_formula_is_right_for_the_test_alone():
    known = {"images": 10_000, "discordance": 0.2, "alpha": 0.01}
    exact = minimum_detectable_effect(**known, margin=1e-6, power=0.9)
    assert exact == pytest.approx(approximate_effect(**known, power=0.9), rel=0.05)


@example(images=14, discordance=2.2250738585072014e-308, alpha=0.03125, margin=1.0)
@given(st.integers(1, 20_000), st.floats(0, 1), st.floats(0.0001, 0.05), st.floats(0.01, 5))
def test_some_effect_is_seen_or_none_is(images, discordance, alpha, margin):
    effect = minimum_detectable_effect(images=images, discordance=discordance, alpha=alpha, margin=margin, power=0.9)
    assert effect is None or margin / 2 < effect <= 100
