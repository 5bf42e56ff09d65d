"""Answers found so far, and where they are kept, so that a scan that was stopped goes on and two scans share points."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from prunebench.errors import RecordError
from prunebench.storage.documents import Count, Part, parsed, read_document, render, verified
from prunebench.storage.files import write_text
from prunebench.tasks import CLASSIFICATION, Task

Answers = NDArray[np.int8]
"""One an image, in the order of the data: 1 right, 0 wrong, -1 not known yet."""

Doubts = NDArray[np.uint8]
"""One an image: 255 where the base model's two likeliest classes are equally likely, 0 where it is sure of one."""

UNKNOWN = -1

SAVE_EVERY = 2.0
"""Seconds. A file is written to disk for every point; a GPU answers a batch in less time than that takes."""


@dataclass(kw_only=True, eq=False)
class Version:
    """The model with one layer pruned, and what is known of its answers.

    Attributes:
        pruned: number of elements that are zero.
        mask: bool, of the weight's shape, False where it is pruned.
    """

    layer: str
    sparsity: float
    pruned: int
    mask: Tensor
    answers: Answers


@dataclass(kw_only=True, eq=False)
class Base:
    """What is known of the base model; a doubt of an image that is not answered yet means nothing."""

    answers: Answers
    doubts: Doubts

    @classmethod
    def unknown(cls, images: int) -> Base:
        """Nothing, of so many."""
        return cls(answers=np.full(images, UNKNOWN, dtype=np.int8), doubts=np.zeros(images, dtype=np.uint8))


class _Kept(Part):
    """A file: which images are answered and which are right, one bit each; of the base model its doubts; in base64."""

    schema_version: Literal[1] = 1
    images: Count
    known: str = Field(repr=False)
    right: str = Field(repr=False)
    doubts: str | None = Field(default=None, repr=False)


class AnswerStore:
    """Files of answers in one folder, one a point, for scans with one `key`.

    The key is a JSON-able description of all that an answer depends on besides the weight that is pruned and how far:
    model, data, criterion, precision, batches, machine, code. It is written beside the answers for whoever looks there.
    """

    def __init__(self, folder: Path, key: dict[str, Any], *, images: int) -> None:
        text = json.dumps(key, sort_keys=True, indent=1)
        self._folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._images = images
        if not (self._folder / "key.json").is_file():
            write_text(self._folder / "key.json", text + "\n")

    def load(self, layer: str, pruned: int) -> Answers:
        """What is known with `pruned` elements of `layer` pruned.

        A file that is absent, damaged or of other images is one of no answers: they can be found again.
        """
        with contextlib.suppress(RecordError, binascii.Error, ValueError):
            return self._answers(self._read(self._path(layer, pruned)))
        return np.full(self._images, UNKNOWN, dtype=np.int8)

    def load_base(self) -> Base:
        """What is known of the model as it is; as `load`."""
        with contextlib.suppress(RecordError, binascii.Error, ValueError):
            kept = self._read(self._folder / "base.json")
            return Base(answers=self._answers(kept), doubts=unpacked_doubts(kept.doubts or "", self._images))
        return Base.unknown(self._images)

    def save(self, layer: str, pruned: int, answers: Answers) -> None:
        """Keep them in the place of what was kept before."""
        self._write(self._path(layer, pruned), answers)

    def save_base(self, base: Base) -> None:
        """As `save`."""
        self._write(self._folder / "base.json", base.answers, doubts=packed_doubts(base.doubts))

    def _read(self, path: Path) -> _Kept:
        return parsed(_Kept, verified(read_document(path), path=path, newest=1), path=path)

    def _answers(self, kept: _Kept) -> Answers:
        known, right = (unpacked(bits, self._images) for bits in (kept.known, kept.right))
        if kept.images != self._images or (right & ~known).any():
            raise ValueError("of other images, or right without being known")
        return np.where(known, right, UNKNOWN).astype(np.int8)

    def _write(self, path: Path, answers: Answers, *, doubts: str | None = None) -> None:
        known, right = packed(answers != UNKNOWN), packed(answers == 1)
        content = _Kept(images=self._images, known=known, right=right, doubts=doubts)
        write_text(path, render(content.model_dump(mode="json")))

    def _path(self, layer: str, pruned: int) -> Path:
        return self._folder / f"{layer.replace('/', '_')}-{pruned}.json"


class Saving:
    """Keeps answers in `store` every few seconds, and, however the block ends, what was answered in it."""

    def __init__(self, store: AnswerStore | None) -> None:
        self._store = store
        self._points: dict[tuple[str, int], Answers] = {}
        self._base: Base | None = None
        self._saved_at = time.monotonic()

    def of_point(self, layer: str, pruned: int, answers: Answers) -> None:
        """`answers` have changed."""
        self._points[layer, pruned] = answers
        self._save_if_due()

    def of_base(self, base: Base) -> None:
        """As `of_point`."""
        self._base = base
        self._save_if_due()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._save()

    def _save_if_due(self) -> None:
        if time.monotonic() > self._saved_at + SAVE_EVERY:
            self._save()

    def _save(self) -> None:
        if self._store:
            for (layer, pruned), answers in self._points.items():
                self._store.save(layer, pruned, answers)
            if self._base:
                self._store.save_base(self._base)
        self._points, self._base, self._saved_at = {}, None, time.monotonic()


def right_of(outputs: Tensor, targets: Tensor, *, task: Task = CLASSIFICATION) -> Answers:
    """As `evaluate` counts."""
    return (task.scores(outputs, targets) > 0).to(torch.int8).cpu().numpy()


def doubts_of(outputs: Tensor, *, task: Task = CLASSIFICATION) -> Doubts:
    """The task's doubts in 255ths."""
    doubts: Doubts = (255 * task.doubts(outputs)).round().to(torch.uint8).cpu().numpy()
    return doubts


def packed(bits: NDArray[np.bool_]) -> str:
    """One bit an image, first image in the highest bit of the first byte, in base64."""
    return base64.b64encode(np.packbits(bits).tobytes()).decode("ascii")


def unpacked(text: str, images: int) -> NDArray[np.bool_]:
    """What `packed` packed."""
    raw = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    return np.unpackbits(raw, count=images).astype(np.bool_)


def packed_doubts(doubts: Doubts) -> str:
    """One byte an image, in base64."""
    return base64.b64encode(doubts.tobytes()).decode("ascii")


def unpacked_doubts(text: str, images: int) -> Doubts:
    """What `packed_doubts` packed.

    Raises:
        ValueError: it is not that, or of another number of images.
    """
    doubts = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    if len(doubts) != images:
        raise ValueError(f"doubts of {len(doubts):,} images: expected {images:,}")
    return doubts.copy()
