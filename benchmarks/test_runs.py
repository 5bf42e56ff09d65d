"""The documented runs: pruning, evaluation and fine-tuning timed apart; sizes, floors and baselines gated.

Sizes, floors and baselines are gated whether benchmarking is on, off, saved or compared. The three tests of a run share
what the earlier ones made; each also runs alone.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from prunebench.documented.runs import Run
from prunebench.errors import PrunebenchError
from prunebench.experiments.flow import Pruned, Setting, prune, record
from prunebench.gate import check_record
from prunebench.pytest_plugin import Gate
from prunebench.report.progress import ProgressBar
from prunebench.tasks import Evaluation, evaluate
from prunebench.timed_runs import check_finetuning, check_pruning, pass_or_fail, timed_evaluation


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
    check_pruning(run, setting, pruned, benchmark)


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
    evaluation = timed_evaluation(run, setting, pruned, benchmark, progress=progress)
    answers[run.name] = evaluation
    pass_or_fail(check_record(record(run, setting, pruned, evaluation)))


@pytest.mark.benchmark(group="fine-tuning")
def test_finetuning(
    run: Run,
    setting: Setting,
    pruned: Pruned,
    answers: dict[str, Evaluation],
    progress: ProgressBar,
    prunebench_gate: Gate,
    benchmark: BenchmarkFixture,
) -> None:
    """The fine-tuned model keeps its masks, reaches its floor and is no worse than its baseline."""
    progress.stage(f"{run.name}: evaluation of the pruned model")
    before = answers.get(run.name) or evaluate(
        pruned.model, setting.data.test, task=setting.workload.task, progress=progress.evaluated
    )
    check_finetuning(run, setting, pruned, before, benchmark, prunebench_gate, progress=progress)
