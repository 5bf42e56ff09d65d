"""Whole records against baselines: which tier catches a change, what cannot be compared, what every verdict says."""

import base64
import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from record_factory import make_signature
from scipy.stats import t

from prunebench.baselines.comparison import worst_status
from prunebench.errors import RecordError, ThresholdError
from prunebench.gate import Status, Thresholds, Tier, compare_records, worst_first
from prunebench.records import Accuracy, RunRecord

IMAGES = 10_000
LABELS = np.random.default_rng(0).integers(0, 10, IMAGES)
LAYERS = {"conv.weight": (8, 3, 3, 3), "fc.weight": (10, 8)}
SPARSITY = {"conv.weight": 0.5, "fc.weight": 0.25}
ENVIRONMENT = {"torch": "2.8", "device": "cpu", "cpu_capability": "AVX512", "threads": 2, "cpu": "Zen 5", "cores": 2}
MIRROR = {Status.FAIL: Status.IMPROVED, Status.IMPROVED: Status.FAIL}


def digest(*parts):
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def answers(wrong, seed=0):
    """Predictions with `wrong` of them wrong, always the first so many of one shuffled order."""
    order = np.random.default_rng(seed).permutation(IMAGES)
    predictions = LABELS.copy()
    predictions[order[:wrong]] = (predictions[order[:wrong]] + 1) % 10
    return predictions


def accuracy(predictions):
    correct = predictions == LABELS
    return Accuracy(
        correct=int(correct.sum()),
        images=len(correct),
        correct_bits=base64.b64encode(np.packbits(correct).tobytes()).decode(),
        predictions_digest=hashlib.sha256(predictions.astype(np.int16).tobytes()).hexdigest(),
    )


FLOOR = {"figure": "accuracy_best", "least": 96.4, "most": None, "rule": "a floor"}
RUN1 = {"floors": [FLOOR], "tuned": 100}
"""A record that keeps its floor after fine-tuning."""


def record(*, name="run1", sparsity=SPARSITY, pruned=1500, tuned=800, seed=0, dense="dense", kept=None, **changes):
    """A sound record; `pruned` and `tuned` are predictions or how many of them are wrong; `kept`, nonzeros."""
    numel = {layer: math.prod(shape) for layer, shape in LAYERS.items()}
    kept = (
        {layer: numel[layer] - round(sparsity[layer] * numel[layer]) for layer in LAYERS}
        | {"fc.bias": 10}
        | (kept or {})
    )
    pruned, tuned = (answers(each) if isinstance(each, int) else each for each in (pruned, tuned))
    best = accuracy(tuned)
    fields = {
        "created": "2026-01-01T00:00:00+00:00",
        "run": name,
        "run_digest": digest(sparsity),
        "model": "tiny",
        "architecture": digest("tiny"),
        "workload": "digits",
        "task": "classification",
        "recipe": "quick",
        "as_documented": False,
        "seed": seed,
        "precision": "fp32",
        "data": {"name": "digits", "digest": digest("data"), "train_images": 100, "test_images": IMAGES},
        "checkpoints": {
            "origin": "digits-0123456789abcdef.safetensors",
            "is_course_checkpoint": False,
            "is_own": True,
            "dense": digest(dense),
            "pruned": digest(dense, sparsity),
            "best": digest("best", best.predictions_digest),
            "last": digest("best", best.predictions_digest),
        },
        "layers": [
            {"name": layer, "shape": shape, "sparsity": sparsity[layer], "nonzeros": kept[layer], "macs": 100}
            for layer, shape in LAYERS.items()
        ],
        "floors": [],
        "masks_digest": digest("masks", dense, sparsity),
        "elements": sum(numel.values()) + 10,
        "dense_nonzeros": {**numel, "fc.bias": 10},
        "nonzeros": kept,
        "dense_size_bits": 32 * (sum(numel.values()) + 10),
        "pruned_size_bits": 32 * sum(kept.values()),
        "dense_file_bytes": 2000,
        "pruned_file_bytes": 2000,
        "dense_accuracy": accuracy(answers(700)).model_dump(),
        "pruned_accuracy": accuracy(pruned).model_dump(),
        "finetuning": {
            "settings": {"epochs": 2},
            "selected_on": "test",
            "losses": [0.2, 0.1],
            "selection_accuracies": [best.percent - 1, best.percent],
            "best_epoch": 2,
            "best": best.model_dump(),
            "last": best.model_dump(),
            "resumed_after": 0,
            "signature": make_signature().model_dump(),
        },
        "timings": {"prune": [0.05], "evaluate": [1.0, 1.1], "epochs": [2.0, 2.1]},
        "environment": ENVIRONMENT,
        "revision": None,
        "dirty": None,
    }
    return RunRecord.model_validate_json(json.dumps(merged(fields, changes)))


