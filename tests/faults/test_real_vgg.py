"""The faults of training, planted in the VGG that fine-tunes run 3 on digits, and judged by the approved baseline.

As on another machine: the dense model too is then another, so that only floors and the training signature judge the
fine-tuning. `pytest tests/faults` plants all of them, about ten minutes on two cores; the whole test suite one.
`test_fault_matrix.py` always plants all of them, in a tiny network.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_faults import TRAINING_FAULTS

from prunebench.baselines.shelf import read_baseline
from prunebench.documented.runs import documented_run
from prunebench.errors import PrunebenchError
from prunebench.experiments import flow
from prunebench.gate import Status, compare_records
from prunebench.workloads import find_workload

CASE = "digits/run3-quick"
BASELINE = Path(__file__).parents[2] / "baselines" / f"{CASE}.json"
ALWAYS = "no augmentation"
"""Planted by the whole suite too: the training signature tells it."""

UNSEEN = {"momentum lost at each step"}
"""On digits dense models of one recipe have gradients that differ by a factor of three: as much as this changes."""


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield flow.prepare(find_workload("digits"), "quick", device=torch.device("cpu"))


def failures(setting, folder):
    """What failed, by check, or the error that stopped the run; only what decides on another machine."""
    baseline = read_baseline(BASELINE).record
    elsewhere = {
        "environment": baseline.environment | {"cpu": "another processor"},
        "checkpoints": baseline.checkpoints.model_copy(update={"dense": "0" * 64}),
    }
    # As `prepare` does: a fault keeps it.
    flow.evaluate(setting.dense.model, setting.data.test.take(torch.arange(8)))
    try:
        record = flow.execute(documented_run("run3"), setting, save=folder / "kept.safetensors")
    except PrunebenchError as error:
        return {type(error).__name__}
    verdicts = compare_records({CASE: baseline.model_copy(update=elsewhere)}, {CASE: record})
    return {verdict.check for verdict in verdicts if verdict.status is Status.FAIL}


def test_nothing_fails_where_nothing_is_planted(setting, tmp_path):
    assert set() == failures(setting, tmp_path)


@pytest.mark.parametrize(
    "planted", [each for each in TRAINING_FAULTS if each.name not in UNSEEN], ids=lambda planted: planted.name
)
def test_is_caught(planted, setting, is_asked_for, tmp_path, monkeypatch):
    if planted.name != ALWAYS and not is_asked_for:
        pytest.skip("takes 20 seconds: 'pytest tests/faults' plants it")
    planted.plant(monkeypatch)
    assert planted.caught_by in failures(setting, tmp_path)
