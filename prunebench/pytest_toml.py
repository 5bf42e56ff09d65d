"""`pytest prunebench.toml`: three tests a run, `half::size`, `half::accuracy` and `half::finetuned`.

The three share what the earlier ones made; each also runs alone, and in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from prunebench.documented.floors import Figure
from prunebench.documented.runs import Run
from prunebench.errors import PrunebenchError
from prunebench.experiments.flow import Progress, Pruned, Setting, prepare, prune, record
from prunebench.experiments.requests import resolve
from prunebench.gate import check_floors, check_sizes
from prunebench.gate.floors import FIGURES, SIZES
from prunebench.machine.devices import resolve_device
from prunebench.machine.memory import keep_freed_memory
from prunebench.tasks import Evaluation, evaluate
from prunebench.timed_runs import check_finetuning, pass_or_fail, timed_evaluation
from prunebench.workloads import RequestedRun, Workload, read_configuration
from prunebench.workloads.registry import workload_of

TESTS = ("size", "accuracy", "finetuned")
ACCURACIES: list[Figure] = [figure for figure in FIGURES if figure not in (*SIZES, "latency_ratio")]


@dataclass
class Shared:
    """Settings, pruned models and answers that the tests of one process share.

    Attributes:
        settings: by workload, recipe and seed.
        pruned, before: by file and run: the pruned model, and its answers.
    """

    settings: dict[tuple[Path, str, str | None, int], Setting] = field(default_factory=dict)
    pruned: dict[tuple[Path, str], tuple[Run, Pruned]] = field(default_factory=dict)
    before: dict[tuple[Path, str], Evaluation] = field(default_factory=dict)


SHARED = pytest.StashKey[Shared]()


class RunTests:
    """The tests of one run; a subclass a run says which."""

    path: ClassVar[Path]
    requested: ClassVar[RequestedRun]
    workload: ClassVar[Workload]

    def size(self, pytestconfig: pytest.Config, prunebench_progress: Progress) -> None:
        """Every layer keeps exactly what its sparsity leaves, and the size keeps its floor."""
        run, setting, pruned = self._pruned(pytestconfig, prunebench_progress)
        measured = record(run, setting, pruned, self._before(pytestconfig, prunebench_progress))
        pass_or_fail([*check_sizes(measured), *check_floors(measured, SIZES)])

    @pytest.mark.benchmark(group="evaluation")
    def accuracy(self, pytestconfig: pytest.Config, prunebench_progress: Progress, benchmark: Any) -> None:
        """The pruned model keeps the floors that need no fine-tuning."""
        run, setting, pruned = self._pruned(pytestconfig, prunebench_progress)
        benchmark.name = f"{run.name}::accuracy"
        before = timed_evaluation(run, setting, pruned, benchmark, progress=prunebench_progress)
        _shared(pytestconfig).before[self.path, self.requested.name] = before
        pass_or_fail(check_floors(record(run, setting, pruned, before), ACCURACIES))

    @pytest.mark.benchmark(group="fine-tuning")
    def finetuned(
        self, pytestconfig: pytest.Config, prunebench_progress: Progress, benchmark: Any, prunebench_gate: Any
    ) -> None:
        """The fine-tuned model keeps its masks, reaches its floors and is no worse than its baseline."""
        run, setting, pruned = self._pruned(pytestconfig, prunebench_progress)
        before = self._before(pytestconfig, prunebench_progress)
        benchmark.name = f"{run.name}::finetuned"
        check_finetuning(run, setting, pruned, before, benchmark, prunebench_gate, progress=prunebench_progress)

    def _setting(self, config: pytest.Config, progress: Progress) -> Setting:
        settings, requested = _shared(config).settings, self.requested
        key = self.path, self.workload.name, requested.recipe, requested.seed
        if key not in settings:
            keep_freed_memory()
            settings[key] = _or_fail(
                prepare,
                self.workload,
                requested.recipe,
                device=_or_fail(resolve_device, config.getoption("prunebench_device") or "cpu"),
                seed=requested.seed,
                progress=progress,
            )
        return settings[key]

    def _pruned(self, config: pytest.Config, progress: Progress) -> tuple[Run, Setting, Pruned]:
        setting, key = self._setting(config, progress), (self.path, self.requested.name)
        made = _shared(config).pruned
        if key not in made:
            run = _or_fail(resolve, self.requested, self.workload, setting.dense.model, setting.data, seed=setting.seed)
            made[key] = run, _or_fail(prune, run, setting)
        run, pruned = made[key]
        return run, setting, pruned

    def _before(self, config: pytest.Config, progress: Progress) -> Evaluation:
        before, key = _shared(config).before, (self.path, self.requested.name)
        if key not in before:
            _, setting, pruned = self._pruned(config, progress)
            progress.stage(f"{self.requested.name}: evaluation of the pruned model")
            before[key] = evaluate(
                pruned.model, setting.data.test, task=setting.workload.task, progress=progress.evaluated
            )
        return before[key]


def _shared(config: pytest.Config) -> Shared:
    return config.stash.setdefault(SHARED, Shared())


def _or_fail(work: Any, *arguments: Any, **options: Any) -> Any:
    """The result of `work`; an error that prunebench raises on purpose fails the test in one line, no traceback."""
    try:
        return work(*arguments, **options)
    except PrunebenchError as error:
        pytest.fail(f"error: {error}", pytrace=False)


def _or_collect_error(collector: pytest.Collector, work: Any, *arguments: Any) -> Any:
    """The result of `work` while tests are collected; an error of prunebench's is one line, no traceback."""
    try:
        return work(*arguments)
    except PrunebenchError as error:
        raise collector.CollectError(f"error: {error}") from None


class TomlFile(pytest.Module):
    """A `prunebench.toml`, or a `pyproject.toml` with a table of prunebench's."""

    def _getobj(self) -> ModuleType:
        """A module with a class of tests a run."""
        described = _or_collect_error(self, read_configuration, self.path)
        module = ModuleType(self.path.stem)
        for name, requested in described.runs.items():
            attributes = {
                "path": self.path,
                "requested": requested,
                "workload": _or_collect_error(self, workload_of, requested, described),
                "__doc__": requested.source,
            }
            setattr(module, name, type(name, (RunTests,), attributes))
        module.RUNS = tuple(described.runs)  # type: ignore[attr-defined]
        return module

    def collect(self) -> Iterator[pytest.Class]:
        """A collector a run."""
        for name in self.obj.RUNS:
            yield RunCollector.from_parent(self, name=name)


class RunCollector(pytest.Class):
    """The tests of a run."""

    def collect(self) -> Iterator[pytest.Function]:
        """One test each."""
        for name in TESTS:  # `Function.from_parent` of pytest 8.3 takes a method's first argument for its self
            yield from self._genfunctions(name, getattr(self.obj, name))
