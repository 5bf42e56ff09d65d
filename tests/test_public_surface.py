"""What the packages offer is complete and sorted, and importing it does nothing else."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import prunebench

MODULES = sorted(module.name for module in pkgutil.walk_packages(prunebench.__path__, "prunebench."))
PACKAGES = [name for name in MODULES if hasattr(importlib.import_module(name), "__path__")]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_lists_what_it_offers_sorted_and_existing(name: str) -> None:
    package = importlib.import_module(name)
    listed = list(getattr(package, "__all__", ()))  # one that offers nothing lists nothing
    assert listed == sorted({*listed}, key=lambda entry: (not entry.isupper(), entry[0].islower(), entry))
    assert all(hasattr(package, entry) for entry in listed)
    public = {
        entry
        for entry, value in vars(package).items()
        if not entry.startswith("_") and getattr(value, "__module__", "").startswith("prunebench")
    }
    assert set() == public - set(listed)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_lives_there(name: str) -> None:
    assert (importlib.import_module(name).__doc__ or "").strip()


def test_importing_everything_prints_nothing_and_touches_no_cache(tmp_path: object) -> None:
    script = "import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in MODULES)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=str(tmp_path)
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