def merged(fields, changes):
    """`changes` laid over `fields`; a double underscore goes one level down."""
    for name, value in changes.items():
        outer, _, inner = name.partition("__")
        if inner:
            fields[outer] = merged(dict(fields[outer]), {inner: value})
        else:
            fields[outer] = value
    return fields


def compare(baseline, new, **thresholds):
    return compare_records({"case": baseline}, {"case": new}, thresholds=Thresholds(**thresholds))


def failed(verdicts):
    return {(verdict.tier, verdict.check) for verdict in verdicts if verdict.status is Status.FAIL}


def found(verdicts, check):
    (verdict,) = (verdict for verdict in verdicts if verdict.check == check)
    return verdict


def lose(predictions, count):
    """`count` right answers made wrong."""
    changed, right = predictions.copy(), np.flatnonzero(predictions == LABELS)
    changed[right[:count]] = (changed[right[:count]] + 1) % 10
    return changed


PRUNED = "accuracy of the pruned model"
REPEATS = "repeats byte for byte"
TUNED = "accuracy after fine-tuning, best epoch"


def test_the_same_record_passes_everywhere():
    verdicts = compare(record(), record())
    assert {Status.PASS} == {verdict.status for verdict in verdicts}
    assert {Tier.EXACT, Tier.ACCURACY, Tier.SIGNATURE, Tier.TIME} == {verdict.tier for verdict in verdicts}
    assert worst_status(verdicts) is Status.PASS


@pytest.mark.parametrize(
    ("baseline", "new"),
    [
        (record(), record()),
        (record(), record(pruned=1600, tuned=1200)),
        (record(), record(dense="other")),
        (record(), record(seed=1)),
        (record(), record(recipe="full")),
        (record(), record(sparsity=SPARSITY | {"fc.weight": 0.26})),
        (record(), record(environment={**ENVIRONMENT, "cpu": "Zen 4"})),
        (record(), None),
        (None, record()),
    ],
)
def test_every_verdict_carries_figures_rule_and_smallest_effect(baseline, new):
    verdicts = compare_records({"case": baseline} if baseline else {}, {"case": new} if new else {})
    assert verdicts
    for verdict in verdicts:
        assert verdict.case == "case"
        assert all((verdict.expected, verdict.measured, verdict.rule, verdict.smallest_effect, verdict.evidence))
        assert verdict.run == "run1"
        assert not (verdict.advisory and verdict.status is Status.FAIL)
        json.dumps(dict(verdict.evidence), allow_nan=False)
        json.dumps(verdict.shortfall, allow_nan=False)
        assert str(verdict).startswith(verdict.status)


def test_60_of_10_000_wrong_answers_fail_and_10_never_do():
    right = answers(1500)
    worse = compare(record(pruned=right), record(pruned=lose(right, 60)))
    assert failed(worse) == {(Tier.ACCURACY, PRUNED)}
    assert "60 of 10,000 answers lost, 0 gained" in str(worst_first(worse)[0])
    for count in (1, 10):
        better = compare(record(pruned=right), record(pruned=lose(right, count)))
        assert found(better, PRUNED).status in (Status.PASS, Status.INCONCLUSIVE)
        assert not failed(better)


