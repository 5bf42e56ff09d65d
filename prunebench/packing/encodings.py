"""Fewer bytes for the same values: layouts of a block of elements, and codecs of the bytes that a layout gives.

A block is an array of bytes, (elements, bytes of one). Files are `format`; tensors are `pack`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prunebench.storage.imports import import_extra

Bytes = NDArray[np.uint8]
Layout = Literal["plain", "planes", "sparse"]
Codec = Literal["raw", "zstd", "coded"]
Chunk = tuple[Codec, bytes]

BLOCK = 2**20
"""Elements that are encoded together. Each block has the layout and the tables that suit it, and memory stays small."""

CHUNK_BYTES = 4
"""About what the header needs to say of one chunk: more chunks have to earn it."""

LARGEST_COUNT = 2**16 - 1


def encode(values: Bytes) -> tuple[Layout, list[Chunk]]:
    """The layout with the fewest bytes for a block, and its chunks in order."""
    layouts: dict[Layout, list[Bytes]] = {"plain": [values.ravel()]}
    if values.shape[1] > 1:
        layouts["planes"] = [*values.T]
    if not (kept := _nonzero(values)).all():
        layouts["sparse"] = [np.packbits(kept), *values[kept].T]
    encoded = {layout: [_shortest(part.tobytes()) for part in parts] for layout, parts in layouts.items()}
    best = min(encoded, key=lambda layout: sum(len(data) + CHUNK_BYTES for _, data in encoded[layout]))
    return best, encoded[best]


def decode(layout: Layout, chunks: Iterator[Chunk], values: Bytes) -> None:
    """Fill `values`, a block of zeros, from its chunks.

    Raises:
        ValueError: a chunk does not decode to the bytes that the block needs.
    """
    count, width = values.shape
    if layout == "plain":
        values[:] = _expanded(*next(chunks), count * width).reshape(count, width)
        return
    where: slice | NDArray[np.bool_] = slice(None)
    if layout == "sparse":
        where = np.unpackbits(_expanded(*next(chunks), -(-count // 8)), count=count).view(np.bool_)
        count = int(np.count_nonzero(where))
    for plane in range(width):
        values[where, plane] = _expanded(*next(chunks), count)


def chunk_count(layout: Layout, width: int) -> int:
    """Chunks of a block in this layout, of elements of `width` bytes."""
    return {"plain": 1, "planes": width, "sparse": width + 1}[layout]


def import_zstandard() -> Any:
    """The package `zstandard`.

    Raises:
        MissingExtraError: it is not installed.
    """
    return import_extra("zstandard", extra="pack")


def _nonzero(values: Bytes) -> NDArray[np.bool_]:
    """True for each element of which any bit is set: -0.0 is one."""
    words: NDArray[np.unsignedinteger] = values.view(f"u{min(values.shape[1], 8)}")
    kept: NDArray[np.bool_] = (words != 0).any(axis=1)
    return kept


def _shortest(data: bytes) -> Chunk:
    zstandard = import_zstandard()
    found: list[Chunk] = [("raw", data), ("zstd", zstandard.ZstdCompressor().compress(data))]
    symbols = np.frombuffer(data, np.uint8)
    counts = np.bincount(symbols, minlength=256)
    if _coded_bytes(counts) < min(len(each) for _, each in found):
        found.append(("coded", _coded(symbols, counts)))
    return min(found, key=lambda chunk: len(chunk[1]))


def _coded_bytes(counts: NDArray[np.intp]) -> float:
    """About the length of `_coded`: the entropy, and two bytes of the table for each symbol that occurs."""
    seen = counts[counts > 0]
    return float(seen @ np.log2(counts.sum() / seen)) / 8 + 2 * len(seen)


def _coded(symbols: Bytes, counts: NDArray[np.intp]) -> bytes:
    """Entropy-coded by asymmetric numeral systems (Duda 2013) with the block's own frequencies before it."""
    zstandard = import_zstandard()
    table = (-(-counts * LARGEST_COUNT // counts.max())).astype("<u2")  # rounded up: what occurs is never zero
    stored = zstandard.ZstdCompressor(level=19).compress(table.tobytes())
    coder = import_extra("constriction", extra="pack").stream.stack.AnsCoder()
    coder.encode_reverse(symbols.astype(np.int32), _model(table))
    words: bytes = coder.get_compressed().astype("<u4").tobytes()
    return len(stored).to_bytes(2, "little") + stored + words


def _model(table: NDArray[np.unsignedinteger]) -> object:
    categorical = import_extra("constriction", extra="pack").stream.model.Categorical
    return categorical(table / max(table.sum(), 1), perfect=False)


def _expanded(codec: Codec, data: bytes, size: int) -> Bytes:
    """The `size` bytes that a chunk stands for."""
    decoders: dict[Codec, Callable[[bytes, int], bytes | Bytes]] = {"zstd": decompressed, "coded": _decoded}
    found = np.frombuffer(decoders[codec](data, size) if codec in decoders else data, np.uint8)
    if found.size != size:
        raise ValueError(f"a chunk holds {found.size} bytes, expected {size}")
    return found


def decompressed(data: bytes, size: int) -> bytes:
    """The `size` bytes that were compressed by Zstandard.

    Raises:
        ValueError: they are others, or not so many.
    """
    zstandard = import_zstandard()
    try:
        if zstandard.frame_content_size(data) != size:  # before that much memory is taken
            raise ValueError(f"a chunk does not hold {size} bytes")
        found: bytes = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    return found


def _decoded(data: bytes, size: int) -> Bytes:
    start = 2 + int.from_bytes(data[:2], "little")
    table = np.frombuffer(decompressed(data[2:start], 256 * 2), "<u2")
    words = np.frombuffer(data[start:], "<u4").astype(np.uint32)
    coder = import_extra("constriction", extra="pack").stream.stack.AnsCoder
    try:
        symbols: NDArray[np.int32] = coder(words).decode(_model(table), size)
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # how Rust's fail; no Exception, and not to be imported
            raise ValueError(str(error)) from error
        raise
    return symbols.astype(np.uint8)
