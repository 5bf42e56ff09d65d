"""Models and checkpoints to packed bytes and back, the same to the last bit."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from prunebench.errors import CheckpointError, first_line
from prunebench.machine.values import as_integers, value_bytes
from prunebench.models import state_digest, unwrapped
from prunebench.packing.encodings import BLOCK, Bytes, Chunk, decode, encode
from prunebench.packing.format import DTYPES, Entry, Header, assembled, is_dense, read_header
from prunebench.storage.files import replacing

State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Content of a packed file.

    Attributes:
        tensors: by name, on the CPU, with the strides they had.
        metadata: text by name, as a safetensors file has it.
        digest: `prunebench.models.state_digest` of the tensors.
    """

    tensors: State
    metadata: dict[str, str]
    digest: str


def pack(
    model: nn.Module | Mapping[str, Tensor],
    path: str | Path | None = None,
    *,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Pack the state of a model, or tensors by name, into few bytes without losing a bit.

    The bytes are returned and, given a path, written to it, whole or not at all. Kept are names and their order, types,
    shapes, every bit of every value and the strides; tensors that share or skip memory are stored each in full,
    contiguous. `requires_grad` and devices are not kept.

    Raises:
        CheckpointError: something in it is no plain tensor, or a name or metadata no text.
        MissingExtraError: the extra `pack` is not installed.
        StorageError: `path` cannot be written.
    """
    state = _plain(model if isinstance(model, Mapping) else unwrapped(model).state_dict())
    encoded = {name: _encoded(tensor) for name, tensor in state.items()}
    chunks = (part for blocks in encoded.values() for _, chunks in blocks for _, part in chunks)
    try:
        entries = [_entry(name, tensor, encoded[name]) for name, tensor in state.items()]
        data = assembled(Header(digest=state_digest(state), metadata=dict(metadata or {}), tensors=entries), chunks)
    except ValueError as error:
        raise CheckpointError(f"cannot pack these names and metadata: {first_line(error)}") from error
    if path is not None:
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(data)
    return data


def packed_bytes(model: nn.Module | Mapping[str, Tensor]) -> int:
    """Bytes that a model, or tensors by name, take packed.

    Raises:
        CheckpointError, MissingExtraError: as `pack`.
    """
    return len(pack(model))


def unpack(source: str | Path | bytes) -> State:
    """The tensors by name of a packed file, or of its bytes, as they were packed.

    Raises:
        CheckpointError: absent, no packed file, or damaged.
        MissingExtraError: the extra `pack` is not installed.
    """
    return read_packed(source).tensors


def read_packed(source: str | Path | bytes) -> Packed:
    """Everything in a packed file, or in its bytes. Memory is at most that of the tensors and a few blocks.

    Raises:
        CheckpointError, MissingExtraError: as `unpack`.
    """
    called = "the packed bytes" if isinstance(source, bytes) else f"'{source}'"
    try:
        with _opened(source) as file:
            header = read_header(file)
            tensors = {entry.name: _decoded(entry, file) for entry in header.tensors}
        if state_digest(tensors) != header.digest:
            raise ValueError("its tensors do not have the digest that its header says")
    except OSError as error:
        raise CheckpointError(f"cannot read {called}: {error.strerror or error}") from error
    except MemoryError as error:
        raise CheckpointError(f"cannot unpack {called}: its tensors do not fit into memory") from error
    except (ValueError, RuntimeError) as error:  # torch refuses some shapes by a RuntimeError
        raise CheckpointError(f"cannot unpack {called}, is it damaged or truncated? {error}") from error
    return Packed(tensors=tensors, metadata=header.metadata, digest=header.digest)


def _opened(source: str | Path | bytes) -> AbstractContextManager[BinaryIO]:
    return io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")


def _plain(state: Mapping[str, Any]) -> State:
    """The tensors on the CPU, where they are ones that have plain values of their own."""
    plain = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"cannot pack '{name}', {type(tensor).__name__}: expected a tensor")
        dtype = str(tensor.dtype).removeprefix("torch.")
        if tensor.layout != torch.strided or tensor.is_nested or tensor.is_meta or dtype not in DTYPES:
            kind = "meta" if tensor.is_meta else "nested" if tensor.is_nested else f"{tensor.layout} {dtype}"
            raise CheckpointError(f"cannot pack '{name}', a {kind} tensor: expected a dense one of {', '.join(DTYPES)}")
        plain[name] = tensor.detach().cpu().resolve_conj().resolve_neg()
    return plain


def _encoded(tensor: Tensor) -> list[tuple[Any, list[Chunk]]]:
    values = _as_bytes(tensor)
    return [encode(values[start : start + BLOCK]) for start in range(0, len(values), BLOCK)]


def _as_bytes(tensor: Tensor) -> Bytes:
    """The values in logical order, (elements, bytes of one)."""
    return value_bytes(tensor).reshape(tensor.numel(), tensor.element_size())


def _entry(name: str, tensor: Tensor, blocks: list[tuple[Any, list[Chunk]]]) -> Entry:
    usual = torch.empty(tensor.shape, device="meta").stride()
    unusual = tensor.stride() != usual and is_dense(tensor.shape, tensor.stride())
    return Entry(
        name=name,
        dtype=str(tensor.dtype).removeprefix("torch."),
        shape=[*tensor.shape],
        strides=[*tensor.stride()] if unusual else None,
        blocks=[(layout, [(codec, len(data)) for codec, data in chunks]) for layout, chunks in blocks],
    )


def _decoded(entry: Entry, file: BinaryIO) -> Tensor:
    dtype = DTYPES[entry.dtype]
    values = np.zeros((entry.bytes // dtype.itemsize, dtype.itemsize), np.uint8)
    for number, (layout, chunks) in enumerate(entry.blocks):
        read = ((codec, file.read(length)) for codec, length in chunks)
        decode(layout, read, values[number * BLOCK : (number + 1) * BLOCK])
    tensor = torch.from_numpy(values.reshape(-1)).view(dtype).reshape(entry.shape)
    if entry.strides is None:
        return tensor
    placed = torch.empty_strided(tensor.shape, entry.strides, dtype=dtype)
    as_integers(placed).copy_(as_integers(tensor))
    return placed