def test_changing_sides_turns_a_fail_into_an_improvement():
    right = answers(1500)
    elsewhere = {**ENVIRONMENT, "torch": "2.9"}
    better = compare(record(pruned=lose(right, 60)), record(pruned=right, environment=elsewhere))
    assert found(better, PRUNED).status is Status.IMPROVED
    assert worst_status(better) is Status.PASS


def test_holm_counts_every_case_and_shared_answers_once():
    right = answers(1500)
    cases = {f"case{i}": record(pruned=right) for i in range(40)}
    changed = cases | {"case7": record(pruned=lose(right, 60))}
    verdicts = compare_records(cases, changed)
    (failure,) = (verdict for verdict in verdicts if verdict.status is Status.FAIL)
    assert failure.case == "case7"
    assert failure.evidence["tests"] == 4  # dense, pruned, pruned of case7, fine-tuned: the others are the same pairs
    assert failure.evidence["p_holm"] == pytest.approx(4 * failure.evidence["p_mcnemar"])


def test_other_wrong_answers_alone_are_no_drop():
    """Wrong before and wrong now, yet not the same answer: not identical, nothing lost."""
    before = answers(1500)
    after = before.copy()
    wrong = np.flatnonzero(before != LABELS)
    after[wrong] = (after[wrong] + 1) % 10
    verdict = found(compare(record(pruned=before), record(pruned=after)), PRUNED)
    assert verdict.status is Status.PASS
    assert verdict.evidence["identical_predictions"] == 0
    assert "upper limit" in verdict.rule


def test_one_machine_repeats_byte_for_byte_or_something_changed():
    """Never a FAIL, for it may be meant; never silent either."""
    right = answers(1500)
    verdict = found(compare(record(pruned=right), record(pruned=lose(right, 1))), REPEATS)
    assert (Status.INCONCLUSIVE, "other answers of the pruned model") == (verdict.status, verdict.measured)
    retrained = found(compare(record(), record(checkpoints__last=digest("x"), checkpoints__best=digest("x"))), REPEATS)
    assert "other weights of the best epoch, other weights of the last epoch" == retrained.measured
    elsewhere = record(pruned=lose(right, 1), environment={**ENVIRONMENT, "torch": "2.9"})
    assert REPEATS not in {verdict.check for verdict in compare(record(pruned=right), elsewhere)}


@pytest.mark.parametrize(
    ("lost", "expected", "advisory"),
    [(0, Status.PASS, False), (10, Status.PASS, False), (60, Status.INCONCLUSIVE, True), (260, Status.FAIL, False)],
)
def test_one_seed_fails_only_beyond_the_margin_and_what_a_seed_does(lost, expected, advisory):
    right = answers(800)
    verdict = found(compare(record(tuned=right), record(tuned=lose(right, lost))), TUNED)
    assert (expected, advisory) == (verdict.status, verdict.advisory)


def test_several_seeds_are_judged_as_one_procedure():
    wrong = {"a": 800, "b": 820, "c": 790}
    baselines = {case: record(tuned=count, seed=i) for i, (case, count) in enumerate(wrong.items())}
    for more, expected in ((0, Status.PASS), (30, Status.INCONCLUSIVE), (100, Status.FAIL), (-100, Status.IMPROVED)):
        records = {case: record(tuned=n + more, seed=i) for i, (case, n) in enumerate(wrong.items())}
        verdicts = compare_records(baselines, records)
        verdict = found(verdicts, f"{TUNED}, mean over seeds")
        assert (expected, "a", "a, b, c") == (verdict.status, verdict.case, verdict.evidence["cases"])
        assert not any(verdict.check == TUNED for verdict in verdicts)


