"""README and docs do what they say: every fenced or indented block, and every command between backticks.

The id of a test says what is done with a command: `run`; `collect` for pytest's; or `parse`, by what runs it, where it
would take minutes, data or a code host: the command, its options and their values.
"""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
import torch
import torchvision  # noqa: F401 - as prunebench.baselines.comparison below
from click.testing import CliRunner
from markdown_it import MarkdownIt
from planning.scan_factory import vgg_scan
from record_factory import SHAPES, make_baseline, make_record

# Before pytester, which forgets what was imported within a run: torch cannot come twice.
import prunebench.baselines.comparison
import prunebench.tasks.evaluation
import prunebench.workloads.registry
from prunebench.baselines.shelf import write_baseline
from prunebench.cli import main
from prunebench.cli.actions.plan import _check
from prunebench.data import CIFAR10_CLASSES, Dataset, Examples
from prunebench.documented.runs import RUNS
from prunebench.documented.tables import read_table
from prunebench.experiments.plan_request import Request
from prunebench.models import build_model, save_state
from prunebench.records import keep_record
from prunebench.sensitivity import write_scan
from prunebench.workloads import BUILT_IN, Weights, cifar10, find_recipe, find_workload

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
LANGUAGES = ("", "sh", "console", "python", "toml", "yaml")
OURS = ("prunebench", "pytest", "python", "nox")
OTHERS = ("git", "gh", "printf", "python3 -m venv", ".venv/bin/pip install")
"""Programs that no test here has a say in."""
SLOW = (
    "init",
    "check",
    "run",
    "train",
    "scan",
    "data",
    "approve",
    "prune",
    "shrink",
    "export",
    "latency",
    "--rule",
    "--search",
    "frontier",
    "weights",
    "--git",
    "study",
)
"""Words of commands that are only parsed: trainings, data and files of one's own, what changes the tree."""
RUN_ELSEWHERE = {f"docs/{page}.md": "tests/plugin/test_own_model.py" for page in ("own-model", "terminal")}


def blocks(kinds: tuple[str, ...]) -> Iterator[tuple[str, int, str, str]]:
    """(page, line, language, text) of the tokens of these kinds."""
    for page in PAGES:
        for token in MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8")):
            assert token.type != "fence" or token.info.partition(" ")[0] in LANGUAGES, f"{page}: {token.info}"
            for each in (token, *(token.children or ())):
                if each.type in kinds:
                    yield page, (token.map or [0])[0] + 1, each.info, each.content


def commands(how: str) -> list[Any]:
    """(command, whether it stands in a block, whole) of those with which this is done; each once."""
    found: dict[tuple[str, bool], Any] = {}
    for page, line, language, text in blocks(("fence", "code_block", "code_inline")):
        if page in RUN_ELSEWHERE and language:
            continue
        whole = "\n" in text
        lines = [] if language in {"python", "toml", "yaml"} else re.sub(r"\\\n\s*", " ", text).splitlines()
        if language == "console":  # with what they print
            lines = [one for one in lines if one.startswith("$ ")]
        for command in (each for one in lines for each in re.split(r" {3,}| # ", one.removeprefix("$ ").strip())[:1]):
            for words in map(bare, command.split(" && ")):
                assert words.startswith((*OURS, *OTHERS)) or language not in {"sh", "console"}, f"{page}:{line} {words}"
                if re.match(rf"({'|'.join(OURS)}) |pytest$", words) and not words.startswith(OTHERS):
                    for one in expanded(words):
                        if how == what_is_done(one, whole=whole):
                            name = f"{page}:{line} {how} {one[:60]}"
                            found.setdefault((one, whole), pytest.param(one, whole, id=name))
    return [*found.values()]


def bare(command: str) -> str:
    """Without variables before it, the folder of its program, and what may be left out."""
    return re.sub(r"^(\w+=\S+ )+|^\.venv/bin/(?=pytest)|\.\.\.$| \[.*\]", "", command).strip()


def expanded(words: str) -> list[str]:
    """`prunebench plot weights, frontier` is two commands."""
    found = re.fullmatch(r"(\w+ \w+) (\w+(?:, \w+)+)", words)
    return [f"{found[1]} {each}" for each in found[2].split(", ")] if found else [words]


