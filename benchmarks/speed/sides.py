"""Ways of doing one thing, measured in turn: processes of their own, rounds, ratios. What is compared: `comparisons`.

To add a comparison, write its jobs and a check. A job is a function `job(round_, **settings)` of an importable module:
it makes ready what it needs, untimed, and returns the callable that is timed; that one's answer has to be picklable
(numbers, numpy arrays). A comparison names a reference job and one or more others, and the check of their answers:

    Comparison(
        name="mask",
        title="threshold + mask of a 512x512x3x3 weight",
        reference=Entry("kthvalue", jobs.mask_by_kthvalue),
        others=(Entry("prunebench", jobs.mask_by_prunebench, target=12),),
        agree=equal_masks,
        rounds=20,
    )

`measure` runs them in turn, A B A B, so that whatever else the machine does disturbs both. Each kind of side has
its own process that lives through all rounds, because how freed memory is kept is a setting of a whole process.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

Job = Callable[..., Callable[[], Any]]

PLAIN, OURS = "plain", "ours"
"""Kinds of processes: as Python starts it, and as prunebench's command line sets it up."""


@dataclass(frozen=True)
class Entry:
    """One way of doing it.

    Attributes:
        target: how many times as fast as the reference it is meant to be; None where nothing was promised.
        process: PLAIN or OURS.
    """

    label: str
    job: Job
    settings: Mapping[str, Any] = field(default_factory=dict)
    target: float | None = None
    process: str = OURS


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A reference, what is measured against it, and what shows that both did the same.

    Attributes:
        agree: (reference's answers, other's answers, other's label), one answer a round, to a phrase that says what was
            found equal; raises AssertionError where it is not.
        warm_up: run every entry once untimed before the first round; for a job of many seconds in which all shapes
            come again and again it would only take time.
        images: of one round, for images a second; 0 where that says nothing.
        needs: None, or what the machine must have: "cuda".
    """

    name: str
    title: str
    reference: Entry
    others: tuple[Entry, ...]
    agree: Callable[[list[Any], list[Any], str], str]
    rounds: int
    warm_up: bool = True
    images: int = 0
    needs: str | None = None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All ways, the reference first."""
        return (self.reference, *self.others)


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """How many times as fast as the reference, over the rounds: of medians, and of each pair of neighbours.

    `of_cpu` is the ratio of the medians of processor time: what other programs on the machine take from both sides is
    not in it, nor what more threads gain.
    """

    of_medians: float
    of_cpu: float
    pairs: tuple[float, ...]

    def __str__(self) -> str:
        return f"{median(self.pairs):.2f} ({min(self.pairs):.2f} .. {max(self.pairs):.2f})"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one comparison gave, by label: raw seconds in the order of the rounds, and the phrases of `agree`."""

    comparison: Comparison
    seconds: Mapping[str, list[float]]
    cpu_seconds: Mapping[str, list[float]]
    agreement: Mapping[str, str]

    def ratios(self, label: str) -> Ratios:
        """Of the entry called `label` against the reference."""
        reference = self.comparison.reference.label
        slow, fast = self.seconds[reference], self.seconds[label]
        return Ratios(
            of_medians=median(slow) / median(fast),
            of_cpu=median(self.cpu_seconds[reference]) / median(self.cpu_seconds[label]),
            pairs=tuple(one / other for one, other in zip(slow, fast, strict=True)),
        )

    def images_a_second(self, label: str) -> float:
        """Median over the rounds."""
        return self.comparison.images / median(self.seconds[label])


class Sides:
    """The processes, by kind; each is started when it is first asked."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._pools: dict[str, ProcessPoolExecutor] = {}

    def run(self, process: str, job: Job, round_: int = 0, settings: Mapping[str, Any] | None = None) -> Any:
        """(seconds, processor seconds, answer) of one round in the process of that kind."""
        if process not in self._pools:
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(1, mp_context=context, initializer=_set_up, initargs=(process,))
            self._pools[process] = self._stack.enter_context(pool)
        return self._pools[process].submit(_timed, job, round_, dict(settings or {})).result()


@contextmanager
def processes() -> Iterator[Sides]:
    """Processes that end with the block."""
    with ExitStack() as stack:
        yield Sides(stack)


def measure(comparison: Comparison, sides: Sides, *, told: Callable[[str], None] = lambda _: None) -> Measurement:
    """Run the rounds in turn, after a warm-up, and check that all gave the same.

    Raises:
        AssertionError: they did not.
    """
    labels = [entry.label for entry in comparison.entries]
    seconds: dict[str, list[float]] = {label: [] for label in labels}
    cpu_seconds: dict[str, list[float]] = {label: [] for label in labels}
    answers: dict[str, list[Any]] = {label: [] for label in labels}
    first = -1 if comparison.warm_up else 0  # shapes, first touch of memory, caches
    for round_ in range(first, comparison.rounds):
        told(f"{comparison.title}: round {round_ + 1} of {comparison.rounds}")
        for entry in comparison.entries:
            took, computed, answer = sides.run(entry.process, entry.job, max(round_, 0), entry.settings)
            if round_ >= 0:
                seconds[entry.label].append(took)
                cpu_seconds[entry.label].append(computed)
                answers[entry.label].append(answer)
    expected = answers[comparison.reference.label]
    agreement = {
        other.label: comparison.agree(expected, answers[other.label], other.label) for other in comparison.others
    }
    return Measurement(comparison=comparison, seconds=seconds, cpu_seconds=cpu_seconds, agreement=agreement)


def threads() -> int:
    """Cores that this process may use; every side computes with as many threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _set_up(process: str) -> None:
    import torch  # noqa: PLC0415 - the parent has no need of it

    torch.set_num_threads(threads())
    if process == OURS:
        from prunebench.machine.memory import keep_freed_memory  # noqa: PLC0415

        keep_freed_memory()


def _timed(job: Job, round_: int, settings: dict[str, Any]) -> tuple[float, float, Any]:
    work = job(round_, **settings)
    start, cpu = time.perf_counter(), _cpu_seconds()
    answer = work()
    return time.perf_counter() - start, _cpu_seconds() - cpu, answer


def _cpu_seconds() -> float:
    """Of all threads of this process and of the processes that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
