"""`Table`: rows under headers, that a terminal, a page and Markdown each show in their own way."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import tabulate as library
from tabulate import tabulate

from prunebench.escaping import terminal

GAP = 2
LEAST = 16
"""Columns between two cells; that a text keeps when its column is made narrower."""


def columns() -> int:
    """The width of the terminal; 80 where there is none, and `COLUMNS` where that is set."""
    return shutil.get_terminal_size((80, 24)).columns


class Cell(str):
    """A cell that a page shows as more than its text.

    Attributes:
        link: the anchor in the page that it leads to.
        status: a verdict's status, that it is coloured by.
    """

    link: str
    status: str

    def __new__(cls, text: object, *, link: str = "", status: str = "") -> Self:
        """A cell with this text."""
        cell = super().__new__(cls, text)
        cell.link, cell.status = link, status
        return cell


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells as they are printed; `str` gives the table for a terminal, as wide as that is where it can be.

    Too wide a table wraps its headers, then its texts at the end; on a terminal it leaves out the middle of long names
    in the first column. What is too wide even then goes on below, under the same first column. No figure is cut.

    Attributes:
        headers: of the columns; the first column is text, the others figures.
        texts: so many columns at the end are text too.
    """

    rows: Sequence[Sequence[object]]
    headers: Sequence[str]
    texts: int = 0

    @property
    def is_text(self) -> list[bool]:
        """True for each column of text, False for one of figures, which stand on the right."""
        figures = len(self.headers) - 1 - self.texts
        return [True, *[False] * figures, *[True] * self.texts]

    def __str__(self) -> str:
        room = columns()
        cells = [[terminal(cell) for cell in row] for row in (self.headers, *self.rows)]
        natural = [max(map(len, column)) for column in zip(*cells, strict=True)]
        least = [min(width, LEAST) for width in natural]
        for column in self._figures:
            word = max(map(len, cells[0][column].split()), default=0)
            least[column] = max([word, *(len(row[column]) for row in cells[1:])])
        parts = _parts([natural[0], *least[1:]], room)
        if len(parts) > 1 and sys.stdout.isatty() and len(shorter := _parts(least, room)) == 1:
            parts = shorter
        return "\n\n".join(self._part(cells, part, natural, least, room) for part in parts)

    @property
    def _figures(self) -> list[int]:
        return [column for column, text in enumerate(self.is_text) if not text]

    def _part(self, cells: list[list[str]], part: list[int], natural: list[int], least: list[int], room: int) -> str:
        """The columns of `part` as a table of their own, each as wide as it needs, or less where `room` wants it."""
        widths = dict(zip(part, (natural[column] for column in part), strict=True))
        texts = range(len(natural) - self.texts, len(natural))
        for narrowed in (self._figures, texts, [0] if sys.stdout.isatty() else []):
            while _total(widths.values()) > room and (
                open_ := [column for column in narrowed if column in widths and widths[column] > least[column]]
            ):
                widths[max(open_, key=lambda column: widths[column])] -= 1
        header = [textwrap.fill(cells[0][column], max(width, 1)) for column, width in widths.items()]
        rows = [[_wrapped(row[column], width, column) for column, width in widths.items()] for row in cells[1:]]
        alignment = ["left" if self.is_text[column] else "right" for column in part]
        padding, library.MIN_PADDING = library.MIN_PADDING, 0  # it would add two columns to each header
        try:
            return tabulate(rows, headers=header, tablefmt="simple", disable_numparse=True, colalign=alignment)
        finally:
            library.MIN_PADDING = padding


def facts_table(rows: Sequence[Sequence[object]]) -> str:
    """A fact a line, its name on the left; a long one wraps."""
    cells = [[terminal(cell) for cell in row] for row in rows]
    room = max(columns() - GAP - max(len(row[0]) for row in cells), LEAST)
    wrapped = [[name, textwrap.fill(value, room, break_long_words=False)] for name, value in cells]
    return tabulate(wrapped, tablefmt="plain", disable_numparse=True)


def _wrapped(text: str, width: int, column: int) -> str:
    """A cell of lines that fit; tabulate's own wrapping takes `1,234` for a number and fails."""
    return textwrap.fill(text, width) if column else _without_middle(text, width)


def _parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """The columns in as many tables as they need, each of which begins with the first column."""
    parts = [[0]]
    for column in range(1, len(widths)):
        if len(parts[-1]) > 1 and _total([widths[each] for each in (*parts[-1], column)]) > room:
            parts.append([0])
        parts[-1].append(column)
    return parts


def _total(widths: Collection[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _without_middle(text: str, width: int) -> str:
    start = (width - 2) // 2
    return text if len(text) <= width else f"{text[:start]}..{text[start + 2 - width :]}"
