"""Answers found so far, and where they are kept, so that a scan that was stopped goes on and two scans share points."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from prunebench.documents import Count, Part, parsed, read_document, render, verified
from prunebench.errors import RecordError
from prunebench.files import write_text

Answers = NDArray[np.int8]
"""One an image, in the order of the data: 1 right, 0 wrong, -1 not known yet."""

UNKNOWN = -1


class _Kept(Part):
    """A file: which images are answered and which are right, one bit each, in base64."""

    schema_version: Literal[1] = 1
    images: Count
    known: str = Field(repr=False)
    right: str = Field(repr=False)


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

    def load(self, layer: str | None, pruned: int) -> Answers:
        """What is known with `pruned` elements of `layer` pruned; of the model as it is where `layer` is None.

        A file that is absent, damaged or of other images is one of no answers: they can be found again.
        """
        with contextlib.suppress(RecordError, binascii.Error, ValueError):
            path = self._path(layer, pruned)
            kept = parsed(_Kept, verified(read_document(path), path=path, newest=1), path=path)
            known, right = (unpacked(bits, self._images) for bits in (kept.known, kept.right))
            if kept.images == self._images and not (right & ~known).any():
                return np.where(known, right, UNKNOWN).astype(np.int8)
        return np.full(self._images, UNKNOWN, dtype=np.int8)

    def save(self, layer: str | None, pruned: int, answers: Answers) -> None:
        """Keep them in the place of what was kept before."""
        content = _Kept(images=self._images, known=packed(answers != UNKNOWN), right=packed(answers == 1))
        write_text(self._path(layer, pruned), render(content.model_dump(mode="json")))

    def _path(self, layer: str | None, pruned: int) -> Path:
        name = "base" if layer is None else f"{layer.replace('/', '_')}-{pruned}"
        return self._folder / f"{name}.json"


def packed(bits: NDArray[np.bool_]) -> str:
    """One bit an image, first image in the highest bit of the first byte, in base64."""
    return base64.b64encode(np.packbits(bits).tobytes()).decode("ascii")


def unpacked(text: str, images: int) -> NDArray[np.bool_]:
    """What `packed` packed."""
    raw = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    return np.unpackbits(raw, count=images).astype(np.bool_)
