"""Pages do what they say: every fenced or indented block, and every command between backticks. The reference is whole.

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
from prunebench.data import CIFAR10_CLASSES, Dataset, Examples, load_digits
from prunebench.documented.runs import RUNS
from prunebench.documented.tables import read_table
from prunebench.experiments.plan_request import Request
from prunebench.experiments.study import StudyFile
from prunebench.models import build_model, save_state
from prunebench.records import keep_record, write_record
from prunebench.sensitivity import write_scan
from prunebench.workloads import BUILT_IN, Weights, cifar10, find_recipe, find_workload
from prunebench.workloads.configuration import ScheduleSection, Section, Sections

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
DOCS = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
PAGES = ["README.md", "CONTRIBUTING.md", *DOCS]
LINKING = [*PAGES, "CHANGELOG.md", "SECURITY.md"]
LANGUAGES = ("", "sh", "console", "python", "text", "toml", "yaml")
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
    "bench",
    "prune",
    "shrink",
    "export",
    "latency",
    "--rule",
    "--search",
    "compounding",
    "frontier",
    "weights",
    "--git",
    "study",
    "2.9.1",
)
"""Words of commands that are only parsed: trainings, data and files of one's own, what changes the tree."""
RUN_ELSEWHERE = ("docs/tutorial/first-model.md", "docs/reference/terminal.md")
"""By tests/plugin/test_own_model.py, which writes blocks that have a title to files."""


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
    return re.sub(r"^(\w+=\S+ )+|^\.venv/bin/(?=pytest|nox)|\.\.\.$| \[.*\]", "", command).strip()


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
    for name in ("scan.json", "dense.json"):
        write_scan(vgg_scan(), Path(name))
    record = make_record(run="run3")
    for name in ("old.json", "new.json"):
        write_record(record, Path(name))
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
    found = [(page, text) for page, _, info, text in blocks(("fence",)) if info == language]
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
    """A digits that is small, not trained and hardly fine-tuned; a CIFAR-10 of zeros that is asked 8 images."""
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
    whole = load_digits()
    small_digits = replace(whole, train=whole.train.take(torch.arange(128)), test=whole.test.take(torch.arange(64)))
    monkeypatch.setattr(prunebench, "load_digits", lambda: small_digits, raising=False)
    few = torch.arange(8)
    monkeypatch.setattr(
        prunebench.tasks.evaluation, "evaluate", lambda m, images, **k: evaluate(m, images.take(few), **k)
    )


# The reference, and links


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    """The parts that the site's hook makes of the code, by name; each is on one page."""
    generated = runpy.run_path(str(ROOT / "docs" / "hooks.py"))["GENERATED"]
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        assert {*re.findall(r"^<!-- generated: (.*) -->$", page.read_text(encoding="utf-8"), re.MULTILINE)} <= {
            *generated
        }
    return {name: make() for name, make in generated.items()}


def every_command(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from every_command(inner, (*path, name))


@pytest.mark.parametrize("path", list(every_command(main)), ids=" ".join)
def test_a_command_is_in_the_reference_with_each_option_of_its_help(
    path: tuple[str, ...], reference: dict[str, str]
) -> None:
    section = reference["commands"].partition(f"## `{' '.join(('prunebench', *path))}`\n")[2].partition("\n## ")[0]
    printed = CliRunner().invoke(main, [*path, "--help"]).output.partition("\nOptions:\n")[2]
    assert options(printed, before="  ") - {"--help"} == options(section, before="| `")


def options(text: str, *, before: str) -> set[str]:
    """The long names at the beginning of lines."""
    found = re.findall(rf"^{re.escape(before)}((?:-\w, )?--[\w-]+(?:, --[\w-]+)*)", text, re.MULTILINE)
    return {name for names in found for name in names.split(", ") if name.startswith("--")}


def test_options_and_ini_keys_of_pytest_are_in_the_reference(
    project: pytest.Pytester, reference: dict[str, str]
) -> None:
    printed = project.runpytest_inprocess("--help", str(ROOT / "benchmarks")).stdout.str()
    groups = re.findall(r"^prunebench.*:\n((?:  .*\n)+)", printed, re.MULTILINE)
    keys = re.findall(r"^  (prunebench_\w+)", printed, re.MULTILINE)
    assert 2 == len(groups)
    assert options("".join(groups), before="  ") == options(reference["pytest"], before="| `")
    assert {*keys} == {*re.findall(r"^\| `(prunebench_\w+)", reference["pytest"], re.MULTILINE)}


def test_every_key_of_the_toml_files_is_in_the_reference(reference: dict[str, str]) -> None:
    sections = [each for each in Section.__subclasses__() if each not in {Sections, StudyFile}]
    fields = [field for section in (*sections, ScheduleSection) for field in section.model_fields.items()]
    keys = {field.alias or key for key, field in fields}
    assert {"epochs", "seeds", "name"} <= keys
    assert keys == {*re.findall(r"^\| `(\w+)", reference["keys"], re.MULTILINE)}


def test_every_public_name_is_in_the_reference(reference: dict[str, str]) -> None:
    assert {*prunebench.__all__} == {*re.findall(r"^::: prunebench\..*?(\w+)$", reference["names"], re.MULTILINE)}


def test_every_page_is_in_the_navigation_and_in_the_tree() -> None:
    listed = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    made = {"index.md", "contributing.md", "changelog.md"}
    assert {page.removeprefix("docs/") for page in DOCS} | made == {*listed}


@pytest.mark.parametrize("page", LINKING)
def test_every_link_leads_somewhere(page: str) -> None:
    for token in MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8")):
        for each in token.children or ():
            target = each.attrs.get("href", each.attrs.get("src"))
            if target is not None and not str(target).startswith("https://"):  # no network here
                file, _, anchor = str(target).partition("#")
                found = ROOT / page if not file else (ROOT / page).parent / file
                assert found.is_file(), f"{page}: {target}"
                assert not anchor or anchor in anchors(found), f"{page}: {target}"


def anchors(page: Path) -> set[str]:
    """Those of its headings, as Python-Markdown and code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
