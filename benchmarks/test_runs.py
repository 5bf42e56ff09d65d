"""The documented runs: pruning, evaluation and fine-tuning timed apart; sizes, floors and baselines gated.

Sizes, floors and baselines are gated whether benchmarking is on, off, saved or compared. The three tests of a run share
what the earlier ones made; each also runs alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from prunebench.documented.runs import Run
from prunebench.errors import PrunebenchError
from prunebench.experiments.flow import Pruned, Setting, fine_tune, prune, record, time_pruning
from prunebench.gate import Status, Verdict, check_record, worst_first
from prunebench.machine.devices import wait_for
from prunebench.measure import nominal_size_bits
from prunebench.pruning import Masks, prune_
from prunebench.pytest_plugin import Gate
from prunebench.records import RunRecord
from prunebench.report.progress import ProgressBar
from prunebench.tasks.evaluation import Evaluation, evaluate

Results = list[tuple[RunRecord, Run]]

PRUNING_ROUNDS = 5


@pytest.fixture(scope="session")
def pruned(run: Run, setting: Setting) -> Pruned:
    """The dense model pruned by the run's table; the documented ones are for the VGG."""
    try:
        return prune(run, setting)
    except PrunebenchError as error:
        about = f"error: {error}"
    pytest.fail(about, pytrace=False)  # past the handler, whose exception it would show too


@pytest.fixture(scope="session")
def answers() -> dict[str, Evaluation]:
    """What the pruned models answered, by run, once they were asked."""
    return {}


@pytest.mark.benchmark(group="pruning")
def test_pruning(run: Run, setting: Setting, pruned: Pruned, benchmark: BenchmarkFixture) -> None:
    """Pruning the same weights by the same table gives the same masks, every time it is done."""
    copies: list[nn.Module] = []

    def fresh_copy() -> tuple[tuple[object, ...], dict[str, object]]:
        copies[:] = [copy.deepcopy(setting.dense.model)]
        return (copies[0], run.sparsity), {}

    def prune_and_wait(model: nn.Module, sparsity: Mapping[str, float]) -> Masks:
        masks = prune_(model, sparsity)
        wait_for(setting.device)
        return masks

    masks = benchmark.pedantic(prune_and_wait, setup=fresh_copy, rounds=PRUNING_ROUNDS)
    size = nominal_size_bits(copies[0])
    benchmark.extra_info.update(size_bits=size, size_percent=100 * size / nominal_size_bits(setting.dense.model))
    assert pruned.masks.digest == masks.digest, "pruning the same weights again gave other masks"


@pytest.mark.benchmark(group="evaluation")
def test_evaluation(
    run: Run,
    setting: Setting,
    pruned: Pruned,
    answers: dict[str, Evaluation],
    progress: ProgressBar,
    benchmark: BenchmarkFixture,
) -> None:
    """The pruned model has the documented size and, where the checkpoint is the documented one, accuracy."""
    progress.stage(f"{run.name}: evaluation of the pruned model")
    evaluation = benchmark.pedantic(
        evaluate,
        args=(pruned.model, setting.data.test),
        kwargs={"task": setting.workload.task, "progress": progress.evaluated},
    )
    answers[run.name] = evaluation
    benchmark.extra_info.update(accuracy_before=evaluation.accuracy, correct=evaluation.correct_count)
    _pass_or_fail(check_record(record(run, setting, pruned, evaluation)))


@pytest.mark.benchmark(group="fine-tuning")
def test_finetuning(
    run: Run,
    setting: Setting,
    pruned: Pruned,
    answers: dict[str, Evaluation],
    results: Results,
    progress: ProgressBar,
    prunebench_gate: Gate,
    benchmark: BenchmarkFixture,
) -> None:
    """The fine-tuned model keeps its masks, reaches its floor and is no worse than its baseline."""
    progress.stage(f"{run.name}: evaluation of the pruned model")
    before = answers.get(run.name) or evaluate(
        pruned.model, setting.data.test, task=setting.workload.task, progress=progress.evaluated
    )
    progress.stage(f"{run.name}: fine-tuning")
    training = benchmark.pedantic(fine_tune, args=(run, setting, pruned), kwargs={"progress": progress})
    measured = record(run, setting, time_pruning(run, setting, pruned), before, training)
    assert measured.finetuning is not None, "a fine-tuned run records its fine-tuning"
    benchmark.extra_info.update(
        size_percent=measured.size_percent,
        accuracy_dense=measured.dense_accuracy.percent,
        accuracy_before=measured.pruned_accuracy.percent,
        accuracy_by_epoch=measured.finetuning.selection_accuracies,
        accuracy_best=measured.finetuning.best.percent,
        accuracy_last=measured.finetuning.last.percent,
        as_documented=measured.as_documented,
        resumed_after=measured.finetuning.resumed_after,
    )
    results.append((measured, run))
    prunebench_gate(measured)
    training.discard()


def _pass_or_fail(verdicts: Iterable[Verdict]) -> None:
    failed = [str(verdict) for verdict in worst_first(verdicts) if verdict.status is Status.FAIL]
    if failed:
        pytest.fail("\n".join(failed), pytrace=False)
