"""Floors: which limit applies to what a run was executed on."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from record_factory import make_signature

from prunebench.documented.runs import DocumentedRun, documented_run
from prunebench.errors import PlanError
from prunebench.experiments.flow import execute, prepare
from prunebench.gate import Status, Verdict, check_floors, check_record, floors, worst_first
from prunebench.records import Accuracy, FineTuning, RunRecord
from prunebench.workloads import DEFAULT_WORKLOAD, find_workload


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A record of run 1, of an untrained model; the tests put other figures in."""
    from prunebench.models import build_model, save_state

    path = tmp_path_factory.mktemp("floors") / "untrained.safetensors"
    save_state(build_model("vgg").state_dict(), path)
    digits = find_workload("digits")
    setting = prepare(digits, digits.recipe("quick"), checkpoint=path, device=torch.device("cpu"))
    return execute(documented_run("run1"), setting, finetune=False)


def test_floors_of_another_run_are_refused(measured: RunRecord) -> None:
    less = DocumentedRun(name="less", sparsity={"classifier.weight": 0.5}, source="this test")
    with pytest.raises(PlanError, match=r"run 'less' says nothing of 'backbone\.conv0\.weight'"):
        check_record(measured, less)


def on_cifar10(
    record: RunRecord, *, dense: int, best: int, course: bool = False, full: bool = True, before: int = 9000
) -> RunRecord:
    def answers(correct: int) -> Accuracy:
        return record.dense_accuracy.model_copy(update={"correct": correct, "images": 10_000})

    tuned = FineTuning(
        recipe={},
        selected_on="test",
        losses=[0.1],
        selection_accuracies=[best / 100],
        best_epoch=1,
        best=answers(best),
        last=answers(best),
        resumed_after=0,
        signature=make_signature(),
    )
    return record.model_copy(
        update={
            "workload": "cifar10",
            "as_documented": full,
            "recipe": "full" if full else "quick",
            "dense_accuracy": answers(dense),
            "pruned_accuracy": answers(before),
            "finetuning": tuned,
            "checkpoints": record.checkpoints.model_copy(update={"is_course_checkpoint": course}),
        }
    )


def statuses(record: RunRecord, run: DocumentedRun) -> dict[str, Status]:
    return {verdict.check.partition(" (")[0]: verdict.status for verdict in check_floors(record, run)}


@pytest.mark.parametrize(("best", "status"), [(8774, Status.PASS), (8773, Status.FAIL)])
def test_another_checkpoint_is_held_to_the_documented_change(measured: RunRecord, best: int, status: Status) -> None:
    run3 = documented_run("run3")  # documented change -0.11, margin 1.0: 88.85 - 0.11 - 1.0 = 87.74
    record = on_cifar10(measured, dense=8885, best=best)
    assert {"accuracy after fine-tuning, best epoch, %": status} == statuses(record, run3)


@pytest.mark.parametrize(("best", "status"), [(9234, Status.PASS), (9233, Status.FAIL)])
def test_the_courses_checkpoint_is_held_to_the_documented_accuracy(
    measured: RunRecord, best: int, status: Status
) -> None:
    record = on_cifar10(measured, dense=9295, before=9048, best=best, course=True)
    assert {
        "dense accuracy, %": Status.PASS,
        "accuracy before fine-tuning, %": Status.PASS,
        "accuracy after fine-tuning, best epoch, %": status,
    } == statuses(record, documented_run("run3"))


def test_a_file_that_only_has_the_courses_name_is_found_out(measured: RunRecord) -> None:
    record = on_cifar10(measured, dense=8963, before=8000, best=9284, course=True)
    found = statuses(record, documented_run("run3"))
    assert (Status.FAIL, Status.FAIL) == (found["dense accuracy, %"], found["accuracy before fine-tuning, %"])


@pytest.mark.parametrize(("origin", "held"), [("digits-0123456789abcdef.safetensors", 1), ("mine.safetensors", 0)])
def test_the_floors_of_digits_hold_for_the_recipe_they_were_measured_on(
    measured: RunRecord, origin: str, held: int
) -> None:
    tuned = on_cifar10(measured, dense=9500, best=9500).finetuning
    checkpoints = measured.checkpoints.model_copy(update={"origin": origin})
    record = measured.model_copy(update={"finetuning": tuned, "checkpoints": checkpoints})
    assert [Status.FAIL] * held == list(statuses(record, documented_run("run3")).values())


def test_a_longer_fine_tuning_than_quick_has_no_floor_of_quick(measured: RunRecord) -> None:
    record = on_cifar10(measured, dense=8963, best=5000).model_copy(update={"as_documented": False})
    assert {} == statuses(record, documented_run("run3"))


def test_where_nothing_is_documented_nothing_is_held(measured: RunRecord) -> None:
    assert {} == statuses(on_cifar10(measured, dense=8963, best=5000), documented_run("run4"))


@pytest.mark.parametrize("table", [*floors.GENERATED_FLOORS.values(), floors.QUICK_CHANGE_FLOORS])
def test_every_run_has_a_floor_in_the_recipes_that_the_benchmarks_use(table: Mapping[str, float]) -> None:
    assert {"run1", "run2", "run3", "run4", "run5"} == set(table)


def test_the_default_workload_has_floors() -> None:
    assert (DEFAULT_WORKLOAD, "quick") in floors.GENERATED_FLOORS


def test_a_workload_of_somebody_else_is_held_to_no_floor_of_the_same_name(measured: RunRecord) -> None:
    run3 = documented_run("run3")
    quick = on_cifar10(measured, dense=8963, best=5000).model_copy(update={"as_documented": False, "recipe": "quick"})
    assert [Status.FAIL] == list(statuses(quick, run3).values())
    assert {} == statuses(quick.model_copy(update={"builtin": False}), run3)


def test_a_failure_says_by_how_much_and_how_to_look_closer(measured: RunRecord) -> None:
    run5 = documented_run("run5")
    record = on_cifar10(measured, dense=8963, best=8700)
    (verdict,) = check_floors(record, run5)
    assert 0.84 == pytest.approx(verdict.shortfall)
    for part in ("FAIL run5", "87.00", "at least 87.84", "documented change -0.79, margin 1.0", "prunebench run run5"):
        assert part in str(verdict)


def test_failures_come_first_then_the_nearest_to_their_limits() -> None:
    def verdict(status: Status, shortfall: float) -> Verdict:
        return Verdict(run="r", check="c", status=status, expected="", measured="", shortfall=shortfall, rule="")

    near, far = verdict(Status.PASS, -0.1), verdict(Status.PASS, -3)
    slight, bad = verdict(Status.FAIL, 0.1), verdict(Status.FAIL, 5)
    assert [bad, slight, near, far] == worst_first([far, slight, near, bad])
