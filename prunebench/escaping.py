"""Text that others wrote, made fit for where it is put: names in files and records may hold anything.

One function a target: `terminal`, `markdown`, `annotation`. Each is called where a line or a cell is put together, and
once more does no harm.
"""

from __future__ import annotations

import re

MOST_OF_A_WORD, MOST_OF_A_LINE = 300, 2000
"""Characters. What is longer is cut in its middle: a name differs from its neighbours at its ends."""

_LONG_WORD = re.compile(rf"\S{{{MOST_OF_A_WORD + 1},}}")
_COMMANDS = re.compile(r"^(\s*):(?=:)|#(?=#\[)")
"""Where GitHub Actions finds a workflow command: `::name` at the start of a line, `##[name]` anywhere."""
_MARKS = re.compile(r"[\\`*_{}\[\]<>&|~@$#^]|^[-+=]|^\d(?=\d*[.)](?:\s|$))|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)
"""What Markdown, HTML in it, or a code host's additions to it could read as more than the character."""


def terminal(text: object) -> str:
    """One line that shows what is there and does nothing: what cannot be seen is written as in a Python string."""
    line = "".join(map(_visible, str(text)))
    line = _COMMANDS.sub(lambda found: f"{found[1] or ''}\\x{ord(found[0][-1]):02x}", line)
    return shown(_LONG_WORD.sub(lambda word: shown(word[0], most=MOST_OF_A_WORD), line), most=MOST_OF_A_LINE)


def shown(text: str, *, most: int) -> str:
    """`text`, of which the middle is left out where it has more than `most` characters."""
    left_out = f"...({len(text):,} characters)..."
    ends = most - len(left_out)
    return text if len(text) <= most else f"{text[: ends - ends // 3]}{left_out}{text[-(ends // 3) :]}"


def markdown(text: object) -> str:
    """One line of plain text in Markdown, also as the cell of a table."""
    line = " ".join(terminal(text).split())
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", line)


def annotation(level: str, *, title: str, message: str) -> str:
    """A line by which GitHub Actions marks a run, as an `error` or a `warning`."""
    heading = terminal(title).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={heading}::{terminal(message).replace('%', '%25')}"


def _visible(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
