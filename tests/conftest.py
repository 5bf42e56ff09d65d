"""What tests of several folders share: a cache of their own, the real data where it is, records made quickly."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from prunebench.machine.memory import keep_freed_memory
from prunebench.storage.files import CACHE_VARIABLE

LONG = ("test_oracle.py", "test_real_vgg.py", "test_benchmarks.py", "test_study.py")
"""Files of few, long tests."""


def pytest_configure() -> None:
    """A busy machine fails no test of properties; memory is kept as by the command line: a VGG is 1.4 times as fast."""
    settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("unhurried")
    keep_freed_memory()


@pytest.hookimpl(trylast=True)  # after tests were shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test starts with an empty cache and without the user's settings."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    return cache


@pytest.fixture
def is_asked_for(request: pytest.FixtureRequest) -> bool:
    """True where the test's file, or its folder within `tests`, was named to pytest: it may take minutes."""
    tests, directory = Path(__file__).parent, request.config.invocation_params.dir
    named = [(directory / argument.partition("::")[0]).resolve() for argument in request.config.args]
    return any(path in (request.path, *request.path.parents) and tests in path.parents for path in named)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread for models so small that two are slower, many times so beside another job."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _from_environment(variable: str, what: str) -> Callable[[], Path]:
    def find() -> Path:
        value = os.environ.get(variable)
        if not value or not Path(value).exists():
            pytest.skip(f"needs {what}: set {variable} to its path")
        return Path(value)

    return find


@pytest.fixture(scope="session")
def cifar10_path() -> Path:
    """CIFAR-10 as a folder or archive; skips where there is none."""
    return _from_environment("PRUNEBENCH_DATA", "CIFAR-10")()


@pytest.fixture(scope="session")
def cifar10_checkpoint() -> Path:
    """A dense VGG checkpoint for it; skips where there is none."""
    return _from_environment("PRUNEBENCH_CHECKPOINT", "a dense CIFAR-10 checkpoint")()


@pytest.fixture
def untrained_checkpoint(tmp_path: Path) -> Path:
    """A VGG checkpoint with random weights: of the right architecture, and made at once.

    No weight is zero, as in a trained model: batch-norm biases start at zero, and would be missing from the size.
    """
    from prunebench.models import build_model, save_state

    torch.manual_seed(0)
    path = tmp_path / "untrained.safetensors"
    model = build_model("vgg")
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias)
    save_state(model.state_dict(), path)
    return path