@pytest.mark.parametrize("wrong", [(800, 9000), (6000, 9000), (820, 1500)])
def test_a_seed_that_collapsed_fails_however_wide_that_makes_the_spread(wrong):
    baselines = {"a": record(tuned=800, seed=0), "b": record(tuned=820, seed=1)}
    records = {case: record(tuned=count, seed=i) for i, (case, count) in enumerate(zip("ab", wrong, strict=True))}
    verdicts = compare_records(baselines, records)
    assert Status.INCONCLUSIVE is found(verdicts, f"{TUNED}, mean over seeds").status
    assert {"b"} <= {verdict.case for verdict in verdicts if verdict.status is Status.FAIL and verdict.check == TUNED}
    assert worst_status(verdicts) is Status.FAIL


def test_a_seed_given_twice_is_no_second_seed():
    cases = {"a": record(seed=0), "b": record(seed=0)}
    assert not any("mean over seeds" in verdict.check for verdict in compare_records(cases, cases))


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"kept": {"conv.weight": 107}}, "nonzeros"),
        ({"pruned_file_bytes": 2001}, "file size"),
        ({"elements": 307}, "elements of all parameters"),
        ({"elements": 2**62}, "elements of all parameters"),
        ({"masks_digest": digest("other")}, "masks, on equal dense weights"),
        ({"checkpoints__pruned": digest("other")}, "pruned weights, from equal dense weights"),
    ],
)
def test_exact_quantities_fail_by_one(change, check):
    assert (Tier.EXACT, check) in failed(compare(record(), record(**change)))


def test_macs_and_shapes_are_exact():
    layers = [layer.model_dump(mode="json") for layer in record().layers]
    assert failed(compare(record(), record(layers=[layers[0] | {"macs": 101}, layers[1]]))) == {
        (Tier.EXACT, "multiply-accumulates")
    }
    assert failed(compare(record(), record(layers=[layers[0] | {"shape": [3, 8, 3, 3]}, layers[1]]))) == {
        (Tier.EXACT, "layer shapes")
    }


def test_a_changed_sparsity_is_named_and_red():
    """The experiment is another one, so nothing is compared; and the size it led to is shown to have changed."""
    verdicts = compare(record(), record(sparsity=SPARSITY | {"conv.weight": 0.51}))
    assert "sparsity of conv.weight 0.5 -> 0.51" in found(verdicts, "same experiment").measured
    assert failed(verdicts) == {(Tier.EXACT, "nonzeros")}
    assert "conv.weight 106" in found(verdicts, "nonzeros").measured
    assert not any(verdict.status is Status.PASS for verdict in verdicts)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"workload": "cifar10"}, "workload digits -> cifar10"),
        ({"model": "vgg"}, "model tiny -> vgg"),
        ({"architecture": digest("wider")}, "architecture digest"),
        ({"task": "detection"}, "task classification -> detection"),
        ({"recipe": "full"}, "recipe quick -> full"),
        (
            {"precision": "bf16", "finetuning__signature": make_signature(scores_dtype="bfloat16").model_dump()},
            "precision fp32 -> bf16",
        ),
        ({"data__digest": digest("other")}, "data digest"),
        ({"run_digest": digest("other")}, "run digest"),
        ({"run": "run2"}, "run run1 -> run2"),
    ],
)
def test_another_experiment_is_incomparable_and_never_a_pass(change, named):
    verdicts = compare(record(), record(**change))
    assert [Status.INCOMPARABLE] == [verdict.status for verdict in verdicts]
    assert named in verdicts[0].measured
    assert worst_status(verdicts) is Status.INCOMPARABLE


