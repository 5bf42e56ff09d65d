"""Progress bars on standard error, for the command line and the benchmarks."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from tqdm import tqdm

from prunebench.pipeline import Progress
from prunebench.training import Epoch


class ProgressBar(Progress):
    """One bar at a time, shown only on a terminal; epochs stay behind as lines in either case."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None
        self._stage = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def loading(self, images: int) -> None:
        self._show("decoding images", images, None, "img")

    def stage(self, name: str) -> None:
        self._close()
        self._stage = name

    def evaluated(self, images: int, total: int) -> None:
        self._show(self._stage, images, total, "img")

    def resumed(self, epoch: int, epochs: int) -> None:
        self._line(f"{self._stage}: resumed after epoch {epoch} of {epochs}")

    def step(self, epoch: int, epochs: int, images: int, total: int) -> None:
        self._show(f"{self._stage}: epoch {epoch}/{epochs}", images, total, "img")

    def epoch_done(self, epoch: Epoch, epochs: int) -> None:
        self._line(
            f"{self._stage}: epoch {epoch.number}/{epochs}, loss {epoch.loss:.4f}, "
            f"accuracy {epoch.evaluation.accuracy:.2f} %, {epoch.seconds:.0f} s"
        )

    def _show(self, text: str, done: int, total: int | None, unit: str) -> None:
        if self._bar is None or self._bar.desc != text:
            self._close()
            self._bar = tqdm(desc=text, total=total, unit=unit, leave=False, disable=None, file=sys.stderr)
            self._bar.desc = text
        self._bar.update(done - self._bar.n)

    def _line(self, text: str) -> None:
        self._close()
        tqdm.write(text, file=sys.stderr)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
