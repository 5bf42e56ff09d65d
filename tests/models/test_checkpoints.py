"""Checkpoints in and out: three formats to the same tensors, damaged and hostile files refused, digests."""

from __future__ import annotations

import io
import math
import os
import pickle
import shlex
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import SafetensorError
from torch import Tensor, nn

from prunebench.errors import CheckpointError, StorageError
from prunebench.models import (
    as_safetensors,
    checkpoints,
    load_state,
    load_state_,
    read_metadata,
    save_state,
    state_digest,
)

State = dict[str, Tensor]

SCALAR = f"{np.float64(0).__reduce__()[0].__module__}.scalar"  # numpy 2 moved it


def small_model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    model(torch.rand(5, 3, 4, 4))  # moves the batch-norm statistics, one of them an integer
    return model


def torch_bytes(content: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def safetensors_bytes(state: State, folder: Path) -> bytes:
    save_state(state, folder / "written.safetensors")
    return (folder / "written.safetensors").read_bytes()


WRITERS: dict[str, Callable[[State, Path], bytes]] = {
    "safetensors": safetensors_bytes,
    "state_dict": lambda state, _: torch_bytes(state),
    "under a key": lambda state, _: torch_bytes({"state_dict": state, "epoch": 7, "best": 92.95}),
    "before torch 1.6": lambda state, _: torch_bytes(state, legacy=True),
}


@pytest.fixture(scope="module")
def checkpoint_bytes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small checkpoint in every format."""
    state, folder = small_model().state_dict(), tmp_path_factory.mktemp("written")
    return {name: writer(state, folder) for name, writer in WRITERS.items()}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that hypothesis may write over, example by example."""
    return tmp_path_factory.mktemp("scratch") / "checkpoint.pth"


def refusal(path: Path) -> str:
    """The message `load_state` refuses `path` with: one line that names the file."""
    with pytest.raises(CheckpointError) as caught:
        load_state(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ""])
