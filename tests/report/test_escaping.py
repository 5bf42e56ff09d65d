"""Whatever names hold, a line stays a line, Markdown stays text, and only prunebench writes workflow commands."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from gate.scan_documents import LAYERS, make_scan
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from matplotlib.text import Text
from pydantic import ValidationError
from record_factory import BIAS, SHAPES, make_baseline, make_record

from prunebench.baselines.shelf import Baseline
from prunebench.cli import main
from prunebench.documented.floors import Floor
from prunebench.documented.runs import documented_run
from prunebench.errors import PlanError, RecordError, UnknownNameError
from prunebench.escaping import annotation, markdown, terminal
from prunebench.gate import Verdict, check_record, compare_records
from prunebench.records import RunRecord
from prunebench.report import (
    accuracy_table,
    baseline_text,
    baselines_table,
    heading,
    layer_table,
    notable,
    passed_lines,
    scan_baseline_text,
    scan_baselines_table,
    summary_table,
    verdict_lines,
)
from prunebench.report.markdown import markdown_summary, workflow_commands
from prunebench.report.plots import (
    LayerCount,
    plot_frontier,
    plot_parameters,
    record_points,
    write_figure,
)
from prunebench.sensitivity import Scan
from prunebench.storage.documents import render

NASTY = {
    "colour": "\x1b[31mred\x1b[0m",
    "clear screen": "\x1b[2J\x1b[H",
    "window title": "\x1b]0;owned\x07",
    "hyperlink": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "C1 control": "\x9b31m",
    "carriage return": "FAIL\rPASS",
    "newline": "a\nPASS digits/run3-quick",
    "newline and command": "a\n::error::b",
    "CRLF and command": "a\r\n::set-output name=x::y",
    "backspace": "FAIL\b\b\b\bPASS",
    "bell": "\a",
    "null": "a\0b",
    "delete": "a\x7fb",
    "vertical tab": "a\vb",
    "form feed": "a\fb",
    "tab": "a\tb",
    "next line": "a\x85::error::b",
    "line separator": "a\u2028::error::b",
    "paragraph separator": "a\u2029b",
    "right to left": "a\u202ecba",
    "isolate": "a\u2066b\u2069",
    "zero width": "a\u200bb\u200d\ufeff",
    "no-break space": "\xa0::error::a",
    "tag characters": "a\U000e0041",
    "private use": "\ue000",
    "command": "::error::a",
    "command after spaces": "  ::add-mask::digits",
    "command of old": "##[error]a",
    "stop commands": "::stop-commands::a",
    "percent": "%0A::error::a%25",
    "property": "a,line=1,file=README.md::b",
    "pipe": "a|b",
    "escaped pipe": "a\\|b\\",
    "code": "`rm -rf ~`",
    "unclosed code": "``a",
    "fence": "```sh",
    "link": "[a](https://evil.example)",
    "image": "![a](https://evil.example/a.png)",
    "address": "https://evil.example www.evil.example a@evil.example",
    "reference": "[a]: https://evil.example",
    "script": "<script>alert(1)</script>",
    "details": "</details></summary>",
    "comment": "<!-- a",
    "entity": "&lt;b&gt; &#124;",
    "emphasis": "*a* **b** _c_ ~~d~~",
    "heading": "# a",
    "list": "- a",
    "numbers": "1. a",
    "quote": "> a",
    "rule": "---",
    "underline": "===",
    "mathematics": "$\\frac{1}{2}$",
    "mention": "@everyone #1",
    "braces": "{0} {name} %s ${{ github.token }}",
    "long": "x" * 5000,
    "long, of words": "x " * 2500,
    "nothing": "",
}
HARMLESS = "harmless"
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
AS_IN_STRICT_JSON = [value for value in NASTY.values() if value.isprintable() or "\n" not in value]


def is_command(line: str) -> bool:
    """As GitHub's runner reads a line: `::` after spaces of any kind, or `##[` anywhere."""
    return line.strip().startswith("::") or "##[" in line


def assert_only_lines(text: str, *, count: int) -> None:
    lines = text.split("\n")
    assert count == len(lines)
    assert [] == [line for line in lines if not line.isprintable() or is_command(line) or len(line) > 7000]


# The three functions


@pytest.mark.parametrize("text", [*NASTY.values(), "\ud800", *NASTY], ids=repr)
def test_a_terminal_gets_one_line_that_does_nothing(text: str) -> None:
    assert_only_lines(terminal(text), count=1)
    assert terminal(text) == terminal(terminal(text))
    assert len(terminal(text)) <= 2000


