"""Packed files: the same to the last bit, small, and the same bytes each time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packing.packing_states import PATTERNS, bits_of, filled, mixed_state
from torch import Tensor, nn

from prunebench.documented.runs import RUNS
from prunebench.errors import CheckpointError, MissingExtraError, StorageError
from prunebench.models import build_model, load_checkpoint_, state_digest
from prunebench.packing import pack, packed_bytes, read_packed, unpack
from prunebench.packing.encodings import BLOCK
from prunebench.packing.format import DTYPES
from prunebench.pruning import Masks, prune_

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")  # torch's, of complex32

densities = st.one_of(st.sampled_from([0.0, 1e-3, 0.05, 0.5, 1.0]), st.floats(0, 1))


def assert_same(expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    assert [*expected] == [*found]
    for name, tensor in expected.items():
        other = found[name]
        assert (tensor.dtype, tensor.shape, tensor.stride()) == (other.dtype, other.shape, other.stride()), name
        assert bits_of(tensor) == bits_of(other), name


@settings(max_examples=300)
@given(
    dtype=st.sampled_from([*DTYPES]),
    shape=st.lists(st.integers(0, 12), max_size=4).map(tuple),
    density=densities,
    pattern=st.sampled_from(PATTERNS),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_every_bit_comes_back_of_every_type_shape_and_density(
    dtype: str, shape: tuple[int, ...], density: float, pattern: str, seed: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    tensor = filled(dtype, shape, density=density, pattern=pattern, seed=seed).permute(order)
    assert_same({"a": tensor}, unpack(pack({"a": tensor})))


@settings(max_examples=60)
@given(names=st.lists(st.text(max_size=20), max_size=5, unique=True), metadata=st.dictionaries(st.text(), st.text()))
def test_names_their_order_and_metadata_come_back(names: list[str], metadata: dict[str, str]) -> None:
    state = {name: torch.full((2,), float(number)) for number, name in enumerate(names)}
    found = read_packed(pack(state, metadata=metadata))
    assert_same(state, found.tensors)
    assert (metadata, state_digest(state)) == (found.metadata, found.digest)


@pytest.mark.parametrize("dtype", ["bool", "int8", "bfloat16"])
@pytest.mark.parametrize("density", [0.0, 0.03, 1.0])
@pytest.mark.parametrize("count", [BLOCK, BLOCK + 1])
def test_a_tensor_of_several_blocks_comes_back(dtype: str, density: float, count: int) -> None:
    state = {"a": filled(dtype, (count,), density=density)}
    assert_same(state, unpack(pack(state)))


@pytest.mark.parametrize("dtype", [*DTYPES])
def test_a_matrix_comes_back_by_columns_too(dtype: str) -> None:
    matrix = filled(dtype, (4, 3), density=0.5).t()
    assert_same({"a": matrix}, unpack(pack({"a": matrix})))


def test_nan_payloads_and_signs_of_zero_come_back() -> None:
    bits = torch.tensor([0x7FC00001, 0x7F800001, -1, -(2**31), 0, 1, 0x7F800000], dtype=torch.int32)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        weight = bits.view(torch.float32).repeat(6).reshape(7, 3, 2, 1).contiguous(memory_format=memory_format)
        assert_same({"a": weight}, unpack(pack({"a": weight})))


def test_a_conjugate_a_shared_and_a_skipping_tensor_are_stored_by_their_values() -> None:
    values = torch.complex(torch.arange(6.0), torch.ones(6))
    rows = torch.arange(12.0).reshape(3, 4)
    state = {"conjugate": values.conj(), "imaginary": values.conj().imag, "first": rows, "same": rows}
    state |= {"column": rows[:, 1], "expanded": rows[:1].expand(5, 4)}
    found = unpack(pack(state))
    assert all(torch.equal(tensor, found[name]) and found[name].is_contiguous() for name, tensor in state.items())


def test_a_model_is_packed_as_its_state() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    assert pack(model.state_dict()) == pack(model)
    assert len(pack(model)) == packed_bytes(model)
    other = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    other.load_state_dict(unpack(pack(model)))
    assert state_digest(model.state_dict()) == state_digest(other.state_dict())


def test_masks_take_less_than_a_bit_an_element() -> None:
    masks = Masks({"a": filled("bool", (300, 300), density=0.1)})
    assert_same(dict(masks), unpack(pack(masks)))
    assert packed_bytes(masks) < 90_000 / 8 * 0.55  # the entropy is 0.469 bits


def test_packing_twice_gives_the_same_bytes() -> None:
    assert pack(mixed_state()) == pack(mixed_state())


def test_a_file_holds_the_bytes_that_are_returned(tmp_path: Path) -> None:
    data = pack(mixed_state(), tmp_path / "new" / "state.pbz")
    assert data == (tmp_path / "new" / "state.pbz").read_bytes()
    assert_same(mixed_state(), unpack(tmp_path / "new" / "state.pbz"))


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StorageError, match="cannot write"):
        pack(mixed_state(), tmp_path / "file" / "state.pbz")
    with pytest.raises(CheckpointError):
        pack({"a": torch.zeros(2, device="meta")}, tmp_path / "file")
    assert "kept" == (tmp_path / "file").read_text()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.zeros(2, device="meta"), "a meta tensor"),
        (torch.zeros(2).to_sparse(), "sparse_coo"),
        (torch.nested.nested_tensor([torch.zeros(2)], layout=torch.jagged), "a nested tensor"),
        (torch.empty(2, dtype=torch.uint4), "uint4"),
        ({"extra": 1}, "dict: expected a tensor"),
    ],
)
def test_what_is_no_plain_tensor_is_refused_by_name(value: object, said: str) -> None:
    with pytest.raises(CheckpointError, match=f"cannot pack 'odd'.*{said}"):
        pack({"fine": torch.zeros(1), "odd": value})  # type: ignore[dict-item]


def test_a_name_that_no_file_can_hold_is_refused() -> None:
    with pytest.raises(CheckpointError, match="UnicodeEncodeError"):
        pack({"\ud800": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="ValidationError"):
        pack({"a": torch.zeros(1)}, metadata={"epoch": 3})  # type: ignore[dict-item]
    with pytest.raises(CheckpointError, match="a header of 10,000,"):
        pack({"a": torch.zeros(1)}, metadata={"text": "a" * 10_000_000})


@pytest.mark.parametrize("package", ["zstandard", "constriction"])
def test_without_the_extra_the_error_names_it(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pack(mixed_state())
    monkeypatch.setitem(sys.modules, package, None)
    for use in (lambda: pack(mixed_state()), lambda: unpack(data)):
        with pytest.raises(MissingExtraError, match=rf"needs {package}: pip install 'prunebench\[pack\]'"):
            use()


@pytest.mark.parametrize(("run", "mib"), [("run3", 9.00), ("run5", 2.83)])
def test_the_documented_runs_are_as_small_as_promised(run: str, mib: float, cifar10_checkpoint: Path) -> None:
    model = build_model("vgg")
    load_checkpoint_(model, cifar10_checkpoint)
    prune_(model, RUNS[run].sparsity)
    data = pack(model)
    assert len(data) <= mib * 2**20
    assert_same(model.state_dict(), unpack(data))
