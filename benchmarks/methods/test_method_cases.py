"""Every criterion and every pruning schedule at three totals, gated by floors from seeds.

    pytest benchmarks/methods -k digits-vit

Not part of `pytest benchmarks/`: asked for by its path. Floors are of each workload's own or published dense model.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from method_cases import AMOUNTS, Case, cases, floor, prepared

from prunebench.errors import PrunebenchError
from prunebench.experiments.flow import Setting, execute
from prunebench.gate import check_record
from prunebench.report.progress import ProgressBar
from prunebench.timed_runs import pass_or_fail
from prunebench.workloads import find_workload

CASES = [case for workload in AMOUNTS for case in cases(workload)]


@cache
def setting_of(workload: str, **options: Any) -> Setting:
    return prepared(find_workload(workload), AMOUNTS[workload], **options)


@pytest.fixture
def prepared_setting(case: Case, pytestconfig: pytest.Config) -> Setting:
    """Loaded once a workload, and only where a case of it has a floor."""
    if floor(case) is None:
        pytest.skip(f"has no floor yet: python benchmarks/studies/method_floors.py --workload {case.workload}")
    option = pytestconfig.getoption
    try:
        return setting_of(case.workload, checkpoint=option("--checkpoint"), data_path=option("--data"))
    except PrunebenchError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_method(case: Case, prepared_setting: Setting, progress: ProgressBar) -> None:
    """The method prunes exactly what was asked for, and its accuracy reaches its floor."""
    limit = floor(case)
    assert limit is not None, "skipped otherwise"
    run = case.run(prepared_setting, [limit])
    pass_or_fail(check_record(execute(run, prepared_setting, finetune=case.kind == "schedule", progress=progress)))
