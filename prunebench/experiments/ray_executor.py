"""Jobs on the machines of a Ray cluster: `RayExecutor`. Nothing but this file knows of Ray."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import prunebench
from prunebench.errors import StudyError, first_line
from prunebench.experiments.executors import Attempts, Job, Outcome, answered, set_up
from prunebench.storage.files import CACHE_VARIABLE, DATA_VARIABLE
from prunebench.storage.imports import import_extra

RUNNING = "ray"
"""The address of the cluster that runs on this machine, or that `RAY_ADDRESS` names."""

EXCLUDED = (".prunebench", ".git", "__pycache__", ".venv")
"""Folders of the user's project that do not travel."""

SECONDS_TO_CONNECT = 5.0

_SETTINGS = b"\x04"
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)
"""Ray speaks gRPC, which answers this with its own settings (RFC 9113, 3.4)."""

SECONDS_TO_LOOK = 5.0
"""Without an outcome for so long, see whether there still is a node with room."""


class RayExecutor(Attempts):
    """Workers of a Ray cluster; to be used in a `with` block, at whose end the cluster is left as it was.

    The current folder travels to each node, and prunebench's own code, so that they are the same everywhere.

    Args:
        address: `ray` for the cluster that runs here, HOST:PORT, or ray://HOST:PORT.
        resources: of one job, by Ray's names: CPU, GPU, memory in bytes.
        threads: of one job.
        workers: jobs at once; by default as many as the cluster has the resources for.
        say: called with a line, once, when no node is left that has room for a job: jobs wait for one then.

    Raises:
        StudyError: on entry: the cluster cannot be reached or used, or has no room for one job.
        MissingExtraError: on entry: Ray is not installed.
    """

    def __init__(
        self,
        address: str,
        *,
        resources: Mapping[str, float],
        threads: int,
        workers: int | None = None,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.workers = workers or 0
        self._address, self._threads, self._say = address, threads, say
        self._asked = {name: amount for name, amount in resources.items() if amount}
        self._begun: dict[Any, Job] = {}
        self._is_waiting = False

    def __enter__(self) -> Self:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # read on import; what goes wrong is an exception too
        self._ray = import_extra("ray", extra="ray")
        address = os.environ.get("RAY_ADDRESS") or "auto" if self._address == RUNNING else self._address
        if address != "auto":
            _check_reachable(address)
        try:
            self._ray.init(
                address=address,
                runtime_env=_environment(self._threads),
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            self._task = self._ray.remote(
                num_cpus=self._asked.get("CPU", 0),
                num_gpus=self._asked.get("GPU", 0),
                memory=self._asked.get("memory"),
                max_retries=0,  # `Attempts` counts them
                max_calls=0,  # a process keeps the data and the dense model, on a GPU too
            )(_done)
        except Exception as error:  # of no common kind
            self._ray.shutdown()
            said = " ".join(str(error).split())  # of a version mismatch the versions come in lines of their own
            raise StudyError(f"the Ray cluster '{self._address}' cannot be used: {said}") from error
        self.workers = self.workers or self._room()
        if not self.workers:
            self._ray.shutdown()
            said = ", ".join(f"{name} {amount:,g}" for name, amount in self._asked.items())
            raise StudyError(
                f"no node of the Ray cluster '{self._address}' has what 'study.resources' asks for each run, {said}: "
                "expected one, or --workers for nodes that are yet to come"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for ref in self._begun:
            with contextlib.suppress(Exception):  # the cluster may be gone
                self._ray.cancel(ref, force=True)
        self._begun = {}
        self._ray.shutdown()

    def shared(self, makes: Mapping[str, Job]) -> Mapping[str, Job]:
        """Make them on one node each; from there they go to the object store, and once to each process."""
        names: dict[Job, str] = {partial(_packed, make): name for name, make in makes.items()}
        stored: dict[str, Job] = {}
        for outcome in self.outcomes(names):
            if outcome.error:
                raise StudyError(f"{names[outcome.job]}: {outcome.error}")
            # put by this process, so that no node takes it along that is lost
            stored[names[outcome.job]] = partial(_unpacked, self._ray.put(outcome.value))
        return {name: stored[name] for name in makes}

    def _begin(self, job: Job) -> None:
        self._begun[self._task.remote(job, self._threads)] = job

    def _ended(self) -> Iterator[Outcome]:
        while not (ready := self._ray.wait(list(self._begun), timeout=SECONDS_TO_LOOK)[0]):
            self._look_for_room()
        for ref in ready:
            yield self._outcome(ref, self._begun.pop(ref))

    def _outcome(self, ref: Any, job: Job) -> Outcome:
        errors = self._ray.exceptions
        try:
            value, error = self._ray.get(ref)
        except errors.RuntimeEnvSetupError as failed:
            raise StudyError(f"a node of the Ray cluster cannot take the project: {_last_line(failed)}") from failed
        except errors.RayTaskError as failed:  # before the job began: prunebench is missing there, or half a node
            return Outcome(job=job, died=True, error=f"a node of the Ray cluster cannot begin: {_last_line(failed)}")
        except errors.RayError as failed:
            return Outcome(job=job, died=True, error=f"its process or node ended: {first_line(failed)}")
        return Outcome(job=job, value=value, error=error)

    def _look_for_room(self) -> None:
        was_waiting, self._is_waiting = self._is_waiting, not self._room()
        if self._is_waiting and not was_waiting:
            self._say(
                f"no node of the Ray cluster '{self._address}' has room for a run: waiting for one; interrupt it, and "
                "the same command goes on"
            )

    def _room(self) -> int:
        """Jobs that the nodes have the resources for at once."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return sum(min(int(node.get(name, 0) / amount) for name, amount in self._asked.items()) for node in nodes)


def _check_reachable(address: str) -> None:
    """Find out whether Ray listens there: Ray itself tries for a minute or two, and may end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal() and int(port) < 2**16):
        raise StudyError(f"'{address}' is no Ray cluster: expected {RUNNING}, HOST:PORT or ray://HOST:PORT")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_CONNECT) as connection:
            connection.sendall(_HTTP2_GREETING)
            answer = connection.recv(9)
    except OSError as error:
        raise StudyError(
            f"the Ray cluster '{address}' cannot be reached: {error.strerror or error}; expected one, by 'ray start'"
        ) from error
    if answer[3:4] != _SETTINGS and "RAY_USE_TLS" not in os.environ:
        raise StudyError(f"'{address}' is no Ray cluster: expected the port of 'ray start', not that of its dashboard")


def _environment(threads: int) -> dict[str, Any]:
    """Ray's runtime environment: the code, and the settings that results depend on."""
    named = {name: os.environ[name] for name in (CACHE_VARIABLE, DATA_VARIABLE) if name in os.environ}
    return {
        "working_dir": str(Path.cwd()),
        "py_modules": [str(Path(prunebench.__file__).parent)],
        "excludes": list(EXCLUDED),
        "env_vars": {**named, "OMP_NUM_THREADS": str(threads)},
    }


def _last_line(error: Exception) -> str:
    """The line that says what happened: Ray puts the other side's traceback before it."""
    return ([line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__])[-1]


def _done(job: Job, threads: int) -> tuple[Any, str]:
    """Do a job in a process of the cluster."""
    _set_up_once(threads)
    return answered(job)


@lru_cache
def _set_up_once(threads: int) -> None:
    set_up(threads)


def _packed(make: Job) -> bytes:
    """The result of `make` as bytes, which the driver passes on without a look: it may have no such device."""
    packed: bytes = import_extra("ray.cloudpickle", extra="ray").dumps(make())
    return packed


@lru_cache(maxsize=2)
def _unpacked(ref: Any) -> Any:
    return pickle.loads(import_extra("ray", extra="ray").get(ref))  # noqa: S301 - of a process of this study
