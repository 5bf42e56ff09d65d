"""Floors: which limit applies to what a run was executed on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from record_factory import make_record

from prunebench.documented.floors import Floor
from prunebench.documented.runs import RUNS, documented_run, run_digest
from prunebench.errors import WorkloadError
from prunebench.experiments.flow import execute, prepare
from prunebench.gate import Status, Verdict, check_floors, check_sizes, worst_first
from prunebench.records import Accuracy, FineTuning, RunRecord
from prunebench.workloads import BUILT_IN, DEFAULT_WORKLOAD, find_recipe, find_workload
from prunebench.workloads.cifar10 import QUICK_CHANGE_FLOORS


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A record of run 1, of an untrained model."""
    from prunebench.models import build_model, save_state

    path = tmp_path_factory.mktemp("floors") / "untrained.safetensors"
    save_state(build_model("vgg").state_dict(), path)
    setting = prepare(find_workload("digits"), "quick", checkpoint=path, device=torch.device("cpu"))
    return execute(replace(documented_run("run1"), floors=(OWN,)), setting, finetune=False)


OWN = Floor(figure="accuracy_before", least=5.0, rule="as good as half of guessing")


def test_a_record_holds_the_floors_of_documented_sizes_then_its_runs_then_its_workloads(measured: RunRecord) -> None:
    assert ["size_mib", "size_percent", "accuracy_before"] == [floor.figure for floor in measured.floors]
    size, percent, own = measured.floors
    assert (15.845, 15.855) == (size.least, size.most)
    assert (45.025, 45.035) == (percent.least, percent.most)
    assert OWN == own


def on_cifar10(
    run: str, *, dense: int, best: int, course: bool = False, full: bool = True, before: int = 9000, **changes: Any
) -> RunRecord:
    """A record of a documented run on 10,000 images with the floors of `cifar10`."""
    return with_floors(
        unchecked(
            run=run,
            run_digest=run_digest(RUNS[run]),
            workload="cifar10",
            as_documented=full,
            recipe="full" if full else "quick",
            dense_accuracy=answers(dense),
            pruned_accuracy=answers(before),
            finetuning=tuned(best),
            checkpoints=make_record().checkpoints.model_copy(update={"is_course_checkpoint": course, "is_own": False}),
        ).model_copy(update=changes)
    )


def unchecked(**changes: Any) -> RunRecord:
    """A record with other counts of right answers than its bits say: of thousands only the counts matter here."""
    return make_record().model_copy(update=changes)


def with_floors(record: RunRecord) -> RunRecord:
    return record.model_copy(update={"floors": list(BUILT_IN[record.workload].floors(record))})


def answers(correct: int) -> Accuracy:
    return make_record().dense_accuracy.model_copy(update={"correct": correct, "images": 10_000})


def tuned(best: int) -> FineTuning:
    changes = {"best": answers(best), "last": answers(best), "selection_accuracies": [best / 100]}
    made = make_record().finetuning
    assert made is not None
    return made.model_copy(update=changes)


def statuses(record: RunRecord) -> dict[str, Status]:
    return {verdict.check: verdict.status for verdict in check_floors(record)}


CHANGE = "change of accuracy, best epoch, points"


@pytest.mark.parametrize(("best", "status"), [(8774, Status.PASS), (8773, Status.FAIL)])
def test_another_checkpoint_is_held_to_the_documented_change(best: int, status: Status) -> None:
    # Documented change of run 3: -0.11, margin 1.0: 88.85 - 0.11 - 1.0 = 87.74.
    assert {CHANGE: status} == statuses(on_cifar10("run3", dense=8885, best=best))


@pytest.mark.parametrize("run", RUNS)
def test_a_change_at_its_limit_is_allowed_and_one_image_less_is_not(run: str) -> None:
    lost = round(-100 * QUICK_CHANGE_FLOORS[run])
    for dense in range(8000, 9500, 7):
        found = [statuses(on_cifar10(run, dense=dense, best=dense - lost - more, full=False)) for more in (0, 1)]
        assert [{CHANGE: Status.PASS}, {CHANGE: Status.FAIL}] == found


@pytest.mark.parametrize(("best", "status"), [(9234, Status.PASS), (9233, Status.FAIL)])
def test_the_courses_checkpoint_is_held_to_the_documented_accuracy(best: int, status: Status) -> None:
    assert {
        "dense accuracy, %": Status.PASS,
        "accuracy before fine-tuning, %": Status.PASS,
        "accuracy after fine-tuning, best epoch, %": status,
    } == statuses(on_cifar10("run3", dense=9295, before=9048, best=best, course=True))


