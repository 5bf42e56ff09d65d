"""What the packages offer is complete and sorted, and importing it does nothing else."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import prunebench

MODULES = sorted(module.name for module in pkgutil.walk_packages(prunebench.__path__, "prunebench."))

RIDDLES = frozenset({"What", "Of", "As", "Whether", "Which", "How"})
"""First words of a docstring that needs the name beside it to be understood."""

OFFERED = [
    name
    for name in prunebench.__all__
    if inspect.isclass(getattr(prunebench, name)) or inspect.isfunction(getattr(prunebench, name))
]
PACKAGES = ["prunebench"] + [name for name in MODULES if hasattr(importlib.import_module(name), "__path__")]


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


def test_public_names_are_found_where_type_checkers_are_told_they_are() -> None:
    tree = ast.parse(Path(str(prunebench.__file__)).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "importlib"]
    told = {alias.name: node.module for node in imports for alias in node.names if node.module != "typing"}
    assert told == prunebench._WHERE
    assert set(told) == set(prunebench.__all__) <= set(dir(prunebench))
    with pytest.raises(AttributeError, match="'prunebench' has no attribute 'prepair'"):
        _ = prunebench.prepair


def test_importing_prunebench_imports_nothing_heavy() -> None:
    code = "import sys, prunebench; sys.exit(bool({'torch', 'numpy', 'pydantic', 'pytest'} & set(sys.modules)))"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_lives_there(name: str) -> None:
    assert (importlib.import_module(name).__doc__ or "").strip()


def test_importing_everything_prints_nothing_and_touches_no_cache(tmp_path: object) -> None:
    script = "import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in MODULES)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=str(tmp_path)
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def is_riddle(docstring: str) -> bool:
    return docstring.split(maxsplit=1)[0] in RIDDLES


@pytest.mark.parametrize("name", OFFERED)
def test_docstrings_of_public_names_stand_alone(name: str) -> None:
    docstring = getattr(prunebench, name).__doc__ or ""
    assert docstring.strip()
    assert not is_riddle(docstring), docstring


def test_no_docstring_needs_the_name_beside_it() -> None:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    found = [
        f"{path}:{getattr(node, 'lineno', 1)}"
        for path in sorted(Path(str(prunebench.__file__)).parent.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, documented) and is_riddle(ast.get_docstring(node) or "-")
    ]
    assert [] == found
