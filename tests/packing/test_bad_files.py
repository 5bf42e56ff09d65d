"""Packed files that are damaged or made to harm: one clear error, little memory, and never another tensor."""

from __future__ import annotations

import hashlib
import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import zstandard
from packing.packing_states import filled, mixed_state

from prunebench.errors import CheckpointError
from prunebench.models import load_state, save_state, state_digest
from prunebench.packing import pack, read_packed, unpack
from prunebench.packing.format import PREFIX
from prunebench.storage.formats import PACKED

MUTATIONS = 2_000
DIGEST = 32


def flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def cut(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    del data[start : chance.choice([len(data), start + chance.randint(1, 40)])]


def insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.randint(1, 40))


def swap(data: bytearray, chance: random.Random) -> None:
    length = chance.randint(1, 40)
    one, other = (chance.randrange(len(data) - length) for _ in range(2))
    data[one : one + length], data[other : other + length] = data[other : other + length], data[one : one + length]


KINDS = (flip, cut, insert, swap)


def mutated(data: bytes, kind: Callable[[bytearray, random.Random], None], chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        if len(changed) > 100:
            kind(changed, chance)
    return bytes(changed)


def refusal(data: bytes | Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        unpack(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def sealed(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


def with_header(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The file with another header, and the digest that it then has."""
    _, version, stored, _ = PREFIX.unpack(data[: PREFIX.size])
    start = PREFIX.size + stored
    header = json.loads(zstandard.decompress(data[PREFIX.size : start]))
    change(header)
    text = json.dumps(header).encode()
    squeezed = zstandard.compress(text)
    return sealed(PREFIX.pack(PACKED, version, len(squeezed), len(text)) + squeezed + data[start:-DIGEST])


@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes_are_refused(kind: Callable[[bytearray, random.Random], None]) -> None:
    data, chance = pack(mixed_state()), random.Random(kind.__name__)
    for _ in range(MUTATIONS // len(KINDS)):
        if (changed := mutated(data, kind, chance)) != data:
            refusal(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes_with_a_digest_that_fits_give_an_error_or_the_same_tensors(
    kind: Callable[[bytearray, random.Random], None],
) -> None:
    """What somebody could make on purpose: the decoders see the damage."""
    data, chance = pack(mixed_state()), random.Random(kind.__name__)
    _, _, stored, _ = PREFIX.unpack(data[: PREFIX.size])
    head, chunks = data[: PREFIX.size + stored], data[PREFIX.size + stored : -DIGEST]
    expected = state_digest(mixed_state())
    refused = 0
    for _ in range(MUTATIONS // len(KINDS)):
        try:
            assert expected == state_digest(unpack(sealed(head + mutated(chunks, kind, chance))))
        except CheckpointError:
            refused += 1
    assert refused > MUTATIONS / len(KINDS) * 0.9


def places(content: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [(*at, key) for key, _ in entries] + [place for key, value in entries for place in places(value, (*at, key))]


def test_a_header_that_says_something_else_gives_an_error_or_what_it_says() -> None:
    data, chance = pack(mixed_state()), random.Random(0)
    values = [None, -1, 0, 1, 2**31, 2**62, 2**70, 1.5, "raw", "sparse", "float64", "", [], {}, [0, 2**62, 2**62]]

    def change(header: dict[str, Any]) -> None:
        *path, last = chance.choice(places(header))
        within: Any = header
        for key in path:
            within = within[key]
        within[last] = chance.choice(values)

    tracemalloc.start()
    for _ in range(500):
        try:
            found = read_packed(with_header(data, change))
        except CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most, not all, are refused
        else:
            assert found.digest == state_digest(found.tensors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2**20


@pytest.mark.parametrize(
    "state",
    [
        {"a": filled("float32", (2_500_000,), pattern="any bits")},
        {"a": filled("float32", (2_500_000,), density=0.3)},
        {"a": filled("bool", (10_000_000,), density=0.3)},
        {"a": filled("int64", (1_250_000,), pattern="counting")},
    ],
    ids=["dense", "sparse", "mask", "counting"],
)
def test_unpacking_takes_less_than_twice_the_memory_of_the_tensors(state: dict[str, torch.Tensor]) -> None:
    data = pack(state)
    size = sum(tensor.nbytes for tensor in state.values())
    tracemalloc.start()
    unpack(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size <= peak < 2 * size


def test_a_header_cannot_ask_for_memory_that_the_file_does_not_account_for() -> None:
    data = pack({"a": torch.zeros(3)})

    def huge(header: dict[str, Any]) -> None:
        header["tensors"][0]["shape"] = [2**20, 2**12]
        header["tensors"][0]["blocks"] *= 2**12

    tracemalloc.start()
    assert "cannot hold tensors of" in refusal(with_header(data, huge))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2**20


def test_a_compressed_header_that_grows_is_refused_before_it_does() -> None:
    bomb = zstandard.compress(bytes(2**28))
    message = refusal(sealed(PREFIX.pack(PACKED, 1, len(bomb), 2**28) + bomb))
    assert "a header of 268,435,456 bytes" in message
    assert "does not hold 9 bytes" in refusal(sealed(PREFIX.pack(PACKED, 1, len(bomb), 9) + bomb))


def test_a_file_of_a_newer_format_says_so() -> None:
    data = pack({"a": torch.zeros(3)})
    newer = sealed(data[:8] + (2).to_bytes(4, "little") + data[12:-DIGEST])
    assert "version 2 of the format, this prunebench reads 1" in refusal(newer)


@pytest.mark.parametrize("content", [b"", b"PK", PACKED, b"\0" * 200])
def test_what_is_no_packed_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd.pbz").write_bytes(content)
    message = refusal(tmp_path / "odd.pbz")
    assert "expected what 'prunebench pack' wrote" in message
    assert "odd.pbz" in message


def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path: Path) -> None:
    assert "absent.pbz': No such file" in refusal(tmp_path / "absent.pbz")
    assert "Is a directory" in refusal(tmp_path)


def test_a_packed_file_in_the_place_of_a_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    pack({"a": torch.zeros(3)}, tmp_path / "state.pbz")
    with pytest.raises(CheckpointError, match="is a packed file: give what 'prunebench unpack"):
        load_state(tmp_path / "state.pbz")
    save_state(unpack(tmp_path / "state.pbz"), tmp_path / "state.safetensors")
    assert torch.equal(torch.zeros(3), load_state(tmp_path / "state.safetensors")["a"])
