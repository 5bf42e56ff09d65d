"""The three tests of a run, as pytest-benchmark times them: pruning, evaluation, fine-tuning; and the gate on each."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest
from torch import nn

from prunebench.documented.runs import Run
from prunebench.experiments.deployment import check_deployable
from prunebench.experiments.flow import Progress, Pruned, Setting, fine_tune, record, time_pruning
from prunebench.gate import Status, Verdict, worst_first
from prunebench.machine.devices import wait_for
from prunebench.measure import nominal_size_bits
from prunebench.pruning import Masks, SparsityPlan
from prunebench.records import RunRecord
from prunebench.report.verdicts import failure_lines
from prunebench.tasks import Evaluation, evaluate

if TYPE_CHECKING:
    from prunebench.pytest_plugin import Gate

PRUNING_ROUNDS = 5


def check_pruning(run: Run, setting: Setting, pruned: Pruned, benchmark: Any) -> None:
    """Pruning the same weights by the same table gives the same masks every time, and exactly the sizes it says."""
    copies: list[nn.Module] = []

    def fresh_copy() -> tuple[tuple[object, ...], dict[str, object]]:
        copies[:] = [copy.deepcopy(setting.dense.model)]
        return (copies[0],), {}

    def prune_and_wait(model: nn.Module) -> Masks:
        masks = pruned.method.prune_(model, SparsityPlan(run.sparsity), pruned.evidence)
        wait_for(setting.device)
        return masks

    masks = benchmark.pedantic(prune_and_wait, setup=fresh_copy, rounds=PRUNING_ROUNDS)
    size = nominal_size_bits(copies[0])
    benchmark.extra_info.update(size_bits=size, size_percent=100 * size / nominal_size_bits(setting.dense.model))
    assert pruned.masks.digest == masks.digest, "pruning the same weights again gave other masks"


def timed_evaluation(run: Run, setting: Setting, pruned: Pruned, benchmark: Any, *, progress: Progress) -> Evaluation:
    """Evaluate the pruned model on the test examples, timed."""
    progress.stage(f"{run.name}: evaluation of the pruned model")
    evaluation: Evaluation = benchmark.pedantic(
        evaluate,
        args=(pruned.model, setting.data.test),
        kwargs={"task": setting.workload.task, "progress": progress.evaluated},
    )
    benchmark.extra_info.update(accuracy_before=evaluation.accuracy, correct=evaluation.correct_count)
    return evaluation


def check_finetuning(
    run: Run, setting: Setting, pruned: Pruned, before: Evaluation, benchmark: Any, gate: Gate, *, progress: Progress
) -> RunRecord:
    """The fine-tuned model keeps its masks, reaches its floors and is no worse than its baseline."""
    check_deployable(run)
    progress.stage(f"{run.name}: fine-tuning")
    training = benchmark.pedantic(fine_tune, args=(run, setting, pruned), kwargs={"progress": progress})
    measured = record(run, setting, time_pruning(run, setting, pruned), before, training, deploy=True)
    assert measured.finetuning is not None, "a fine-tuned run records its fine-tuning"
    benchmark.extra_info.update(
        size_percent=measured.size_percent,
        accuracy_dense=measured.dense_accuracy.percent,
        accuracy_before=measured.pruned_accuracy.percent,
        accuracy_by_epoch=measured.finetuning.selection_accuracies,
        accuracy_best=measured.finetuning.best.percent,
        accuracy_last=measured.finetuning.last.percent,
        file_mib=measured.file_mib,
        **_deployed(measured),
        as_documented=measured.as_documented,
        resumed_after=measured.finetuning.resumed_after,
    )
    gate(measured)
    training.discard()
    return measured


def _deployed(record: RunRecord) -> dict[str, object]:
    """Measurements of the model that is kept, by the names that `extra_info` has."""
    found: dict[str, object] = {}
    if record.shrunk:
        found |= {"shrunk_elements": record.shrunk.elements, "shrunk_macs": record.shrunk.macs}
    if record.exported:
        found |= {"accuracy_exported": record.exported.answers.percent}
    if record.latency:
        found |= {"latency_ratio": record.latency.ratio, "latency_runtime": record.latency.runtime}
    return found


def pass_or_fail(verdicts: Iterable[Verdict]) -> None:
    """Fail the test for every verdict that does."""
    if failed := [verdict for verdict in worst_first(verdicts) if verdict.status is Status.FAIL]:
        pytest.fail("\n".join(failure_lines(failed, {})), pytrace=False)