@pytest.mark.parametrize(("conv", "status"), [(0.5, Status.FAIL), (0.9, Status.INCONCLUSIVE)])
def test_two_points_lost_after_one_training_fail_where_seeds_do_less(conv, status):
    """1.69 points fail at 58 % density, 2.37 at 30 %."""
    baseline, new = (record(sparsity=SPARSITY | {"conv.weight": conv}, tuned=wrong) for wrong in (800, 1000))
    assert status is found(compare(baseline, new), "accuracy after fine-tuning, best epoch").status


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed 0 -> 1"),
        ({"finetuning__settings": {"epochs": 3}}, "recipe epochs 2 -> 3"),
        ({"finetuning__selected_on": "validation"}, "epoch chosen on test -> validation"),
        ({"finetuning": None, "checkpoints__best": None, "checkpoints__last": None}, "fine-tuned yes -> no"),
    ],
)
def test_another_training_leaves_the_trained_accuracy_incomparable(change, named):
    verdicts = compare(record(), record(**change))
    verdict = found(verdicts, "accuracy after fine-tuning")
    assert Status.INCOMPARABLE is verdict.status
    assert named in verdict.measured
    assert found(verdicts, PRUNED).status is Status.PASS
    assert worst_status(verdicts) is Status.INCOMPARABLE


def test_another_dense_checkpoint_leaves_accuracy_incomparable_and_sizes_exact():
    verdicts = compare(record(), record(dense="other"))
    assert "dense checkpoint digest" in found(verdicts, "accuracy, same dense weights").measured
    assert [Status.INCOMPARABLE] == [verdict.status for verdict in verdicts if verdict.tier is Tier.ACCURACY]
    assert found(verdicts, "nonzeros").status is Status.PASS
    assert worst_status(verdicts) is Status.INCOMPARABLE


@pytest.mark.parametrize("other", [{"threads": 4}, {"torch": "2.9"}, {"cpu": "Zen 4"}])
def test_a_recipe_trained_anywhere_else_is_advisory(other):
    verdicts = compare(record(**RUN1), record(**RUN1, dense="other", environment={**ENVIRONMENT, **other}))
    assert found(verdicts, "accuracy, same dense weights").advisory
    assert worst_status(verdicts) is Status.PASS


def test_one_recipe_trained_on_two_machines_is_advisory():
    """A workload that trains its own dense model gets other weights elsewhere; sizes decide, and floors."""
    elsewhere = {"dense": "other", "environment": {**ENVIRONMENT, "threads": 4}}
    verdicts = compare(record(**RUN1), record(**RUN1, **elsewhere))
    verdict = found(verdicts, "accuracy, same dense weights")
    assert (Status.INCOMPARABLE, True) == (verdict.status, verdict.advisory)
    assert "threads 2 -> 4" in verdict.measured
    assert "only a floor judges the accuracy" in verdict.measured
    assert worst_status(verdicts) is Status.PASS
    by_hand = {"checkpoints__is_own": False}
    other = record(**RUN1, **elsewhere, **by_hand)
    assert worst_status(compare(record(**RUN1, **by_hand), other)) is Status.INCOMPARABLE
    recipe = record(**RUN1, **elsewhere, checkpoints__origin="digits-fedcba9876543210.safetensors")
    assert worst_status(compare(record(**RUN1), recipe)) is Status.INCOMPARABLE, "of another recipe"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tuned": 9000}, "10.00, at least 96.40 by its floor"),  # as good as guessing
        ({"floors": []}, "no floor judges the accuracy"),
        ({"floors": [FLOOR | {"figure": "accuracy_dense"}]}, "no floor judges the accuracy"),
        ({"finetuning": None, "checkpoints__best": None, "checkpoints__last": None}, "no floor judges"),
    ],
)
def test_where_no_floor_finds_it_good_other_weights_from_elsewhere_are_no_pass(change, said):
    """A table of one's own, or a run without fine-tuning, has no floor: nothing at all would judge its accuracy."""
    elsewhere = {"dense": "other", "environment": {**ENVIRONMENT, "threads": 4}}
    before = {**RUN1, **{key: value for key, value in change.items() if key != "tuned"}}
    verdicts = compare(record(**before), record(**{**before, **change}, **elsewhere))
    verdict = found(verdicts, "accuracy, same dense weights")
    assert (Status.INCOMPARABLE, False) == (verdict.status, verdict.advisory)
    assert said in verdict.measured
    assert worst_status(verdicts) is Status.INCOMPARABLE


