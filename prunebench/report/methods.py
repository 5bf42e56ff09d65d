"""Parts of methods, for people: each part's name, its first sentence, its source, what it reads."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Protocol

from prunebench.escaping import terminal
from prunebench.planning.allocations import allocation_names, find_allocation
from prunebench.pruning import criterion_names, find_criterion, find_granularity, granularity_names
from prunebench.pruning.schedules import find_pruning_schedule, pruning_schedule_names
from prunebench.report.table import columns

INDENT = 26


class Named(Protocol):
    """Whatever has a name."""

    name: str


def methods_lines() -> Iterator[str]:
    """Lines as wide as the terminal: criteria, granularities, allocations and pruning schedules."""
    kinds: dict[str, Sequence[Named]] = {
        "criterion": [find_criterion(name) for name in criterion_names()],
        "granularity": [find_granularity(name) for name in granularity_names()],
        "allocation": [find_allocation(name) for name in allocation_names()],
        "pruning schedule": [find_pruning_schedule(name) for name in pruning_schedule_names()],
    }
    for kind, parts in kinds.items():
        yield from ("", kind)
        for part in parts:
            yield from _lines(part.name, part)
    yield from ("", "Of one's own: package.module:object, or an entry point (docs/how-to/extend.md).")


def _lines(name: str, part: Named) -> Iterator[str]:
    described = inspect.getdoc(getattr(part, "about", type(part))) or ""
    sentence = " ".join(re.split(r"\n\n|Sources?:", described)[0].split())
    source = re.search(r"Sources?:?,?\s(.+?\b(?:19|20)\d\d)", described, re.DOTALL)
    needs = getattr(part, "needs", ())
    texts = [
        sentence,
        f"Source: {' '.join(source[1].split())}." if source else "",
        "Reads training examples." if needs else "",
    ]
    body = terminal(" ".join(filter(None, texts)))
    lines = textwrap.wrap(body, columns() - INDENT, break_long_words=False) or [""]
    for number, line in enumerate(lines):
        yield f"  {terminal(name) if number == 0 else '':{INDENT - 2}}{line}"
