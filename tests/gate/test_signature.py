"""The signature tier: facts are exact, figures are held to a tolerance where one was measured."""

import re

import pytest
from record_factory import make_record, make_signature

from prunebench.errors import RecordError
from prunebench.gate import Status, Tier, compare_records
from prunebench.gate.signature import CALIBRATED, ELSEWHERE, largest_factor
from prunebench.records import RunRecord
from prunebench.workloads import BUILT_IN

FAMILY = "shapes/quick"


def with_signature(*, losses=(0.5, 0.25), workload="shapes", **changes):
    record = make_record(workload=workload)
    tuned = record.finetuning.model_copy(update={"signature": make_signature(**changes), "losses": list(losses)})
    return record.model_copy(update={"finetuning": tuned})


def judged(new, baseline=None):
    verdicts = compare_records({"case": baseline or with_signature()}, {"case": new})
    return {verdict.check: verdict for verdict in verdicts if verdict.tier is Tier.SIGNATURE}


def test_a_training_repeated_passes_and_says_what_it_would_have_seen():
    verdicts = judged(with_signature())
    assert 5 == len(verdicts), "what was done, losses, weights, others, length; there is no batch norm"
    assert {Status.PASS} == {verdict.status for verdict in verdicts.values()}
    assert all(verdict.smallest_effect for verdict in verdicts.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 31}, "optimizer steps 32 -> 31"),
        ({"images": 1999}, "images seen 2000 -> 1999"),
        ({"learning_rates": [0.005, 0.0005]}, "learning rate of epoch 2, mean 0.005 -> 0.0005"),
        ({"optimizer": {"momentum": 0.9, "weight_decay": 0.01, "nesterov": 0.0}}, "weight_decay 0.0001 -> 0.01"),
        ({"images_digest": "0" * 64}, "images, as trained on"),
        ({"labels_digest": "0" * 64}, "labels, as trained on"),
    ],
)
def test_facts_fail_by_one(changes, words):
    verdict = judged(with_signature(**changes))["training as it was done"]
    assert Status.FAIL is verdict.status
    assert words in verdict.measured


def test_rates_that_a_torch_version_rounds_otherwise_are_the_same():
    assert (
        Status.PASS
        is judged(with_signature(learning_rates=[0.005 * (1 + 1e-12), 0.005]))["training as it was done"].status
    )


FIGURES = {
    "training loss by epoch": ("loss", lambda factor: {"losses": [0.5, 0.25 * factor]}),
    "how far the weights moved": ("weights", lambda factor: {"distance": {
        "backbone.conv0.weight": 0.1 / factor, "classifier.weight": 0.2, "classifier.bias": 0.3}}),
    "how far biases and batch norm's parameters moved": ("others", lambda factor: {"distance": {
        "backbone.conv0.weight": 0.1, "classifier.weight": 0.2, "classifier.bias": 0.3 * factor}}),
    "length of the weights": ("length", lambda factor: {"length": {
        "backbone.conv0.weight": factor, "classifier.weight": 1.1, "classifier.bias": 1.0}}),
}  # fmt: skip


@pytest.mark.parametrize("check", FIGURES)
@pytest.mark.parametrize(
    ("workload", "tolerances", "status"),
    [("shapes", CALIBRATED[FAMILY], Status.FAIL), ("mine", ELSEWHERE, Status.INCONCLUSIVE)],
)
def test_figures_fail_outside_the_tolerance_where_it_was_measured(check, workload, tolerances, status):
    name, change = FIGURES[check]
    allowed = getattr(tolerances, name)
    baseline = with_signature(workload=workload)
    inside = judged(with_signature(workload=workload, **change(0.99 * allowed)), baseline)[check]
    outside = judged(with_signature(workload=workload, **change(1.01 * allowed)), baseline)[check]
    assert (Status.PASS, status) == (inside.status, outside.status)


@pytest.mark.parametrize(
    ("after", "factor"), [({"w": 0.5}, 2.0), ({"w": 2.0}, 2.0), ({"w": 0.0}, float("inf")), ({}, float("inf"))]
)
def test_the_factor_is_the_same_either_way_and_infinite_where_one_side_has_nothing(after, factor):
    assert ("w", factor) == largest_factor({"w": 1.0}, after)
    assert ("w", 1.0) == largest_factor({"w": 0.0}, {"w": 0.0})


def test_another_recipe_or_seed_is_another_experiment():
    assert {} == judged(with_signature().model_copy(update={"seed": 1}))


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        ({"weight_decay": 1e-3}, {}, "weight_decay of the recipe is 0.001, the optimizer's was 0.0001"),
        (
            {"betas": [0.9, 0.99]},
            {"optimizer": {"beta2": 0.999}},
            "beta2 of the recipe is 0.99, the optimizer's was 0.999",
        ),
        (
            {"epsilon": 1e-6},
            {"optimizer": {"epsilon": 1e-8}},
            "epsilon of the recipe is 1e-06, the optimizer's was 1e-08",
        ),
        ({}, {"scores_dtype": "bfloat16"}, "training is called fp32, its scores were bfloat16"),
        ({"batch_size": 64}, {"steps": 30}, "the recipe makes 32 steps, 30 were done"),
        ({"batch_size": 64}, {"images": 1800}, "the recipe makes 2,000 images, 1,800 were done"),
        ({"batch_size": 64, "images_per_epoch": 128}, {"images": 256}, "the recipe makes 4 steps, 32 were done"),
        ({}, {"learning_rates": [0.1]}, "1 learning rates, 2 losses"),
    ],
)
def test_a_record_whose_training_is_not_of_its_recipe_contradicts_itself(recipe, changes, words):
    record = with_signature(**changes)
    tuned = record.finetuning.model_copy(update={"settings": record.finetuning.settings | recipe})
    with pytest.raises(RecordError, match=re.escape(words)):
        RunRecord(**dict(record) | {"finetuning": tuned})


def test_tolerances_are_of_recipes_that_exist():
    for family in CALIBRATED:
        workload, recipe = family.split("/")
        assert recipe in BUILT_IN[workload].recipes
