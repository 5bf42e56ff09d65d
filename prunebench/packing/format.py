"""The container: what stands where in a packed file, and the checks before anything in it is decoded.

    8 bytes  89 50 42 5A 0D 0A 1A 0A
    3 x 4    version; bytes of the header as stored, and once decompressed (unsigned, little-endian as everything)
    ...      header: JSON, compressed by Zstandard
    ...      the chunks of each block of each tensor, in the header's order
    32       SHA-256 of everything before

docs/reference/sparse-files.md has the rest. What a chunk holds is in `encodings`.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable
from typing import BinaryIO

import torch
from pydantic import ValidationError

from prunebench.packing.encodings import BLOCK, Codec, Layout, chunk_count, decompressed, import_zstandard
from prunebench.storage.documents import Count, Digest, Part
from prunebench.storage.formats import PACKED

VERSION = 1
PREFIX = struct.Struct("<8sIII")
DIGEST_BYTES = 32

SMALL_HEADER, LARGEST_HEADER_RATIO = 2**20, 64
"""Bytes that a header may always have; and beyond them for one of the file."""
LARGEST_RATIO = 2**20
"""Bytes of tensors for one of a file, at most: a block of zeros, of up to 16 MiB, takes about twenty."""

NAMES = (
    *("float64", "float32", "float16", "bfloat16", "complex128", "complex64", "complex32", "bool"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"),
)
DTYPES = {name: getattr(torch, name) for name in NAMES if hasattr(torch, name)}
"""Types by name, of those that this torch has."""


class Entry(Part):
    """A tensor: what it is, and the layout and chunks of each of its blocks. `strides` only where they are unusual."""

    name: str
    dtype: str
    shape: list[Count]
    strides: list[Count] | None = None
    blocks: list[tuple[Layout, list[tuple[Codec, Count]]]]

    @property
    def bytes(self) -> int:
        """Bytes of its values, unpacked."""
        width: int = DTYPES[self.dtype].itemsize
        return width * math.prod(self.shape)


class Header(Part):
    """All that a file says of its tensors. `digest` is `prunebench.models.state_digest` of them."""

    digest: Digest
    metadata: dict[str, str]
    tensors: list[Entry]


def assembled(header: Header, chunks: Iterable[bytes]) -> bytes:
    """The bytes of a packed file.

    Raises:
        ValueError: a name is no text, or names and metadata outweigh all else.
    """
    text = json.dumps(header.model_dump(exclude_none=True), separators=(",", ":"), ensure_ascii=False).encode()
    stored = import_zstandard().ZstdCompressor(level=19).compress(text)
    content = b"".join([PREFIX.pack(PACKED, VERSION, len(stored), len(text)), stored, *chunks])
    _check_header(len(text), file_bytes=len(content))
    return content + hashlib.sha256(content).digest()


def read_header(file: BinaryIO) -> Header:
    """The header of a packed file that is whole; `file` then stands at the first chunk.

    Raises:
        ValueError: no packed file, of another version, damaged, or one that contradicts itself; in words.
    """
    size = file.seek(0, 2)
    file.seek(0)
    prefix = file.read(PREFIX.size)
    if not prefix.startswith(PACKED) or len(prefix) < PREFIX.size:
        raise ValueError("no packed file: expected what 'prunebench pack' wrote")
    _, version, stored, length = PREFIX.unpack(prefix)
    if version != VERSION:
        raise ValueError(f"version {version} of the format, this prunebench reads {VERSION}")
    _check_digest(file, size)
    _check_header(length, file_bytes=size)
    file.seek(PREFIX.size)
    try:
        header = Header.model_validate_json(decompressed(file.read(stored), length))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"its header: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    _check_sizes(header, chunk_bytes=size - file.tell() - DIGEST_BYTES, file_bytes=size)
    return header


def _check_header(length: int, *, file_bytes: int) -> None:
    largest = SMALL_HEADER + LARGEST_HEADER_RATIO * file_bytes
    if length > largest:
        raise ValueError(f"a header of {length:,} bytes in a file of {file_bytes:,}: expected at most {largest:,}")


def _check_digest(file: BinaryIO, size: int) -> None:
    """Read the whole file once, so that nothing is decoded which was not written so."""
    file.seek(0)
    digest = hashlib.sha256()
    left = size - DIGEST_BYTES
    while left > 0 and (part := file.read(min(left, 2**20))):
        digest.update(part)
        left -= len(part)
    if file.read(DIGEST_BYTES) != digest.digest():
        raise ValueError("its content does not have the digest at its end")


def _check_sizes(header: Header, *, chunk_bytes: int, file_bytes: int) -> None:
    for entry in header.tensors:
        if entry.dtype not in DTYPES:
            raise ValueError(f"{entry.name!r} is {entry.dtype}, which this torch has not")
        width = DTYPES[entry.dtype].itemsize
        if len(entry.blocks) != -(-math.prod(entry.shape) // BLOCK):
            raise ValueError(f"{entry.name!r} of shape {tuple(entry.shape)} has {len(entry.blocks)} blocks")
        if any(len(chunks) != chunk_count(layout, width) for layout, chunks in entry.blocks):
            raise ValueError(f"{entry.name!r} has a block with too many or too few chunks")
        if entry.strides is not None and not is_dense(entry.shape, entry.strides):
            raise ValueError(f"{entry.name!r} of shape {tuple(entry.shape)} has strides {tuple(entry.strides)}")
    if len({entry.name for entry in header.tensors}) < len(header.tensors):
        raise ValueError("two tensors have one name")
    total = sum(entry.bytes for entry in header.tensors)
    if total > file_bytes * LARGEST_RATIO:
        raise ValueError(f"{file_bytes:,} bytes cannot hold tensors of {total:,}")
    said = sum(length for entry in header.tensors for _, chunks in entry.blocks for _, length in chunks)
    if said != chunk_bytes:
        raise ValueError(f"its chunks have {chunk_bytes:,} bytes, its header says {said:,}")


def is_dense(shape: Iterable[int], strides: Iterable[int]) -> bool:
    """True where every element has a place of its own and none is left between."""
    expected = 1
    for stride, length in sorted((s, n) for s, n in zip(strides, shape, strict=True) if n > 1):
        if stride != expected:
            return False
        expected *= length
    return True
