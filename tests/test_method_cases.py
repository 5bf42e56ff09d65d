"""The cases of benchmarks/methods: all that there is, each with a run; floors of few seeds; none unless asked for."""

from __future__ import annotations

import importlib.util
import math
import statistics
from pathlib import Path
from types import SimpleNamespace

import pytest
from method_cases import AMOUNTS, Case, cases, floors_of, kept_floors

from prunebench.pruning import CRITERIA
from prunebench.pruning.schedules import pruning_schedule_names
from prunebench.workloads import find_workload
from prunebench.workloads.configuration import check_method

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("workload", AMOUNTS)
def test_every_criterion_and_schedule_is_there_at_three_totals(workload: str) -> None:
    found = [case.name for case in cases(workload)]
    expected = {*CRITERIA, *pruning_schedule_names()} - AMOUNTS[workload].without.keys()
    assert dict.fromkeys(expected, 3) == {name: found.count(name) for name in found}
    assert find_workload(workload).build().get_parameter(AMOUNTS[workload].last).dim() == 2
    assert (AMOUNTS[workload].epochs or find_workload(workload).recipes["quick"].epochs or 0) > 1, (
        "rewound to the first"
    )
    for case in cases(workload):
        check_method(case.method(), folder=None)


def test_kept_floors_are_those_of_their_values_and_of_cases_there_are() -> None:
    kept = kept_floors()
    assert {case.id for workload in AMOUNTS for case in cases(workload)} >= set(kept)
    assert kept == floors_of({name: floor["values"] for name, floor in kept.items()})
    assert all(floor["least"] <= min(floor["values"]) for floor in kept.values())


def test_a_floor_is_the_lower_limit_by_the_larger_of_two_spreads() -> None:
    steady, loose = [90.0, 90.0, 90.0], [80.0, 85.0, 90.0]
    found = floors_of({"digits/taylor-0.5": steady, "digits/snip-0.5": loose, "digits/snip-0.8": [1.0, 2.0, 3.0]})
    pooled, t4, t2 = math.sqrt(25 / 2), 7.1732, 22.3271  # Student's t at 0.999, of 4 and of 2
    assert found["digits/taylor-0.5"]["least"] == math.floor(10 * (90 - t4 * pooled * math.sqrt(4 / 3))) / 10
    assert found["digits/snip-0.5"]["least"] == math.floor(10 * (85 - t4 * 5 * math.sqrt(4 / 3))) / 10
    assert found["digits/snip-0.8"]["least"] == math.floor(10 * (2 - t2 * math.sqrt(4 / 3))) / 10
    assert 89.5 == floors_of({"digits/bn_scale-0.1": steady})["digits/bn_scale-0.1"]["least"], "rounding is left room"
    half = 4.3027 * statistics.stdev(loose) / math.sqrt(3)
    assert [85 - half, 85 + half] == pytest.approx(found["digits/snip-0.5"]["interval"], abs=0.01)


def test_the_cases_run_when_asked_for_by_their_path_alone() -> None:
    spec = importlib.util.spec_from_file_location("benchmarks_conftest", ROOT / "benchmarks" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)

    def is_left_out(*asked: str) -> bool:
        config = SimpleNamespace(args=asked, invocation_params=SimpleNamespace(dir=ROOT))
        return conftest.pytest_ignore_collect(ROOT / "benchmarks" / "methods", config) is True

    assert is_left_out("benchmarks/")
    assert is_left_out("benchmarks/speed")
    assert not is_left_out("benchmarks/methods")
    assert not is_left_out("benchmarks/methods/test_method_cases.py::test_method")


def test_methods_of_a_case_say_what_they_are() -> None:
    case = Case(workload="digits-vit", kind="criterion", name="geometric_median", total=0.3)
    assert ("channel", {"head.weight": 0.0}) == (case.method().granularity, case.method().limits)
    rewinding = Case(workload="digits", kind="schedule", name="weight-rewinding", total=0.5)
    assert {"rounds": 2, "rewind_to": 1} == rewinding.method().schedule_settings