def test_the_tests_over_seeds_share_alpha():
    """Five runs under three seeds each would otherwise cry wolf five times as often as is said."""

    def several(shift):
        return {
            f"{name}-{seed}": record(name=name, seed=seed, tuned=800 + 30 * seed + shift)
            for name in ("run1", "run2", "run3", "run4", "run5")
            for seed in range(3)
        }

    one, shared = (
        {verdict.evidence["allowance_points"] for verdict in compare_records(old, new) if "over seeds" in verdict.check}
        for old, new in (
            ({key: value for key, value in each.items() if key.startswith(chosen)} for each in (several(0), several(5)))
            for chosen in ("run1", "run")
        )
    )
    assert 1 == len(one) == len(shared)
    assert min(shared) == pytest.approx(min(one) * t.isf(0.01 / 5, 4) / t.isf(0.01, 4))


@pytest.mark.parametrize("side", [0, 1])
def test_a_timing_that_one_side_lacks_is_not_passed_over(side):
    sides = [record(), record()]
    sides[side] = record(timings__evaluate=[])
    verdict = found(compare(*sides), "seconds, evaluation")
    assert (Status.INCOMPARABLE, True) == (verdict.status, verdict.advisory)
    assert ["the baseline has no samples", "the record has no samples"][side] == verdict.measured


def test_missing_and_vanished_cases_are_no_pass():
    assert [Status.NO_BASELINE] == [verdict.status for verdict in compare_records({}, {"new": record()})]
    (vanished,) = compare_records({"old": record()}, {})
    assert (Status.INCOMPARABLE, "vanished case") == (vanished.status, vanished.check)
    assert worst_status([]) is Status.INCOMPARABLE


@pytest.mark.parametrize("kind", ["evaluate", "epochs"])
def test_a_doubled_time_fails_on_this_machine_and_advises_on_another(kind):
    slow = {f"timings__{kind}": [seconds * 2 for seconds in getattr(record().timings, kind)]}
    name = {"evaluate": "evaluation", "epochs": "epochs"}[kind]
    assert failed(compare(record(), record(**slow))) == {(Tier.TIME, f"seconds, {name}")}
    elsewhere = compare(record(), record(**slow, environment={**ENVIRONMENT, "cpu": "Zen 4"}))
    verdict = found(elsewhere, f"seconds, {name}")
    assert (Status.INCOMPARABLE, True) == (verdict.status, verdict.advisory)
    assert "cpu Zen 5 -> Zen 4" in verdict.rule
    assert verdict.evidence["ratio"] == pytest.approx(2)
    assert worst_status(elsewhere) is Status.PASS


def test_times_are_left_alone_where_that_is_asked_for():
    slow = record(timings__evaluate=[seconds * 2 for seconds in record().timings.evaluate])
    assert Status.FAIL is worst_status(compare(record(), slow))
    verdicts = compare(record(), slow, times=False)
    assert Status.PASS is worst_status(verdicts)
    assert not any(verdict.tier is Tier.TIME for verdict in verdicts)


def test_an_unknown_machine_is_another_machine():
    unknown = record(environment={}, timings__evaluate=[2.0, 2.2])
    assert found(compare(record(environment={}), unknown), "seconds, evaluation").status is Status.INCOMPARABLE


