"""Progress bars on standard error, for the command line and the benchmarks."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from prunebench.escaping import terminal
from prunebench.experiments.flow import Progress
from prunebench.training import Epoch

QUIET = "PRUNEBENCH_QUIET"
"""Under this name the environment asks for no progress: neither bars nor lines."""


class ProgressBar(Progress):
    """One bar at a time, shown only on a terminal that can; epochs stay behind as lines in either case.

    `around` is entered around every output, and `fresh_line` called before it begins at the start of a line: under
    pytest, what lets it past the capturing, and ends a line of dots.
    """

    def __init__(
        self,
        around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        fresh_line: Callable[[], None] = lambda: None,
    ) -> None:
        self._around = around
        self._fresh_line = fresh_line
        self._bar: tqdm[Any] | None = None
        self._stage = ""
        self._key = ""
        self._scores = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def loading(self, images: int) -> None:
        self._show("decoding images", images, None)

    def stage(self, name: str) -> None:
        self._stage, self._scores = name, ""
        self._open(f"{name} ...", bar_format="{desc}")

    def evaluated(self, images: int, total: int) -> None:
        self._show(self._stage, images, total)

    def resumed(self, epoch: int, epochs: int) -> None:
        self._line(f"{self._stage}: resumed after epoch {epoch} of {epochs}")

    def step(self, epoch: int, epochs: int, images: int, total: int) -> None:
        before = (epoch - 1) * total
        key = f"{self._stage}: training"
        self._show(key, before + images, epochs * total, text=f"{self._stage}: epoch {epoch}/{epochs}{self._scores}",
                   initial=before)  # fmt: skip

    def base_asked(self, answered: int, images: int) -> None:
        self._show(f"{self._stage}: the model as it is", answered, images)

    def asked(self, answered: int, most: int, open_points: int) -> None:
        self._show(self._stage, answered, most)
        if self._bar is not None:
            self._bar.set_postfix_str(f"{open_points} points to go", refresh=False)

    def epoch_done(self, epoch: Epoch, epochs: int) -> None:
        self._scores = f", loss {epoch.loss:.4f}, {epoch.evaluation.accuracy:.2f} %"
        left = epoch.seconds * (epochs - epoch.number)
        self._line(
            f"{self._stage}: epoch {epoch.number}/{epochs}, loss {epoch.loss:.4f}, "
            f"accuracy {epoch.evaluation.accuracy:.2f} %, {epoch.seconds:.0f} s"
            + (f", {tqdm.format_interval(left)} left" if left >= 1 else "")
        )

    def line(self, text: str) -> None:
        """A line that stays; the bar goes on after it."""
        self._line(text)

    def _show(self, key: str, done: int, total: int | None, *, text: str = "", initial: int = 0) -> None:
        if self._bar is None or self._key != key:
            rest = (
                "{n_fmt} {elapsed}"
                if total is None
                else "{percentage:3.0f} % {bar} {elapsed}, {remaining} left{postfix}"
            )
            self._open(key, total=total, initial=initial, bar_format=f"{{desc}}: {rest}", dynamic_ncols=True)
        if self._bar is not None and not self._bar.disable:
            with self._around():
                self._bar.set_description_str(terminal(text or key), refresh=False)
                self._bar.update(done - self._bar.n)

    def _open(self, key: str, **settings: Any) -> None:
        self._close()
        shown = _is_shown()
        with self._around():
            if shown:
                self._fresh_line()
            self._bar = tqdm(desc=terminal(key), leave=False, disable=not shown, file=sys.stderr, **settings)
        self._key = key

    def _line(self, text: str) -> None:
        """A line that stays, above the bar."""
        if is_quiet():
            return
        with self._around():
            if self._bar is None or self._bar.disable:
                self._fresh_line()
            tqdm.write(terminal(text), file=sys.stderr)

    def _close(self) -> None:
        if self._bar is not None:
            with self._around():
                self._bar.close()
            self._bar = None


def is_quiet() -> bool:
    """True where the environment asks for no progress at all."""
    return os.environ.get(QUIET, "") not in ("", "0")


def _is_shown() -> bool:
    """True where a bar can be drawn, and is wanted."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not is_quiet()