def what_is_done(command: str, *, whole: bool) -> str:
    words = command.split()
    if words[0] == "pytest":
        return "collect"
    is_quick = whole and not {*words} & {*SLOW} and not re.search(r"\b[A-Z]{2,}\b| A$", command)
    return "run" if is_quick and words[0] == "prunebench" else "parse"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> pytest.Pytester:
    """A folder that has what the pages speak of, small: a scan, records, baselines, tests, images."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    pytester.syspathinsert(ROOT / "tests")
    write_scan(vgg_scan(), Path("scan.json"))
    record = make_record(run="run3")
    for folder in (".prunebench/records", "records/.prunebench/records"):
        keep_record(record, Path(folder))
    write_baseline(make_baseline(record), Path("baselines"))
    pytester.mkdir("tests").joinpath("test_pruned.py").write_text("def test_nothing(): pass")
    table = [f'"{name}" = {sparsity}' for name, sparsity in RUNS["run3"].sparsity.items()]
    Path("E.toml").write_text("\n".join(["[sparsity]", *table]))
    Path("prunebench.toml").write_text('[run.half]\nworkload = "digits"\nsparsity = 0.5\n')
    return pytester


@pytest.mark.parametrize(("command", "whole"), commands("run"))
def test_every_quick_command_does_what_is_asked(command: str, whole: bool, project: pytest.Pytester) -> None:
    assert whole
    done = CliRunner().invoke(main, shlex.split(command)[1:])
    assert 0 == done.exit_code, done.output


@pytest.mark.parametrize(("command", "whole"), commands("collect"))
def test_pytest_takes_every_command_of_its_own(command: str, whole: bool, project: pytest.Pytester) -> None:
    """Options and paths; the tests are collected and not run."""
    arguments = [
        str(ROOT / each) if (ROOT / each).exists() and "/" in each else each for each in shlex.split(command)[1:]
    ]
    result = project.runpytest_inprocess("--collect-only", "-q", "-p", "no:randomly", *(arguments or ["tests"]))
    assert pytest.ExitCode.OK == result.ret


@pytest.mark.parametrize(("command", "whole"), commands("parse"))
def test_every_other_command_has_these_options(command: str, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *arguments = shlex.split(command.partition(" > ")[0])
    if program == "prunebench":
        parse_ours(arguments, whole=whole)
    elif program == "nox":
        assert f"def {arguments[arguments.index('-s') + 1]}(" in (ROOT / "noxfile.py").read_text(encoding="utf-8")
    elif arguments[0].startswith("tests/"):
        assert 'if __name__ == "__main__":' in (ROOT / arguments[0]).read_text(encoding="utf-8")
    else:
        parse_script(arguments, monkeypatch)


def parse_ours(arguments: list[str], *, whole: bool) -> None:
    """By the commands themselves; of a command in a sentence, arguments may be missing."""
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group) and arguments:
        _, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command = found
    try:
        given = command.make_context("prunebench", arguments).params
    except click.MissingParameter:
        assert not whole
        return
    if "workload" in given:
        find_recipe(find_workload(given["workload"]), given.get("recipe"))
    if "rounds" in given and arguments:
        _check(Request(**given))


class Parsed(Exception):  # noqa: N818 - no error
    """Options were taken; the work need not begin."""


def parse_script(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: argparse.ArgumentParser, *given: Any) -> None:
        raise Parsed(parse(self, *given))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "studies")
    with pytest.raises(Parsed):
        runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")


def code(language: str) -> list[Any]:
    found = [(page, text) for page, _, info, text in blocks(("fence",)) if info.partition(" ")[0] == language]
    return [pytest.param(page, text, id=f"{page} {text.splitlines()[0][:40]}") for page, text in found]


TABLES = [each for each in code("toml") if "[sparsity]" in each.values[1]]


@pytest.mark.parametrize(("page", "table"), TABLES)
def test_every_table_is_one_and_its_claims_hold(page: str, table: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(table)
    assert tomllib.loads(table)["sparsity"].keys() == read_table(tmp_path / "mine.toml").sparsity.keys()
    done = CliRunner().invoke(main, ["lint", str(tmp_path / "mine.toml")])
    assert 0 == done.exit_code, done.output


STAND_INS = f"""
from record_factory import make_record
from prunebench.documented.runs import DocumentedRun
run = DocumentedRun(name="run3", sparsity=dict.fromkeys({[*SHAPES]}, 0.5), source="")
setting, record, records = None, make_record(run="run3"), [make_record(run="run3", seed=seed) for seed in (1, 2)]
execute = lambda run, setting: make_record(run="run3")
"""
"""What a block takes for granted; a block that imports it has its own."""


@pytest.mark.parametrize(("page", "block"), code("python"))
def test_every_block_of_python_runs(
    page: str, block: str, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    if elsewhere := RUN_ELSEWHERE.get(page):
        assert page in (ROOT / elsewhere).read_text(encoding="utf-8")
        return
    small_workloads(monkeypatch)
    if "def test_" in block:
        for seed in (1, 2):
            write_baseline(make_baseline(make_record(run="run3", seed=seed)), Path("baselines"))
        if "prepare" in block:  # a VGG of this moment has no baseline
            Path("baselines/digits/run3-quick.json").unlink()
        tests = project.makepyfile(STAND_INS + block)
        project.runpytest_inprocess("-p", "no:randomly", tests).assert_outcomes(passed=1)
    else:
        exec(compile(block, page, "exec"), {"model": build_model("vgg")})


def small_workloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A digits that is not trained and hardly fine-tuned; a CIFAR-10 that is decoded anew, and asked 8 images of."""
    torch.manual_seed(0)
    untrained = build_model("vgg").state_dict()
    untrained |= {name: value + 0.1 for name, value in untrained.items() if name.endswith(".bias")}  # zeros are no size
    save_state(untrained, Path("untrained.safetensors"))
    digits = BUILT_IN["digits"]
    quick = digits.recipes["quick"].for_epochs(1).shortened(epochs=1, images_per_epoch=32)
    weights = Weights(file=Path("untrained.safetensors"))
    small = replace(digits, recipes={**digits.recipes, "quick": quick}, weights=weights)
    monkeypatch.setitem(BUILT_IN, "digits", small)
    evaluate = prunebench.tasks.evaluation.evaluate

    def load(path: Path | None, *, progress: Any) -> Dataset:
        if progress:
            progress(100)
        images = Examples(torch.zeros(16_100, 3, 32, 32, dtype=torch.uint8), torch.arange(16_100) % 10)
        return Dataset(name="cifar10", train=images, test=images, classes=CIFAR10_CLASSES, origin="zeros")

    monkeypatch.setattr(cifar10, "load_cifar10", load)
    few = torch.arange(8)
    monkeypatch.setattr(
        prunebench.tasks.evaluation, "evaluate", lambda m, images, **k: evaluate(m, images.take(few), **k)
    )
