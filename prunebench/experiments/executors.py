"""Places where jobs are done: `Executor`, and this machine's processes, of which any may be killed at any time.

Ray is in `ray_executor`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Protocol, Self

import torch

from prunebench.errors import StudyError, first_line
from prunebench.machine.memory import keep_freed_memory

ATTEMPTS = 3
"""Times that a job is begun whose process is killed, or cannot begin it."""

Job = Callable[[], Any]
"""A function that can be pickled, with its arguments: a `functools.partial`."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of a job: what it returned, or an error in a line.

    Attributes:
        died: its processes ended, or could not begin, without an answer, each time.
    """

    job: Job
    value: Any = None
    error: str = ""
    died: bool = False


class Executor(Protocol):
    """Somewhere that jobs are done.

    Attributes:
        workers: jobs that are done at once.
    """

    workers: int

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Do the jobs, and give what becomes of them, as it does.

        The next job is asked for once there is a worker for it, so that the jobs may be chosen by the outcomes.
        """
        ...

    def shared(self, makes: Mapping[str, Job]) -> Mapping[str, Job]:
        """Jobs that give what those of `makes` do, and cost little wherever they are done; by the same names.

        Raises:
            StudyError: one cannot be made; begins with its name.
        """
        ...


class Attempts(ABC):
    """The part of an executor that counts: a job whose process was killed is begun again."""

    workers: int

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Do the jobs, and give what becomes of them, as it does; one whose process was killed is begun again."""
        waiting, again, deaths, begun = iter(jobs), deque[Job](), Counter[Job](), 0
        while True:
            while begun < self.workers:
                job = again.popleft() if again else next(waiting, None)
                if job is None:
                    break
                self._begin(job)
                begun += 1
            if not begun:
                return
            for outcome in self._ended():
                begun -= 1
                if not outcome.died:
                    yield outcome
                    continue
                deaths[outcome.job] += 1
                if deaths[outcome.job] < ATTEMPTS:
                    again.append(outcome.job)
                else:
                    yield replace(outcome, error=f"{outcome.error} ({ATTEMPTS} times)")

    @abstractmethod
    def _begin(self, job: Job) -> None:
        """Begin a job; there is a worker for it."""

    @abstractmethod
    def _ended(self) -> Iterable[Outcome]:
        """Wait for one job at least; the ends of those that ended."""


def in_order(executor: Executor, jobs: Iterable[Job]) -> Iterator[Any]:
    """Do the jobs in any order, and give what they return in theirs.

    Raises:
        StudyError: one failed.
    """
    order, done = list(jobs), dict[Job, Any]()
    outcomes = executor.outcomes(order)
    for job in order:
        while job not in done:
            outcome = next(outcomes)
            if outcome.error:
                raise StudyError(outcome.error)
            done[outcome.job] = outcome.value
        yield done.pop(job)


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalExecutor(Attempts):
    """Processes of this machine, each with so many threads; to be used in a `with` block, at whose end they are ended.

    They end too where this process is killed.
    """

    def __init__(self, *, workers: int, threads: int) -> None:
        self.workers = workers
        self._threads = threads
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, _Worker] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in (*self._idle, *self._busy.values()):
            worker.end()
        self._idle, self._busy = [], {}

    def shared(self, makes: Mapping[str, Job]) -> Mapping[str, Job]:
        """The same jobs: what they make is in the cache, which all processes of this machine share."""
        return makes

    def _begin(self, job: Job) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self._threads)
        self._busy[worker.connection] = worker
        worker.begin(job)

    def _ended(self) -> Iterator[Outcome]:
        for ready in wait(list(self._busy)):
            assert isinstance(ready, Connection), "those were given"
            worker = self._busy.pop(ready)
            outcome = worker.outcome()
            if not outcome.died:
                self._idle.append(worker)
            yield outcome


class _Worker:
    """A process, and the job it has."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share torch's threads, and others' pipes
        self.connection, other = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(other, threads), daemon=False)
        self._process.start()
        other.close()
        self._job: Job | None = None

    def begin(self, job: Job) -> None:
        self._job = job
        with contextlib.suppress(BrokenPipeError):  # it died meanwhile: the outcome says so
            self.connection.send(job)

    def outcome(self) -> Outcome:
        """The end of the job, once the connection is ready."""
        assert self._job is not None, "it has one"
        try:
            value, error = self.connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            return Outcome(job=self._job, died=True, error=_how(self._process.exitcode))
        return Outcome(job=self._job, value=value, error=error)

    def end(self) -> None:
        self._process.kill()
        self._process.join()


def _how(code: int | None) -> str:
    ended = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
    hint = ": out of memory?" if code == -9 else ""
    return f"its process ended {ended}{hint}"


def _serve(connection: Connection, threads: int) -> None:
    """Do the jobs that come, one after the other, as long as there is somebody to send them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts the study ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_up(threads)
    with contextlib.suppress(EOFError):
        while True:
            connection.send(answered(connection.recv()))


def set_up(threads: int) -> None:
    """Make this process one that does jobs, with so many threads."""
    torch.set_num_threads(threads)
    keep_freed_memory()


def answered(job: Job) -> tuple[Any, str]:
    """The answer of a job; or None, and in a line what went wrong: the other side cannot load all errors."""
    try:
        return job(), ""
    except Exception as error:  # the model's code, and a user's own methods, may raise anything
        return None, str(error) if type(error).__module__.startswith("prunebench.") else first_line(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a child"
    parent.join()
    os._exit(1)