def test_resumed_epochs_are_not_timed():
    verdicts = compare(record(), record(finetuning__resumed_after=1, timings__epochs=[9.0, 9.0]))
    verdict = found(verdicts, "seconds, epochs")
    assert (Status.INCOMPARABLE, True, "the record has no samples") == (
        verdict.status,
        verdict.advisory,
        verdict.measured,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"pruned_accuracy__correct": 9000},
        {"pruned_accuracy__images": 9984},
        {"pruned_accuracy__correct_bits": "AAAA"},
        {"pruned_size_bits": 32},
        {"nonzeros__fc.weight": 59},
        {"finetuning__best_epoch": 1},
        {"finetuning__best_epoch": 7},
        {"finetuning__selection_accuracies": [99.0, 99.1]},
        {"checkpoints__last": digest("other")},
        {"checkpoints__best": None},
        {"elements": 5},
        {"timings__prune": [1e300]},
        {"finetuning__best__correct": 2**62},
        {"layers": []},
    ],
)
def test_a_record_that_contradicts_itself_cannot_be_built(change):
    with pytest.raises((RecordError, ValidationError)):
        record(**change)


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_record_is_refused_or_judged_and_a_changed_figure_never_passes(data):
    """One value anywhere is changed, on either side; whatever the schema still takes has to get its verdicts."""
    fields = json.loads(SOUND.model_dump_json())
    place, path = fields, []
    while isinstance(place, dict | list) and place:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        path.append(data.draw(st.sampled_from(keys)))
        owner, place = place, place[path[-1]]
    owner[path[-1]] = data.draw(st.sampled_from(damaged(place)))
    try:
        other = RunRecord.model_validate_json(json.dumps(fields))
    except (ValueError, RecordError):
        return
    for baseline, new in ((SOUND, other), (other, SOUND)):
        verdicts = compare(baseline, new)
        json.dumps([[str(verdict), dict(verdict.evidence)] for verdict in verdicts], allow_nan=False)
        figures = path[0] in {"nonzeros", "elements", "masks_digest"} or "size" in path[0] or "correct" in path
        if figures and other != SOUND:
            assert worst_status(verdicts) is not Status.PASS


def damaged(value):
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [0, value + 1, value - 1, 2**40, 10**400]
    if isinstance(value, float):
        return [0.0, 1.0, value * 2, 5e-324, 1e308]
    if isinstance(value, str):
        return ["", value[:-1], value[::-1], "0" * 64, value + "A"]
    return [None, 0, "x"]


SOUND = record()


def test_best_weights_that_are_the_last_epochs_are_a_contradiction():
    tuned = {"finetuning__best_epoch": 1, "finetuning__selection_accuracies": [92.0, 91.0]}
    worse = {"finetuning__last": accuracy(answers(900)).model_dump()}
    with pytest.raises(RecordError, match="called best"):
        record(**tuned, **worse)


@settings(max_examples=60)
@given(lost=st.integers(0, 300), gained=st.integers(0, 300), more=st.integers(1, 100))
def test_worse_never_turns_a_fail_into_a_pass_and_sides_mirror(lost, gained, more):
    before = answers(1500)
    after = lose(before, lost)
    wrong = np.flatnonzero(before != LABELS)[:gained]
    after[wrong] = LABELS[wrong]
    there = found(compare(record(pruned=before), record(pruned=after)), PRUNED).status
    back = found(compare(record(pruned=after), record(pruned=before)), PRUNED).status
    worse = found(compare(record(pruned=before), record(pruned=lose(after, more))), PRUNED).status
    if there in MIRROR:
        assert back is MIRROR[there]
    if there is Status.FAIL:
        assert worse is Status.FAIL


def test_the_least_of_a_limit_is_allowed():
    least = {"power": 0.5, "seed_spread": 0, "time_minimum_seconds": 0}
    assert least == {name: getattr(Thresholds(**least), name) for name in least}


@pytest.mark.parametrize(
    "limits", [{"alpha": 0}, {"alpha": math.nan}, {"margin": 0}, {"power": 1}, {"time_ratio": 1}, {"seed_spread": -1}]
)
def test_limits_outside_their_range_are_refused(limits):
    (name,) = limits
    with pytest.raises(ThresholdError, match=name):
        Thresholds(**limits)