def test_a_file_that_only_has_the_courses_name_is_found_out() -> None:
    found = statuses(on_cifar10("run3", dense=8963, before=8000, best=9284, course=True))
    assert (Status.FAIL, Status.FAIL) == (found["dense accuracy, %"], found["accuracy before fine-tuning, %"])


@pytest.mark.parametrize("workload", ["digits", "shapes"])
@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({}, 1),
        ({"checkpoints": make_record().checkpoints.model_copy(update={"is_own": False})}, 0),
        ({"recipe": "full"}, 0),
        ({"finetuning": None}, 0),
        ({"run_digest": "0" * 64}, 0),
    ],
    ids=["as measured", "another dense model", "another recipe", "not fine-tuned", "another run of the name"],
)
def test_the_floors_of_what_needs_no_download_hold_for_the_recipe_they_were_measured_on(
    workload: str, changes: dict[str, Any], held: int
) -> None:
    run3 = {"run": "run3", "run_digest": run_digest(RUNS["run3"]), "workload": workload, "finetuning": tuned(7000)}
    record = with_floors(unchecked(**run3 | changes))
    assert dict.fromkeys(["accuracy after fine-tuning, best epoch, %"] * held, Status.FAIL) == statuses(record)


def test_a_longer_fine_tuning_than_quick_has_no_floor_of_quick() -> None:
    assert {} == statuses(on_cifar10("run3", dense=8963, best=5000, as_documented=False))


def test_where_nothing_is_documented_nothing_is_held() -> None:
    assert {} == statuses(on_cifar10("run4", dense=8963, best=5000))


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("workload", ["cifar10", "digits", DEFAULT_WORKLOAD])
def test_every_documented_run_has_a_floor_in_the_recipes_that_the_benchmarks_use(workload: str, run: str) -> None:
    assert "quick" == find_recipe(BUILT_IN[workload])[0]
    record = make_record(run=run, run_digest=run_digest(RUNS[run]), workload=workload, recipe="quick")
    assert 1 == len(with_floors(record).floors)


def test_a_run_of_somebody_else_is_held_to_no_floor_of_the_same_name() -> None:
    assert [Status.FAIL] == list(statuses(on_cifar10("run3", dense=8963, best=5000, full=False)).values())
    assert {} == statuses(on_cifar10("run3", dense=8963, best=5000, full=False, run_digest="0" * 64))


def test_a_workload_of_somebody_else_cannot_have_the_name_of_one_of_prunebenchs_own() -> None:
    with pytest.raises(WorkloadError, match="'cifar10' is a workload of prunebench's own: give yours another name"):
        prepare(replace(BUILT_IN["cifar10"], recipes={}))  # type: ignore[type-var]


def test_a_failure_says_by_how_much_and_how_to_look_closer() -> None:
    (verdict,) = check_floors(on_cifar10("run5", dense=8963, best=8700))
    assert 0.84 == pytest.approx(verdict.shortfall)
    parts = ("FAIL cifar10/run5-full", "-2.63", "at least -1.79", "dense 89.63", "documented change -0.79, margin 1.0",
             "prunebench run run5")  # fmt: skip
    for part in parts:
        assert part in str(verdict)


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"least": 95.0, "most": 95.0}, Status.PASS),
        ({"least": 95.01}, Status.FAIL),
        ({"most": 94.99}, Status.FAIL),
        ({"most": 95.0}, Status.PASS),
    ],
)
def test_a_limit_itself_is_allowed(limits: dict[str, float], status: Status) -> None:
    record = make_record(wrong=10, floors=[Floor(figure="accuracy_before", rule="a rule", **limits)])
    (verdict,) = check_floors(record)
    assert (status, "a rule") == (verdict.status, verdict.rule)


def test_a_floor_of_what_was_not_measured_is_not_judged() -> None:
    floors = [Floor(figure=figure, least=0.0, rule="a rule") for figure in ("accuracy_best", "change")]
    assert [] == list(check_floors(make_record(finetuning=None, floors=floors)))


def test_a_nonzero_too_many_fails_by_layer_and_in_total() -> None:
    failed = [verdict.check for verdict in check_sizes(make_record(extra_nonzeros=1)) if verdict.status is Status.FAIL]
    assert ["nonzeros of classifier.weight", "nonzeros of all parameters"] == failed


def test_failures_come_first_then_the_nearest_to_their_limits() -> None:
    def verdict(status: Status, shortfall: float) -> Verdict:
        return Verdict(run="r", check="c", status=status, expected="", measured="", shortfall=shortfall, rule="")

    near, far = verdict(Status.PASS, -0.1), verdict(Status.PASS, -3)
    slight, bad = verdict(Status.FAIL, 0.1), verdict(Status.FAIL, 5)
    assert [bad, slight, near, far] == worst_first([far, slight, near, bad])
