"""Tables as wide as the terminal: headers and texts wrap, names lose their middle, figures are never cut."""

from __future__ import annotations

import pytest

from prunebench.report.table import Table, facts_table

NAMES = ["backbone.stage1.block0.conv1.weight", "backbone.stage1.block0.conv2.weight"]
FIGURES = ["123,456", "0.50", "99.99"]
REASON = "the optimizer was replaced and all of it was measured again on an idle machine"
TABLE = Table(
    rows=[[name, *FIGURES, REASON] for name in NAMES],
    headers=["layer", "elements kept", "sparsity", "accuracy in percent", "reason"],
    texts=1,
)


@pytest.fixture(params=[False, True], ids=["piped", "terminal"])
def is_terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr("sys.stdout.isatty", lambda: request.param)
    return bool(request.param)


@pytest.mark.parametrize("width", [50, 60, 80, 100, 300])
def test_no_line_is_wider_than_the_terminal_and_nothing_but_names_is_cut(
    width: int, is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    printed = str(TABLE)
    if is_terminal or width >= 80:
        assert width >= max(map(len, printed.splitlines()))
    for figure in FIGURES:
        assert 2 == printed.split().count(figure)
    assert sorted(2 * REASON.split()) == sorted(word for word in printed.split() if word in REASON.split())
    if not is_terminal or width == 300:
        assert all(name in printed for name in NAMES)


def test_a_table_with_room_is_one_of_single_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    header, rule, *rows = str(TABLE).splitlines()
    assert TABLE.headers == [part.strip() for part in header.split("  ") if part.strip()]
    assert {"-", " "} == {*rule}
    assert [[name, *FIGURES, *REASON.split()] for name in NAMES] == [row.split() for row in rows]


def test_names_that_lose_their_middle_keep_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    narrow = Table(rows=[[name, "0.5", "99.99"] for name in NAMES], headers=["layer", "sparsity", "accuracy"])
    first = str(narrow).splitlines()[-1].split()[0]
    assert first.startswith("backb")
    assert first.endswith(".weight")
    assert ".." in first


def test_what_does_not_fit_goes_on_below_under_the_same_first_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    many = Table(rows=[["conv0", *map(str, range(10_000, 10_012))]], headers=["layer", *map(str, range(12))])
    tables = str(many).split("\n\n")
    assert len(tables) > 1
    assert {"layer"} == {table.split()[0] for table in tables}
    assert [*map(str, range(10_000, 10_012))] == [
        cell for table in tables for cell in table.splitlines()[2].split()[1:]
    ]


def test_a_long_fact_wraps_beside_its_name_and_a_digest_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = facts_table([["reason", REASON], ["digest", "a" * 64], ["nothing", ""]]).splitlines()
    assert all(len(line) <= 40 for line in lines if "a" * 64 not in line)
    assert f"digest   {'a' * 64}" in lines
    assert "nothing" == lines[-1]
