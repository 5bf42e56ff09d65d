"""Studies on a Ray cluster of two nodes, on this machine: the same records as of one process, whatever is lost."""

from __future__ import annotations

import importlib
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from study_kills import children, raylet
from test_study import NET, STUDY, Here, Seen, folder, invoke, resumed_after, study, timeless_records, until

from prunebench.errors import StudyError
from prunebench.experiments.ray_executor import RayExecutor
from prunebench.experiments.studies import Done, run_study
from prunebench.experiments.study import PlannedRun

__all__ = ["folder"]  # the fixture

pytestmark = [
    pytest.mark.usefixtures("one_thread", "own_cache"),
    pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'prunebench[ray]'"),
]
ONE = {"CPU": 1.0, "GPU": 0.0, "memory": 0.0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head, and a node for two runs at once."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's name; else they wait for all other tests
    started = None
    try:
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        started.add_node(num_cpus=2)
    except Exception as error:  # Ray has no type of its own for it
        if started is not None:
            started.shutdown()
        if not re.search("timed? ?out", str(error), re.IGNORECASE):
            raise
        pytest.skip(f"a node did not start within the 30 s that Ray gives it: {error}")
    yield started
    started.shutdown()


class Losing(Seen):
    """Loses the node of the cluster, at work on two runs, once two are done; there is another when that is said."""

    def __init__(self, cluster: Any, trainings: Path) -> None:
        super().__init__()
        self.cluster, self.trainings = cluster, trainings
        self.lines: list[str] = []

    def done(self, planned: PlannedRun, outcome: Done, left: int, seconds: float) -> None:
        super().done(planned, outcome, left, seconds)
        if len(self.cases) == 2:
            threading.Thread(target=self.lose).start()

    def lose(self) -> None:
        (node,) = self.cluster.worker_nodes
        until(lambda: list(self.trainings.glob("*.pt")))
        at_work = children(raylet(node))
        self.cluster.remove_node(node, allow_graceful=False)
        for pid in at_work:  # else they go on for a moment
            os.kill(pid, signal.SIGKILL)

    def say(self, line: str) -> None:
        self.lines.append(line)
        self.cluster.add_node(num_cpus=2)


def test_a_cluster_makes_the_same_records_though_it_loses_its_only_node_at_work(cluster: Any, own_cache: Path) -> None:
    run_study(study(), Here())
    serial = timeless_records()
    study().folder.rename("serial")
    Path("study_net.py").write_text(NET.replace('os.environ.get("STEP_SECONDS", 0)', "0.1"))
    seen = Losing(cluster, own_cache / "training")
    with RayExecutor(cluster.address, resources=ONE, threads=1, say=seen.say) as executor:
        assert 2 == executor.workers
        run_study(study(), executor, progress=seen)
    assert serial == timeless_records()
    assert 8 == len(seen.cases)
    assert max(resumed_after()) > 0
    (line,) = seen.lines
    assert "has room for a run: waiting for one" in line


def test_a_cluster_without_room_for_a_run_is_refused(cluster: Any) -> None:
    with (
        pytest.raises(StudyError, match=r"no node .* has what 'study.resources' asks for each run, CPU 1, GPU 1: exp"),
        RayExecutor(cluster.address, resources={**ONE, "GPU": 1}, threads=1),
    ):
        raise AssertionError("refused on entry")


LATE = """
import os

def arrive(path, times):
    arrived = os.path.getsize(path)
    if arrived < times:
        with open(path, "a") as file:
            file.write("x")
        raise ImportError(f"{arrived + 1} times")
    return "arrived"

class Late:
    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return arrive, self.arguments
"""


@pytest.mark.parametrize(("times", "value", "error"), [(2, "arrived", ""), (9, None, r"begin: .*3 times \(3 times\)")])
def test_a_job_that_a_node_cannot_begin_is_begun_three_times(
    times: int, value: str | None, error: str, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.delitem(sys.modules, "late", raising=False)
    Path("late.py").write_text(LATE)
    path = Path("arrivals").absolute()
    path.touch()
    job = partial(str, importlib.import_module("late").Late(str(path), times))
    with RayExecutor(cluster.address, resources=ONE, threads=1) as executor:
        (outcome,) = executor.outcomes([job])
    assert value == outcome.value
    assert re.fullmatch(f".*{error}" if error else "", outcome.error)


def test_data_that_no_node_can_have_end_the_study_in_a_line(cluster: Any) -> None:
    Path("study_data.py").write_text("def load():\n    raise OSError('gone')")
    output = invoke("run", "s.toml", "--on", cluster.address, code=2).output
    assert "workload 'mine': data 'study_data:load' cannot be loaded: OSError: gone" in output
    assert {} == study().kept()


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_cannot_be_reached_is_said_in_a_line(scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{unused.getsockname()[1]}"
        output = invoke("run", "s.toml", "--on", address, code=2).output
    assert f"the Ray cluster '{address}' cannot be reached: Connection refused" in output
    assert 1 == output.strip().count("\n") + 1
    assert not Path(".prunebench").exists()


def test_a_port_that_is_none_of_ray_is_said_in_a_line() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"127.0.0.1:{server.server_port}"
        output = invoke("run", "s.toml", "--on", address, code=2).output
        server.shutdown()
    assert f"error: '{address}' is no Ray cluster: expected the port of 'ray start'" in output.splitlines()[-1]


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'prunebench[ray]'" in invoke("run", "s.toml", "--on", "ray", code=2).output


def test_what_is_no_address_is_refused() -> None:
    assert "'cluster' is no Ray cluster: expected ray, HOST:PORT or ray://HOST:PORT" in (
        invoke("run", "s.toml", "--on", "cluster", code=2).output
    )


@pytest.mark.parametrize(
    ("resources", "said"),
    [("{ cpus = 0 }", "greater than 0"), ("{ cores = 1 }", "unknown key 'study.resources.cores'"), ("2", "valid")],
)
def test_resources_that_cannot_be_are_refused(resources: str, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        study(STUDY.replace("[study.grid]", f"resources = {resources}\n[study.grid]"))


def test_a_run_takes_a_core_a_thread_and_a_gpu_where_the_device_is_one() -> None:
    text = STUDY.replace("[study.grid]", "threads = 2\n[study.grid]")
    assert {"CPU": 2, "GPU": 0, "memory": 0} == study(text).resources
    text = STUDY.replace("[study.grid]", "device = 'cuda'\nresources = { memory_gib = 1.5 }\n[study.grid]")
    assert {"CPU": 1, "GPU": 1, "memory": 3 * 2**29} == study(text).resources
