"""Progress bars on standard error, for the command line and the benchmarks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from prunebench.escaping import terminal
from prunebench.experiments.flow import Progress
from prunebench.training import Epoch


class ProgressBar(Progress):
    """One bar at a time, shown only on a terminal; epochs stay behind as lines in either case.

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
        self._text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def loading(self, images: int) -> None:
        self._show("decoding images", images, None)

    def stage(self, name: str) -> None:
        self._stage = name
        self._open(f"{name} ...", bar_format="{desc}")

    def evaluated(self, images: int, total: int) -> None:
        self._show(self._stage, images, total)

    def resumed(self, epoch: int, epochs: int) -> None:
        self._line(f"{self._stage}: resumed after epoch {epoch} of {epochs}")

    def step(self, epoch: int, epochs: int, images: int, total: int) -> None:
        self._show(f"{self._stage}: epoch {epoch}/{epochs}", images, total)

    def base_asked(self, answered: int, images: int) -> None:
        self._show(f"{self._stage}: the model as it is", answered, images)

    def asked(self, answered: int, most: int, open_points: int) -> None:
        self._show(self._stage, answered, most)
        if self._bar is not None:
            self._bar.set_postfix_str(f"{open_points} points open", refresh=False)

    def epoch_done(self, epoch: Epoch, epochs: int) -> None:
        self._line(
            f"{self._stage}: epoch {epoch.number}/{epochs}, loss {epoch.loss:.4f}, "
            f"accuracy {epoch.evaluation.accuracy:.2f} %, {epoch.seconds:.0f} s"
        )

    def line(self, text: str) -> None:
        """A line that stays; the bar goes on after it."""
        self._line(text)

    def _show(self, text: str, done: int, total: int | None) -> None:
        if self._bar is None or self._text != text:
            self._open(text, total=total, unit="img")
        if self._bar is not None and not self._bar.disable:
            with self._around():
                self._bar.update(done - self._bar.n)

    def _open(self, text: str, **settings: Any) -> None:
        self._close()
        with self._around():
            if sys.stderr.isatty():
                self._fresh_line()
            self._bar = tqdm(desc=terminal(text), leave=False, disable=None, file=sys.stderr, **settings)
        self._text = text

    def _line(self, text: str) -> None:
        self._close()
        with self._around():
            self._fresh_line()
            tqdm.write(terminal(text), file=sys.stderr)

    def _close(self) -> None:
        if self._bar is not None:
            with self._around():
                self._bar.close()
            self._bar = None
