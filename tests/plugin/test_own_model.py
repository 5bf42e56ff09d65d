"""docs/tutorial/first-model.md does what it says: its files are written, its commands run and print what they should.

So is what docs/reference/terminal.md quotes of the same commands.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from click.testing import CliRunner
from pytest_here import run_pytest

from prunebench.cli import main
from prunebench.workloads import read_configuration

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
PAGE, TERMINAL, TOML, GATE = (
    (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    for page in ("tutorial/first-model", "reference/terminal", "reference/toml", "how-to/gate-a-pull-request")
)
BLOCK = re.compile(r"^```(\w+)(?: title=\"(\S+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(tmp_path / "project")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("prunebench.storage.revisions._prunebench_revision", lambda _: None)  # of a dirty checkout
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for command in (("init", "-q"), ("config", "user.name", "A"), ("config", "user.email", "a@example.org")):
        subprocess.run(["git", *command], check=True)
    return folder


@pytest.mark.usefixtures("one_thread")
def test_the_page_works_from_nothing_to_a_red_and_a_green_gate(project: Path, pytester: pytest.Pytester) -> None:
    quoted = {command: lines for *_, text in BLOCK.findall(TERMINAL) for command, lines in commands(text)}
    for kind, name, text in BLOCK.findall(PAGE):
        if kind == "python":
            (project / name).write_text(text)
        else:
            for command, expected in commands(text):
                printed, code = done(command, pytester)
                assert (1 if command.endswith("# fails") else 0) == code, f"{command}\n{printed}"
                check_prints(expected, printed, command)
                check_prints(quoted.get(command, []), printed, command)
                for line in quoted.get(f"{command} | tail -1", []):  # standard error, and then output, not as here
                    check_prints([line], printed, command)
    for _, name, text in BLOCK.findall(GATE):
        if name:
            (project / name).write_text(text)
    printed, code = done("pytest test_python.py", pytester)
    assert 0 == code, printed
    assert re.search(r"NO_BASELINE  in-memory/by-hand-ci", printed)


def test_the_example_of_the_file_is_one(tmp_path: Path) -> None:
    described = tmp_path / "described.toml"
    described.write_text(BLOCK.findall(TOML)[0][2])
    assert {"signs"} == {*read_configuration(described).workloads}


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a block, each with the lines it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *printed = part.rstrip("\n").split("\n")
        yield command, printed


def done(command: str, pytester: pytest.Pytester) -> tuple[str, int]:
    program, *arguments = shlex.split(command, comments=True)
    if program == "prunebench":
        result = CliRunner().invoke(main, arguments)
        return result.output, result.exit_code
    if program == "pytest":
        code, printed = run_pytest(pytester, *arguments)
        return printed, code
    program = sys.executable if program == "python" else program
    ran = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return ran.stdout + ran.stderr, ran.returncode


def check_prints(expected: list[str], printed: str, command: str) -> None:
    """Each expected line is printed, in order; `...` alone stands for any lines, in a line for any text."""
    lines = iter(printed.splitlines())
    for wanted in expected:
        if wanted != "...":
            pattern = re.sub(r"\[", "[[]", wanted).replace("...", "*")
            assert any(fnmatchcase(line.rstrip(), pattern) for line in lines), f"{command}: {wanted!r} in\n{printed}"
