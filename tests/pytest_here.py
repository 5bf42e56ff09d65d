"""pytest within this process: starting another one takes seconds.

pytester forgets what was imported within a run, and what is compiled cannot come twice: it is imported here, before.
"""

from __future__ import annotations

import matplotlib.pyplot  # noqa: F401
import pytest
import sklearn.datasets  # noqa: F401
import torchvision  # noqa: F401

import prunebench.baselines.comparison
import prunebench.pytest_plots
import prunebench.pytest_report
import prunebench.pytest_toml
import prunebench.timed_runs  # noqa: F401


def run_pytest(pytester: pytest.Pytester, *arguments: object) -> tuple[int, str]:
    """Exit code and all output of pytest with these arguments, from the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
            patch.delenv(name, raising=False)
        done = pytester.runpytest_inprocess("-p", "no:randomly", *map(str, arguments))
    return int(done.ret), f"{done.stdout}\n{done.stderr}"