def test_what_is_harmless_is_shown_as_it_is() -> None:
    for text in ("run3", "C:\\runs\\run 3", "größer 模型 ±0.5 🙂", "a::b", "50 %", "'it''s'", "a: b", "#1"):
        assert text == terminal(text)
    assert ("\\x1b[31m", "a\\nb", "\\u202e", "\\x3a:error::") == (
        terminal("\x1b[31m"),
        terminal("a\nb"),
        terminal("\u202e"),
        terminal("::error::"),
    )


def test_a_long_name_keeps_its_ends() -> None:
    cut = terminal(f"run start{'x' * 5000}end of 3 epochs")
    assert cut.startswith("run startxxx")
    assert cut.endswith("xxxend of 3 epochs")
    assert "...(5,008 characters)..." in cut
    assert 330 > len(cut)


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_markdown_shows_the_text_of_a_terminal_and_nothing_else(text: str) -> None:
    (paragraph, content, _) = MARKDOWN.parse(f"a {markdown(text)}")
    assert "paragraph_open" == paragraph.type
    assert {"text"} == {child.type for child in content.children or ()}
    assert f"a {' '.join(terminal(text).split())}".strip() == "".join(child.content for child in content.children or ())
    assert not re.search(r"://|www\.|@|\$", markdown(text))
    alone = [token.type for token in MARKDOWN.parse(markdown(text))]
    assert alone == (["paragraph_open", "inline", "paragraph_close"] if text else [])


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_an_annotation_is_one_command_with_this_title_and_message(text: str) -> None:
    line = annotation("error", title=text, message=text)
    assert line.isprintable()
    command, title, message = re.fullmatch(r"::(\w+) title=(.*?)::(.*)", line).groups()  # type: ignore[union-attr]
    assert ("error", terminal(text)) == (command, _decoded(title, **{"%3A": ":", "%2C": ","}))
    assert terminal(text) == _decoded(message)
    assert not set(title) & set(":,")


def _decoded(text: str, **more: str) -> str:
    """As GitHub's runner does."""
    for code, letter in {**more, "%0D": "\r", "%0A": "\n", "%25": "%"}.items():
        text = text.replace(code, letter)
    return text


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_an_error_is_one_line(text: str) -> None:
    for error in (PlanError(f"the table '{text}' is bad"), UnknownNameError("run", text, ["run1", text])):
        assert_only_lines(str(error), count=1)


# Every field that is printed