def test_every_format_loads_to_the_same_tensors_whatever_the_file_is_called(
    form: str, suffix: str, checkpoint_bytes: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / f"checkpoint{suffix}"
    path.write_bytes(checkpoint_bytes[form])
    expected, loaded = small_model().state_dict(), load_state(path)
    assert set(expected) == set(loaded)
    for name, tensor in expected.items():
        assert tensor.dtype == loaded[name].dtype
        assert torch.equal(tensor, loaded[name])
    assert state_digest(expected) == state_digest(loaded)


@pytest.mark.parametrize("form", WRITERS)
def test_a_loaded_checkpoint_makes_another_model_the_same(
    form: str, checkpoint_bytes: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(checkpoint_bytes[form])
    model = small_model(seed=1)
    load_state_(model, load_state(path), origin=str(path))
    assert state_digest(small_model().state_dict()) == state_digest(model.state_dict())


class RunsCommand:
    """Unpickles by running a shell command, as a hostile checkpoint would."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


HOSTILE: dict[str, Callable[[object], bytes]] = {
    "bare pickle": lambda content: pickle.dumps(content, protocol=2),
    "torch file": torch_bytes,
    "legacy torch file": lambda content: torch_bytes(content, legacy=True),
    "under a key": lambda content: torch_bytes({"state_dict": {"weight": content}}),
    "beside good weights": lambda content: torch_bytes({"state_dict": {"weight": torch.ones(2)}, "more": content}),
}


@pytest.mark.parametrize("form", HOSTILE)
def test_a_pickle_that_would_run_a_command_is_refused_and_does_not_run(form: str, tmp_path: Path) -> None:
    ran, path = tmp_path / "ran", tmp_path / "hostile.pth"
    path.write_bytes(HOSTILE[form](RunsCommand(f"touch {shlex.quote(str(ran))}")))
    assert "refused to load" in refusal(path)
    assert not ran.exists()


def test_the_hostile_pickle_runs_where_it_is_trusted(tmp_path: Path) -> None:
    """So that the refusal above is one of something real."""
    ran = tmp_path / "ran"
    torch.load(io.BytesIO(torch_bytes(RunsCommand(f"touch {shlex.quote(str(ran))}"))), weights_only=False)
    assert ran.exists()


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("length", [0, 1, 4, 8, 9, 64, 0.25, 0.5, 0.9, -1])
def test_a_truncated_checkpoint_is_refused(
    form: str, length: float, checkpoint_bytes: dict[str, bytes], tmp_path: Path
) -> None:
    whole = checkpoint_bytes[form]
    path = tmp_path / "truncated"
    path.write_bytes(whole[: int(length * len(whole)) if isinstance(length, float) else length])
    refusal(path)


@given(form=st.sampled_from(sorted(WRITERS)), where=st.floats(0, 1, exclude_max=True))
def test_a_checkpoint_cut_anywhere_is_refused(
    form: str, where: float, checkpoint_bytes: dict[str, bytes], scratch: Path
) -> None:
    whole = checkpoint_bytes[form]
    scratch.write_bytes(whole[: int(where * len(whole))])
    refusal(scratch)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning", "ignore:Defining your `__torch_function__`")
@given(form=st.sampled_from(sorted(WRITERS)), where=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_damaged_byte_gives_tensors_or_a_checkpoint_error_and_nothing_else(
    form: str, where: float, byte: int, checkpoint_bytes: dict[str, bytes], scratch: Path
) -> None:
    damaged = bytearray(checkpoint_bytes[form])
    damaged[int(where * len(damaged))] = byte
    scratch.write_bytes(damaged)
    try:
        loaded = load_state(scratch)
    except CheckpointError:
        refusal(scratch)
    else:
        assert all(isinstance(value, Tensor) for value in loaded.values())


@given(content=st.binary(max_size=200))
@example(content=b"this is a text file, not a checkpoint\nwith a second line\n")
@example(content=b'{"weight": [1, 2, 3]}\n')
@example(content=b"\0" * 64)
@example(content=b"8 bytes!{ then no header")
@example(content=b"PK\x03\x04")
def test_what_is_no_checkpoint_is_refused(content: bytes, scratch: Path) -> None:
    scratch.write_bytes(content)
    refusal(scratch)


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        ("holds list: expected a state_dict, tensors by name", [1, 2]),
        ("holds Tensor: expected a state_dict, tensors by name", torch.ones(2)),
        ("holds nothing: expected a state_dict, tensors by name", {}),
        ("holds 'state_dict' (dict): expected a state_dict, tensors by name", {"state_dict": {}}),
        ("holds 'epoch' (int), 'a' (str): expected a state_dict, tensors by name", {"epoch": 3, "a": "text"}),
        ("holds 0 (Tensor): expected a state_dict, tensors by name", {0: torch.ones(2)}),
        (
            f"holds 'args' (argparse.Namespace), 'best' ({SCALAR}): expected a state_dict, tensors by name",
            {"args": Namespace(epochs=3), "best": np.float64(91.5)},
        ),
    ],
)
def test_a_torch_file_without_tensors_by_name_is_refused_by_what_it_holds(
    expected: str, content: object, tmp_path: Path
) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(torch_bytes(content))
    assert f"'{path}' {expected}" == refusal(path)


def test_a_path_without_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "absent.pth"
    assert f"no checkpoint at '{path}': expected a .safetensors, .pth or .pt file" == refusal(path)
    assert f"'{tmp_path}' is a folder: name the .safetensors, .pth or .pt file in it" == refusal(tmp_path)


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        ("it has no '0.weight'", lambda state: without(state, "0.weight")),
        ("it has 'head.weight', which the model has not", lambda state: {**state, "head.weight": torch.ones(1)}),
        (
            "it has '4.weight' of shape (3, 15), the model (3, 16)",
            lambda state: {**state, "4.weight": torch.ones(3, 15)},
        ),
        ("it has '4.bias' of shape (1, 3), the model (3,)", lambda state: {**state, "4.bias": torch.ones(1, 3)}),
        (
            "it has no '0.weight' (and 16 more differences)",  # nine unexpected, eight missing
            lambda state: {f"{name}s": value for name, value in state.items()},
        ),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused_and_the_model_unchanged(
    expected: str, change: Callable[[State], State]
) -> None:
    model = small_model()
    before = state_digest(model.state_dict())
    state = change({name: torch.zeros_like(value) for name, value in model.state_dict().items()})
    with pytest.raises(CheckpointError) as caught:
        load_state_(model, state, origin="given.pth")
    message = str(caught.value)
    assert message.startswith("'given.pth' is a checkpoint of another architecture: it ")
    assert expected in message
    assert "\n" not in message
    assert before == state_digest(model.state_dict())


@pytest.mark.parametrize(
    ("name", "value", "dtype"),
    [
        ("0.weight", math.nan, torch.float32),
        ("4.bias", math.inf, torch.float32),
        ("1.running_var", -math.inf, torch.float32),
        ("4.weight", math.nan, torch.float16),
        ("4.weight", 1e300, torch.float64),  # finite, but not as the model's float32
        ("1.num_batches_tracked", math.nan, torch.float32),  # an integer in the model, where NaN is no NaN
    ],
)
def test_values_that_are_not_finite_are_refused_and_the_model_unchanged(
    name: str, value: float, dtype: torch.dtype
) -> None:
    model = small_model()
    before = state_digest(model.state_dict())
    state = {key: torch.zeros_like(tensor) for key, tensor in model.state_dict().items()}
    state[name] = state[name].to(dtype)
    state[name].view(-1)[-1] = value
    with pytest.raises(CheckpointError) as caught:
        load_state_(model, state, origin="given.pth")
    assert f"'given.pth' has values in '{name}' that are not finite: expected finite weights" == str(caught.value)
    assert before == state_digest(model.state_dict())


def test_a_type_that_cannot_be_asked_whether_it_is_finite_loads(tmp_path: Path) -> None:
    model = small_model()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["0.weight"] = state["0.weight"].to(torch.float8_e4m3fn)
    load_state_(model, state, origin="given.pth")
    assert torch.equal(state["0.weight"].float(), model.state_dict()["0.weight"])
    state["0.weight"] = torch.full_like(model.state_dict()["0.weight"], math.nan).to(torch.float8_e4m3fn)
    with pytest.raises(CheckpointError, match="not finite"):
        load_state_(model, state, origin="given.pth")


@pytest.mark.parametrize("torch_makes_it", [True, False])
def test_a_tensor_that_is_no_plain_one_is_refused_by_name(
    torch_makes_it: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch makes it from a file up to 2.14, and no longer since 2.15: it is not left out as settings are."""
    if not torch_makes_it:
        allowed = torch._weights_only_unpickler._get_allowed_globals()
        monkeypatch.delitem(allowed, "torch._utils._rebuild_nested_tensor", raising=False)
    torch.save({"a": torch.zeros(2), "b": torch.nested.nested_tensor([torch.zeros(2)])}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match="holds 'b' as a nested tensor"):
        load_state(tmp_path / "odd.pth")


class _OwnTensor(Tensor):
    pass


def test_a_tensor_of_a_class_of_its_own_is_called_so(tmp_path: Path) -> None:
    """Not damaged or truncated: quantisation libraries save such."""
    torch.save({"a": torch.zeros(2), "b": torch.zeros(3).as_subclass(_OwnTensor)}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"odd.pth' holds a tensor of a class that only its own code"):
        load_state(tmp_path / "odd.pth")


def test_complex_numbers_go_where_complex_numbers_were() -> None:
    model = nn.Module()
    model.register_buffer("turns", torch.zeros(2, dtype=torch.complex64))
    model.register_buffer("scale", torch.zeros(2))
    turns = torch.tensor([1j, 2.0])
    load_state_(model, {"turns": turns, "scale": torch.ones(2)}, origin="given.pth")
    assert torch.equal(turns, model.turns)
    with pytest.raises(CheckpointError, match=r"'given.pth' holds 'scale' as torch.complex64: expected torch.float32"):
        load_state_(model, {"turns": turns, "scale": turns}, origin="given.pth")


@pytest.mark.parametrize("write", [save_state, lambda state, path: path.write_bytes(as_safetensors(state))])
def test_a_type_that_safetensors_has_not_is_named_and_nothing_written(
    write: Callable[[State, Path], object], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"no type for torch.complex128: expected real numbers or complex64"):
        write({"a": torch.zeros(2, dtype=torch.complex128)}, tmp_path / "written.safetensors")
    assert [] == [*tmp_path.iterdir()]


def test_saving_keeps_the_metadata_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_state({"weight": torch.ones(2)}, path, metadata={"workload": "digits"})
    assert {"workload": "digits"} == read_metadata(path)


def test_others_may_read_what_is_saved(tmp_path: Path) -> None:
    path, plain = tmp_path / "checkpoint.safetensors", tmp_path / "plain"
    save_state({"weight": torch.ones(2)}, path)
    plain.touch()
    assert plain.stat().st_mode == path.stat().st_mode


def test_saving_makes_the_folder_and_leaves_nothing_else_in_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "checkpoint.safetensors"
    save_state(small_model().state_dict(), path)
    assert [path] == list(path.parent.iterdir())


def test_saving_again_gives_the_same_bytes(tmp_path: Path) -> None:
    state = small_model().state_dict()
    reversed_order = dict(reversed(state.items()))
    assert safetensors_bytes(state, tmp_path) == safetensors_bytes(reversed_order, tmp_path)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (SafetensorError("No space left on device"), StorageError),
        (OSError(28, "No space left on device"), StorageError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_saving_that_stops_half_way_leaves_the_old_checkpoint(
    raised: BaseException, expected: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_state({"weight": torch.ones(2)}, path)
    before = path.read_bytes()

    def stop_half_way(_: State, filename: Path, **__: object) -> None:
        filename.write_bytes(before[: len(before) // 2])
        raise raised

    monkeypatch.setattr(checkpoints, "save_file", stop_half_way)
    with pytest.raises(expected) as caught:
        save_state({"weight": torch.zeros(2)}, path)
    if expected is StorageError:
        assert f"cannot write '{path}'" in str(caught.value)
        assert "No space left on device" in str(caught.value)
    assert before == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_the_digest_does_not_depend_on_the_order_of_names_or_on_gradients() -> None:
    model = small_model()
    state = model.state_dict()
    assert state_digest(state) == state_digest(dict(reversed(state.items())))
    assert state_digest(state) == state_digest(model.state_dict(keep_vars=True))


def test_the_digest_does_not_depend_on_the_memory_format() -> None:
    state = small_model().state_dict()
    channels_last = {
        name: value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
        for name, value in state.items()
    }
    assert not channels_last["0.weight"].is_contiguous()
    assert state_digest(state) == state_digest(channels_last)


def test_the_digest_does_not_depend_on_strides_or_offsets() -> None:
    wide = torch.rand(4, 6)
    assert state_digest({"a": wide[:, 1:3].clone()}) == state_digest({"a": wide[:, 1:3]})
    assert state_digest({"a": wide.t().clone()}) == state_digest({"a": wide.t()})


@pytest.mark.parametrize("name", ["0.weight", "0.bias", "1.running_mean", "1.num_batches_tracked", "4.bias"])
def test_the_digest_tells_one_changed_value_in_any_tensor(name: str) -> None:
    state = small_model().state_dict()
    changed = {**state, name: state[name].clone()}
    changed[name].view(-1)[-1] += 1
    assert state_digest(state) != state_digest(changed)


def test_the_digest_tells_the_smallest_change_of_a_value() -> None:
    one = torch.ones(3)
    above = one.clone()
    above[1] = torch.nextafter(above[1], torch.tensor(2.0))
    assert state_digest({"a": one}) != state_digest({"a": above})


def test_the_digest_tells_a_changed_name_type_and_shape() -> None:
    zeros = torch.zeros(4)
    digests = [
        state_digest(state)
        for state in (
            {"a": zeros},
            {"b": zeros},
            {"a": zeros.int()},
            {"a": zeros.reshape(2, 2)},
            {"a": zeros[:2], "b": zeros[:2]},
            {"a": zeros[:3]},
            {},
        )
    ]
    assert len(digests) == len(set(digests))
