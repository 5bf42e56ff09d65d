"""Hooks of MkDocs: reference pages get what the code says of itself, and files of the top folder become pages.

A line `<!-- generated: NAME -->` in a page is replaced by what `GENERATED[NAME]` gives.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

import prunebench
from prunebench.cli import main
from prunebench.experiments.study import StudyFile
from prunebench.experiments.study_search import RangeSection
from prunebench.pytest_options import add_options
from prunebench.workloads.configuration import Sections

ROOT = Path(__file__).parents[1]
TOP_FILES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}


def on_files(files: Any, config: Any) -> Any:
    """Add the files of the top folder as pages."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - tests of what is generated do without it

    for name, page in TOP_FILES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=with_links_of_the_site(text)))
    return files


def with_links_of_the_site(text: str) -> str:
    """Turn links from the top folder into links between pages."""
    for name, page in TOP_FILES.items():
        text = text.replace(f"]({name}", f"]({page}")
    return text.replace("](docs/", "](")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in what is generated."""
    return re.sub(r"^<!-- generated: (\w+) -->$", lambda found: GENERATED[found[1]](), markdown, flags=re.MULTILINE)


def commands() -> str:
    """Every command with its arguments and options, from click."""
    return "\n".join(_command(main, click.Context(main, info_name="prunebench")))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## `{context.command_path}`\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    yield re.sub(r"([*<_])", r"\\\1", inspect.cleandoc(command.help or "")) + "\n"
    options = [option for option in command.params if isinstance(option, click.Option)]
    told = [found for option in options if (found := option.get_help_record(context))]
    yield _table(("option", "about"), [(f"`{names}`", _cell(about)) for names, about in told])
    if isinstance(command, click.Group):
        for name in command.commands:
            inner = command.commands[name]
            yield from _command(inner, click.Context(inner, info_name=name, parent=context))


class _Options:
    """What pytest's parser is told, written down."""

    def __init__(self) -> None:
        self.options: list[tuple[str, str]] = []
        self.ini: list[tuple[str, str]] = []

    def getgroup(self, *_: str) -> _Options:
        return self

    def addoption(self, name: str, *, help: str, choices: Any = (), metavar: str = "", **_: Any) -> None:  # noqa: A002
        takes = " or ".join(choices) or metavar
        self.options.append((f"`{name} {takes}`" if takes else f"`{name}`", _cell(help)))

    def addini(self, name: str, help: str, **_: Any) -> None:  # noqa: A002
        self.ini.append((f"`{name}`", _cell(help)))


def pytest_options() -> str:
    """Every option and ini key of the plugin, and the options of `benchmarks/`."""
    plugin, suite = _Options(), _Options()
    add_options(plugin)  # type: ignore[arg-type]
    found = importlib.util.spec_from_file_location("benchmarks_conftest", ROOT / "benchmarks" / "conftest.py")
    assert found is not None
    assert found.loader is not None
    conftest = importlib.util.module_from_spec(found)
    found.loader.exec_module(conftest)
    conftest.pytest_addoption(suite)
    return "\n".join([
        "## Options of the plugin\n", _table(("option", "about"), plugin.options),
        "## Keys of the ini file\n", _table(("key", "about"), plugin.ini),
        "## Options of `pytest benchmarks/`\n", _table(("option", "about"), suite.options),
    ])  # fmt: skip


def toml_keys() -> str:
    """Every key of prunebench.toml and of study.toml, from the models that read them."""
    lines = []
    for name, model, others in (("prunebench.toml", Sections, []), ("study.toml", StudyFile, [RangeSection])):
        lines.append(f"## Keys of {name}\n")
        for section in (*model.model_json_schema()["$defs"].values(), *(each.model_json_schema() for each in others)):
            table, _, about = re.split(r"([:,] )", section["description"].splitlines()[0], maxsplit=1)
            keys = [
                (f"`{key}`", _takes(each), _default(each) if key not in section.get("required", ()) else "needed")
                for key, each in section["properties"].items()
            ]
            lines += [f"### {table}\n", f"{about[0].upper()}{about[1:]}\n", _table(("key", "takes", "default"), keys)]
    return "\n".join(lines)


def _default(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    return "" if default in (None, "") or isinstance(default, dict | list) else f"`{json.dumps(default)}`"


def _takes(schema: Mapping[str, Any]) -> str:
    """The values of a schema, in words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_takes(each) for each in schema["anyOf"] if each.get("type") != "null"))
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if "$ref" in schema or schema.get("type") == "object":
        return "a table"
    if schema.get("type") == "array":
        inner = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"a list of: {_takes(inner)}"
    kind = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "`true` or `false`"}
    limits = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}
    told = [f"{word} {schema[limit]:g}" for limit, word in limits.items() if limit in schema]
    return " ".join([kind.get(schema.get("type", ""), "any value"), *told])


def names() -> str:
    """Every public name, by the package it is in, for mkdocstrings."""
    by_package: dict[str, list[str]] = {}
    for name in prunebench.__all__:
        by_package.setdefault(prunebench._WHERE[name].split(".")[1], []).append(name)
    return "\n".join(
        f"## {package}\n\n" + "\n".join(f"::: {prunebench._WHERE[name]}.{name}\n" for name in by_package[package])
        for package in sorted(by_package)
    )


def _table(header: tuple[str, ...], rows: list[Any]) -> str:
    if not rows:
        return ""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ("---",) * len(header), *rows)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return re.sub(r"([|*<_])", r"\\\1", text)


GENERATED: Mapping[str, Callable[[], str]] = {
    "commands": commands, "pytest": pytest_options, "keys": toml_keys, "names": names
}  # fmt: skip
