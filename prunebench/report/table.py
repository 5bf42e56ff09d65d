"""`Table`: rows under headers, that a terminal, a page and Markdown each show in their own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from tabulate import tabulate

from prunebench.escaping import terminal


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
    """Cells as they are printed; `str` gives the table for a terminal.

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
        cells = [[terminal(cell) for cell in row] for row in self.rows]
        alignment = ["left" if text else "right" for text in self.is_text]
        headers = [*map(terminal, self.headers)]
        return tabulate(cells, headers=headers, tablefmt="simple", disable_numparse=True, colalign=alignment)


def facts_table(rows: Sequence[Sequence[object]]) -> str:
    """A fact a line, its name on the left."""
    return tabulate([[terminal(cell) for cell in row] for row in rows], tablefmt="plain", disable_numparse=True)
