"""Two thousand mutated files: never a traceback, never a pass that should not be."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from record_factory import make_baseline, make_record

from prunebench.baselines.shelf import write_baseline
from prunebench.cli import main
from prunebench.records import write_record

SIDES = ("record", "baseline")
KINDS = ("json", "bytes")
EXAMPLES = 500  # of each of the four kinds of test: 2,000 files

mutated = settings(
    max_examples=EXAMPLES,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "PASS", "failed", "0" * 64, [], {}, [[]], -1, 2**70, 1.5, "tiny", "bf16", {"a": 1}]),
)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A record and its baseline, which pass."""
    write_record(make_record(), tmp_path / "record.json")
    paths = {
        "record": tmp_path / "record.json",
        "baseline": write_baseline(make_baseline(), tmp_path / "baselines"),
    }
    assert 0 == compare(paths)
    return paths


def compare(paths: dict[str, Path]) -> int:
    baselines = paths["baseline"].parents[1]
    result = CliRunner().invoke(main, ["compare", str(paths["record"]), str(baselines)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert "Traceback" not in result.output
    return result.exit_code


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a document a value stands."""
    if at:
        yield at
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in entries:
        yield from places(value, (*at, key))


def judge(paths: dict[str, Path], side: str, text: bytes) -> None:
    """With `text` in the place of one side: refused, unless it says the same."""
    original = paths[side].read_bytes()
    paths[side].write_bytes(text)
    try:
        code = compare(paths)
    finally:
        paths[side].write_bytes(original)
    if says_the_same(text, original):
        assert code in (0, 2)
    else:
        assert 2 == code


def says_the_same(text: bytes, original: bytes) -> bool:
    try:
        return bool(json.loads(text) == json.loads(original))
    except (ValueError, RecursionError):
        return False


@pytest.mark.parametrize("side", SIDES)
@mutated
@given(data=st.data())
def test_a_changed_value_is_refused(files: dict[str, Path], side: str, data: st.DataObject) -> None:
    content = json.loads(files[side].read_bytes())
    for _ in range(data.draw(st.integers(1, 2))):
        content = changed(content, data)
    text = json.dumps(content, indent=data.draw(st.sampled_from([None, 1])))
    judge(files, side, text.encode())


def changed(content: Any, data: st.DataObject) -> Any:
    content = copy.deepcopy(content)
    found = list(places(content))
    if not found:
        return content
    *path, last = data.draw(st.sampled_from(found))
    parent = content
    for key in path:
        parent = parent[key]
    operation = data.draw(st.sampled_from(["replace", "remove", "add", "repeat"]))
    if operation == "replace":
        parent[last] = data.draw(values)
    elif operation == "remove":
        del parent[last]
    elif isinstance(parent, dict):
        parent[data.draw(st.text(max_size=5))] = parent[last] if operation == "repeat" else data.draw(values)
    else:
        parent.insert(last, parent[last] if operation == "repeat" else data.draw(values))
    return content


@pytest.mark.parametrize("side", SIDES)
@mutated
@given(data=st.data())
def test_changed_bytes_are_refused(files: dict[str, Path], side: str, data: st.DataObject) -> None:
    text = bytearray(files[side].read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(text) - 1)))
        operation = data.draw(st.sampled_from(["flip", "insert", "delete", "cut", "repeat"]))
        if operation == "flip" and text:
            text[at] ^= 1 << data.draw(st.integers(0, 7))
        elif operation == "insert":
            text[at:at] = data.draw(st.binary(min_size=1, max_size=4))
        elif operation == "delete":
            del text[at : at + data.draw(st.integers(1, 20))]
        elif operation == "cut":
            del text[at:]
        else:
            text[at:at] = text[at : at + data.draw(st.integers(1, 80))]
    judge(files, side, bytes(text))