def texts_in(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all texts in a document: values, and with `KEY` at their end keys of free choice."""
    if isinstance(content, str):
        yield path
    elif isinstance(content, list):
        for index, entry in enumerate(content[:1]):
            yield from texts_in(entry, (*path, index))
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from texts_in(value, (*path, key))
            yield (*path, key, KEY)


KEY = object()


def renamed(content: Any, old: str, new: str) -> Any:
    """A layer's name stands in several places, and a document that says two names contradicts itself."""
    if isinstance(content, dict):
        return {new if key == old else key: renamed(value, old, new) for key, value in content.items()}
    if isinstance(content, list):
        return [renamed(value, old, new) for value in content]
    return new if content == old else content


def put(content: Any, path: tuple[Any, ...], text: str) -> Any:
    content = copy.deepcopy(content)
    *way, last = path if path[-1] is not KEY else path[:-1]
    place = content
    for step in way:
        place = place[step]
    name = last if path[-1] is KEY else place[last]
    if name in (SHAPES | BIAS | LAYERS):
        return renamed(content, name, text)
    if path[-1] is KEY:
        place[text] = place.pop(last)
    else:
        place[last] = text
    return content


def takes_any_text(content: Any, path: tuple[Any, ...]) -> bool:
    try:
        Baseline.model_validate(put(content, path, HARMLESS))
    except (ValidationError, RecordError):  # a digest, a choice, or a field of its own
        return False
    return True


FLOORS = [Floor(figure=figure, least=99.0, rule="a rule") for figure in ("accuracy_best", "size_percent")]
RUN = make_baseline(make_record(model="net", dirty=True, floors=FLOORS)).model_dump()
SCAN = make_baseline(make_scan()).model_dump()
FIELDS = [
    pytest.param(content, path, id=f"{kind}-{'.'.join('KEY' if p is KEY else str(p) for p in path)}")
    for kind, content in (("run", RUN), ("scan", SCAN))
    for path in texts_in(content)
    if takes_any_text(content, path)
]


def verdicts_on(baseline: Baseline, content: Any) -> list[Verdict]:
    """The document as the new side and as the baseline of the unchanged one."""
    other, record = Baseline.model_validate(content).record, baseline.record
    sides = ((other, record), (record, other))
    judged = [v for old, new in sides for v in compare_records({baseline.case: old}, {baseline.case: new})]
    return [*judged, *(check_record(record) if isinstance(record, RunRecord) else [])]


def blocks_of(baseline: Baseline) -> list[str]:
    if isinstance(baseline.record, Scan):
        return [scan_baselines_table([baseline]), scan_baseline_text(baseline)]
    record, run = baseline.record, replace(documented_run("run3"), name=baseline.record.run)
    return [
        heading(record.run, record, [run]),
        layer_table(record),
        accuracy_table(record, run),
        summary_table([(record, run)]),
        baselines_table([baseline]),
        baseline_text(baseline),
    ]


@pytest.mark.parametrize(("content", "path"), FIELDS)
def test_no_field_of_a_document_leaves_its_line(content: Any, path: tuple[Any, ...]) -> None:
    counts = [block.count("\n") + 1 for block in blocks_of(Baseline.model_validate(put(content, path, HARMLESS)))]
    said = path[0] == "approval" or path[-1] == "rule"  # who and why, which is never empty
    texts = [text for text in NASTY.values() if text or not said]
    for text in texts:
        blocks = blocks_of(Baseline.model_validate(put(content, path, text)))
        for block, count in zip(blocks, counts, strict=True):
            assert_only_lines(block, count=count)


@pytest.mark.parametrize(("content", "path"), FIELDS)
def test_no_field_of_a_document_gets_out_of_a_verdict(content: Any, path: tuple[Any, ...]) -> None:
    """All nasty texts at once: a verdict costs milliseconds, and those that escape one by one do so together."""
    harmless = verdicts_on(Baseline.model_validate(put(content, path, HARMLESS)), content)
    tokens = [token.type for token in MARKDOWN.parse(markdown_summary(harmless))]
    for text in ("".join(text for text in NASTY.values() if len(text) < 100), NASTY["command"], NASTY["long"]):
        verdicts = verdicts_on(Baseline.model_validate(put(content, path, text)), content)
        alone, lines = notable(verdicts)
        for line in (*verdict_lines(alone), *map(terminal, (*lines, *passed_lines(verdicts)))):
            assert_only_lines(line, count=1)
        assert tokens == [token.type for token in MARKDOWN.parse(markdown_summary(verdicts))]
        for line in workflow_commands(verdicts, limit=99):
            assert re.fullmatch(r"::(error|warning) title=[^:,]*::.*", line)
            assert line.isprintable()


# The command line and the files that people have


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.output


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_commands_print_names_of_files_records_and_arguments_in_lines(text: str, tmp_path: Path) -> None:
    name = text.replace("/", "_").replace("\0", "")[:80] or "a"
    record = make_record(run=text, model=text, recipe=text[:20])
    path = tmp_path / f"{name}.json"
    path.write_text(render(record.model_dump(mode="json")))
    for arguments in (
        ("compare", path, "--baselines", tmp_path),
        ("compare", path, tmp_path / name),
        ("compare", path, path),
        ("baseline", "list", "--baselines", tmp_path / name),
        ("baseline", "show", text, "--baselines", tmp_path),
        ("run", text),
        ("lint", text),
        (text, "run1"),
        (f"--{text}",),
        ("run", "run1", "--workload", text),
        ("run", "run1", "--device", text, "--json", tmp_path / name / "r.json"),
        ("scan", "--sparsities", text),
        ("plan", "--scan", tmp_path / name, "--size", text),
        ("plot", "frontier", path, "-o", tmp_path / name),
    ):
        code, output = invoke(*arguments)
        assert code in (0, 1, 2, 3), output
        for line in output.split("\n"):
            assert line.isprintable()
            assert not is_command(line)
            assert len(line) <= 2000


def test_a_table_of_nasty_names_is_one_clear_line(tmp_path: Path) -> None:
    for number, text in enumerate(AS_IN_STRICT_JSON):
        path = tmp_path / f"{number}.toml"
        escaped = "".join(f"\\U{ord(letter):08x}" for letter in text)
        path.write_text(f'name = "{escaped}"\n"{escaped}" = "{escaped}"\n[sparsity]\n"{escaped}" = 0.5\n')
        code, output = invoke("lint", path)
        assert 2 == code
        assert_only_lines(output.rstrip("\n"), count=1)


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def test_plots_show_the_names_in_lines(tmp_path: Path) -> None:
    short = [text for text in NASTY.values() if len(text) < 100]
    for text in (*map("".join, (short[::3], short[1::3], short[2::3])), NASTY["long"], NASTY["nothing"]):
        record = make_record(run=text, workload=text)
        points = record_points([record], suffix=text)
        layers = [LayerCount(name=f"{text}{number}", elements=2, nonzeros=1) for number in range(2)]
        for figure in (
            plot_frontier(points, title=text, sources=[text]),
            plot_parameters(layers, title=text, source=text),
        ):
            assert all(part.isprintable() for part in texts_of(figure))
            write_figure(figure, tmp_path / "plot.svg")
