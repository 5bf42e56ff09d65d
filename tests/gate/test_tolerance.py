"""Several seeds: the tolerance limit against scipy, its smallest effect by simulation, and what one seed cannot say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from prunebench.gate import Status, Thresholds
from prunebench.gate.tolerance import SeedAccuracies, allowance, judge_seeds, seed_effect

DEFAULTS = Thresholds()
PERCENT = st.integers(0, 10_000).map(lambda correct: correct / 100)


def drawn(generator, k, drop=0.0, spread=0.2):
    before, after = generator.normal(92, spread, k), generator.normal(92 - drop, spread, k)
    return SeedAccuracies(before=before.tolist(), after=after.tolist())


def test_limit_is_students_t_test():
    generator = np.random.default_rng(1)
    for k in (2, 3, 5, 10):
        seeds = drawn(generator, k, drop=0.5)
        p = ttest_ind(seeds.before, seeds.after, alternative="greater").pvalue
        assert (p < DEFAULTS.alpha) == (seeds.drop > allowance(seeds, alpha=DEFAULTS.alpha))
        assert allowance(seeds, alpha=p) == pytest.approx(seeds.drop)


def test_one_new_seed_is_judged_by_the_prediction_limit():
    """mean - t(0.99, 4) s sqrt(1 + 1/5); t = 3.7469 from a table."""
    seeds = SeedAccuracies(before=[92.0, 92.2, 92.4, 92.6, 92.8], after=[91.0])
    assert allowance(seeds, alpha=0.01) == pytest.approx(3.7469 * 0.316228 * 1.2**0.5, rel=1e-4)
    assert judge_seeds(seeds, thresholds=DEFAULTS) is Status.FAIL


def test_one_baseline_seed_says_nothing_about_a_procedure():
    for after in ([92.0], [20.0], [20.0, 21.0, 22.0]):
        seeds = SeedAccuracies(before=[92.0], after=after)
        assert judge_seeds(seeds, thresholds=DEFAULTS) is Status.INCONCLUSIVE
        assert seed_effect(seeds, thresholds=DEFAULTS) is None


def test_false_alarms_are_rarer_than_alpha():
    generator = np.random.default_rng(2)
    verdicts = [judge_seeds(drawn(generator, 3), thresholds=DEFAULTS) for _ in range(2000)]
    assert verdicts.count(Status.FAIL) <= 2000 * 0.01


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_smallest_effect_fails_with_the_power_it_claims(k):
    """For the true spread; a simulated pair of groups measures its own."""
    generator = np.random.default_rng(3)
    pattern = np.resize([-1.0, 1.0], k)
    pattern = (pattern - pattern.mean()) / pattern.std(ddof=1) * 0.2
    known = SeedAccuracies(before=(92 + pattern).tolist(), after=(92 + pattern).tolist())
    effect = seed_effect(known, thresholds=DEFAULTS)
    found = [judge_seeds(drawn(generator, k, drop=effect), thresholds=DEFAULTS) for _ in range(2000)]
    assert found.count(Status.FAIL) / 2000 == pytest.approx(0.9, abs=0.025)


@given(
    before=st.lists(PERCENT, min_size=1, max_size=6),
    after=st.lists(PERCENT, min_size=1, max_size=6),
    lower=st.floats(0.01, 50),
)
def test_a_shift_down_never_improves_the_verdict(before, after, lower):
    order = [Status.FAIL, Status.INCONCLUSIVE, Status.PASS, Status.IMPROVED]
    verdicts = [
        judge_seeds(SeedAccuracies(before=before, after=[x - shift for x in after]), thresholds=DEFAULTS)
        for shift in (lower, 0)
    ]
    assert order.index(verdicts[0]) <= order.index(verdicts[1])


def test_equal_accuracies_pass():
    assert judge_seeds(SeedAccuracies(before=[92.0, 92.0], after=[92.0]), thresholds=DEFAULTS) is Status.PASS


@pytest.mark.parametrize(
    ("density", "deviation"),
    [(1, 0.21), (0.5, 0.21), (0.49, 0.33), (0.1, 0.33), (0.0875, 0.36), (0.049, 0.66), (0, 0.66)],
)
def test_the_spread_of_seeds_grows_with_sparsity(density, deviation):
    """Four standard deviations of the difference between two trainings of this density."""
    assert 4 * 2**0.5 * deviation == pytest.approx(Thresholds().seed_spread_at(density))
    assert 1.5 == Thresholds(seed_spread=1.5).seed_spread_at(density)
