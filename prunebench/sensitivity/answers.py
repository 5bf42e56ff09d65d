"""Answers found so far, and where they are kept, so that a scan that was stopped goes on and two scans share points."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import time
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.storage.files import replacing, write_text
from prunebench.tasks import CLASSIFICATION, Task

Answers = NDArray[np.int8]
"""One an image, in the order of the data: 1 right, 0 wrong, -1 not known yet."""

UNKNOWN = -1

SAVE_EVERY = 2.0
"""Seconds. A file is written to disk for every point; a GPU answers a batch in less time than that takes."""


@dataclass(kw_only=True, eq=False)
class Version:
    """The model with one layer pruned, or several that share channels, and what is known of its answers.

    Attributes:
        layer: by which the point is called; of several the first.
        pruned: number of its elements that are zero.
        masks: by parameter name; bool, of the parameter's shape, False where it is pruned.
    """

    layer: str
    sparsity: float
    pruned: int
    masks: Mapping[str, Tensor]
    answers: Answers


class AnswerStore:
    """Files of answers in a folder, one a point and one of the model as it is, for scans with one `key`.

    The key is a JSON-able description of all that an answer depends on besides the weight that is pruned and how far:
    model, data, criterion, precision, batches, machine, code. It is written beside the answers for whoever looks there.
    Without a folder nothing is kept. In a `with` block, what is told is written every few seconds and when it ends.
    """

    def __init__(self, images: int, folder: Path | None = None, key: dict[str, Any] | None = None) -> None:
        self._images = images
        self._unsaved: dict[str, Answers] = {}
        self._saved_at = time.monotonic()
        text = json.dumps(key, sort_keys=True, indent=1)
        self._folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16] if folder else None
        if self._folder and not (self._folder / "key.json").is_file():
            write_text(self._folder / "key.json", text + "\n")

    def load(self, layer: str | None, pruned: int = 0) -> Answers:
        """Answers known with `pruned` elements of `layer` pruned; without a layer, of the model as it is.

        A file that is absent, damaged or of other images is one of no answers: they can be found again.
        """
        damage = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)
        if self._folder:
            path = self._folder / _file(layer, pruned)
            with contextlib.suppress(*damage), path.open("rb") as file, np.load(file) as kept:
                answers: Answers = kept["answers"]
                if answers.shape == (self._images,) and np.isin(answers, (0, 1, UNKNOWN)).all():
                    return answers
        return np.full(self._images, UNKNOWN, dtype=np.int8)

    def keep(self, answers: Answers, layer: str | None, pruned: int = 0) -> None:
        """Say that `answers` have changed; they take the place of what was kept before."""
        self._unsaved[_file(layer, pruned)] = answers
        if time.monotonic() > self._saved_at + SAVE_EVERY:
            self._save()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._save()

    def _save(self) -> None:
        if self._folder:
            for name, answers in self._unsaved.items():
                with replacing(self._folder / name) as path, path.open("wb") as file:
                    np.savez_compressed(file, answers=answers)
        self._unsaved, self._saved_at = {}, time.monotonic()


def _file(layer: str | None, pruned: int) -> str:
    return f"{layer.replace('/', '_')}-{pruned}.npz" if layer else "base.npz"


def right_of(outputs: Tensor, targets: Tensor, *, task: Task = CLASSIFICATION) -> Answers:
    """1 where an output is right, 0 where it is wrong, as `evaluate` counts."""
    return (task.scores(outputs, targets) > 0).to(torch.int8).cpu().numpy()


def packed(bits: NDArray[np.bool_]) -> str:
    """One bit an image, first image in the highest bit of the first byte, in base64."""
    return base64.b64encode(np.packbits(bits).tobytes()).decode("ascii")


def unpacked(text: str, images: int) -> NDArray[np.bool_]:
    """The bits that `packed` packed."""
    raw = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    return np.unpackbits(raw, count=images).astype(np.bool_)
