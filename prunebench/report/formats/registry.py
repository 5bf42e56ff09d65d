"""Report formats by name or by the suffix of a file: prunebench's own, installed packages', a user's own objects."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from prunebench.errors import ReportError
from prunebench.report.content import Report
from prunebench.report.formats.html import HTML
from prunebench.report.formats.json import JSON
from prunebench.report.formats.markdown import MARKDOWN
from prunebench.storage.imports import load_extension

GROUP = "prunebench.report_formats"
"""The entry-point group in which packages name formats of theirs."""


@runtime_checkable
class Format(Protocol):
    """A form that a report is written in.

    Attributes:
        name: what it is asked for by.
        suffix: of its files, with the dot.
    """

    name: str
    suffix: str

    def render(self, report: Report) -> str:
        """The whole file."""
        ...


OWN: dict[str, Format] = {each.name: each for each in (HTML, MARKDOWN, JSON)}


def find_format(name: str) -> Format:
    """The format called `name`, or the object `package.module:object`.

    Raises:
        UnknownNameError: no such format.
        ImportedNameError: it cannot be imported.
        ReportError: what is called so is no format.
    """
    if name in OWN:
        return OWN[name]
    found = load_extension(name, kind="report format", group=GROUP, known=OWN)
    if not isinstance(found, Format):
        raise ReportError(f"'{name}' is no report format: it needs name, suffix and render(report)")
    return found


def format_for(path: Path) -> Format:
    """The format of a file, by its suffix.

    Raises:
        ReportError: no format has it.
    """
    for known in OWN.values():
        if known.suffix == path.suffix.lower():
            return known
    suffixes = ", ".join(each.suffix for each in OWN.values())
    raise ReportError(f"cannot write '{path}': its suffix must be one of {suffixes}, got '{path.suffix}'")
