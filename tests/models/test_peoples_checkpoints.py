"""Checkpoints as people have them: wrapped, nested, beside other things; other files, called by their right names."""

from __future__ import annotations

import bz2
import copy
import gzip
import io
import json
import lzma
import os
import pickle
import re
import shlex
import tarfile
import zipfile
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel

from prunebench.data import load_digits
from prunebench.errors import CheckpointError
from prunebench.models import load_checkpoint_, load_state, state_digest
from prunebench.workloads import dense_model, find_workload

State = dict[str, Tensor]


class Net(nn.Module):
    """Two levels of names and batch norm, as the VGG."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.backbone = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4)))
        self.classifier = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.backbone(images).mean(dim=(2, 3))
        scores: Tensor = self.classifier(features)
        return scores


def trained() -> Net:
    model = Net()
    model(torch.rand(5, 3, 4, 4))  # moves the batch-norm statistics
    return model


def loaded(content: object, path: Path, *, legacy: bool = False) -> tuple[State, tuple[str, ...]]:
    """What a model of other weights holds after loading `content`, and the notes on how."""
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    model = Net(seed=1)
    notes = load_checkpoint_(model, path)
    return model.state_dict(), notes


def named(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def in_two_halves(model: Net) -> State:
    """The part that torchvision's own training script wrapped, and the rest."""
    model.backbone = nn.DataParallel(model.backbone)  # type: ignore[assignment]
    return model.state_dict()


WRAPPED: dict[str, tuple[str, Callable[[Net], State]]] = {
    "DataParallel": ("'module.' removed from names", lambda net: nn.DataParallel(net).state_dict()),
    "compile": ("'_orig_mod.' removed from names", lambda net: torch.compile(net).state_dict()),
    "both": ("'module.', '_orig_mod.' removed from names", lambda net: named("module._orig_mod.", net.state_dict())),
    "a part of it": ("'module.' removed from names", in_two_halves),
    "model.": ("'model.' removed from names", lambda net: named("model.", net.state_dict())),
    "net.": ("'net.' removed from names", lambda net: named("net.", net.state_dict())),
    "deep": ("'learner.student.' removed from names", lambda net: named("learner.student.", net.state_dict())),
    "model.module.": (
        "'module.' removed from names; 'model.' removed from names",
        lambda net: named("model.module.", net.state_dict()),
    ),
}


@pytest.mark.parametrize("form", WRAPPED)
@pytest.mark.parametrize("entry", ["", "state_dict"])
def test_names_lose_what_wrappers_put_before_them_and_the_notes_say_so(form: str, entry: str, tmp_path: Path) -> None:
    note, wrap = WRAPPED[form]
    state = wrap(trained())
    assert not state.keys() & Net().state_dict().keys() or form == "a part of it"
    given, notes = loaded({entry: state} if entry else state, tmp_path / "net.pth")
    assert state_digest(trained().state_dict()) == state_digest(given)
    assert note == "; ".join(notes)


def test_safetensors_lose_their_prefix_as_well(tmp_path: Path) -> None:
    save_file(named("model.", trained().state_dict()), tmp_path / "net.safetensors")
    model = Net(seed=1)
    assert ("'model.' removed from names",) == load_checkpoint_(model, tmp_path / "net.safetensors")
    assert state_digest(trained().state_dict()) == state_digest(model.state_dict())


@pytest.mark.parametrize(
    "entry", ["model", "net", "model_state_dict", "state_dict_ema", "params", "ema", "weights", "my_own", "best.model"]
)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_weights_one_or_two_levels_down_load_and_the_note_says_from_where(
    entry: str, legacy: bool, tmp_path: Path
) -> None:
    content: Any = trained().state_dict()
    for name in reversed(entry.split(".")):
        content = {name: content, "epoch": 3}
    given, notes = loaded(content, tmp_path / "net.pth", legacy=legacy)
    assert state_digest(trained().state_dict()) == state_digest(given)
    assert (f"from entry '{entry}'",) == notes


def test_a_plain_state_dict_and_the_courses_form_need_no_note(tmp_path: Path) -> None:
    for content in (trained().state_dict(), {"state_dict": trained().state_dict(), "epoch": 3}):
        given, notes = loaded(content, tmp_path / "net.pth")
        assert state_digest(trained().state_dict()) == state_digest(given)
        assert () == notes


class Settings(dict[str, object]):
    """A framework's settings: a dict with attributes, of a class that only its own code knows."""


class History:
    def __init__(self) -> None:
        self.losses = [2.3, 1.1]


def squared(epoch: int) -> float:
    return 0.9**epoch


EXTRAS: dict[str, object] = {
    "epoch": 7,
    "optimizer": torch.optim.Adam(trained().parameters()).state_dict(),
    "rng": torch.get_rng_state(),
    "args": Namespace(lr=0.1, layers=[1, 2], inner=Namespace(name="vgg")),
    "simple": SimpleNamespace(lr=0.1),
    "curves": defaultdict(list, {"loss": [1.0, 0.5]}),
    "nested": defaultdict(dict, {"a": defaultdict(int, {"b": 1})}),
    "best": np.float64(91.5),
    "count": np.int64(3),
    "confusion": np.arange(9).reshape(3, 3),
    "words": np.array(["a", "b"]),
    "recent": deque([1.0, 2.0], maxlen=5),
    "seen": Counter({"cat": 2}),
    "folder": PurePosixPath("runs/1"),
    "when": datetime(2026, 1, 2, tzinfo=UTC),
    "pattern": re.compile("[a-z]+"),
    "set": {1, 2},
    "frozen": frozenset({1, 2}),
    "type": torch.float32,
    "class": Net,
    "function": squared,
    "partial": partial(squared, 3),
    "settings": Settings(lr=0.1),
    "history": History(),
    "loss function": nn.CrossEntropyLoss(label_smoothing=0.1),
}


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_what_stands_beside_the_weights_does_not_matter(extra: str, legacy: bool, tmp_path: Path) -> None:
    if legacy and extra in {"class", "loss function"}:
        pytest.skip("files from before torch 1.6 hold modules with their source, which no restricted unpickler reads")
    content = {extra: EXTRAS[extra], "model": trained().state_dict(), "more": [EXTRAS[extra]]}
    given, notes = loaded(content, tmp_path / "net.pth", legacy=legacy)
    assert state_digest(trained().state_dict()) == state_digest(given)
    assert ("from entry 'model'",) == notes


def test_an_optimizer_with_steps_in_it_is_no_set_of_weights(tmp_path: Path) -> None:
    model = trained()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    torch.save({"optimizer": optimizer.state_dict(), "whatever": model.state_dict()}, tmp_path / "net.pth")
    assert state_digest(model.state_dict()) == state_digest(load_state(tmp_path / "net.pth"))


def test_entries_among_the_weights_that_are_no_tensors_are_left_out(tmp_path: Path) -> None:
    given, notes = loaded({**trained().state_dict(), "epoch": 3, "args": Namespace(lr=0.1)}, tmp_path / "net.pth")
    assert state_digest(trained().state_dict()) == state_digest(given)
    assert () == notes


def test_of_several_sets_of_weights_the_first_that_fits_is_taken_and_the_others_named(tmp_path: Path) -> None:
    state, other = trained().state_dict(), Net(seed=2).state_dict()
    given, notes = loaded({"state_dict_ema": other, "state_dict": state, "epoch": 1}, tmp_path / "net.pth")
    assert state_digest(state) == state_digest(given)
    assert ("from entry 'state_dict', not 'state_dict_ema'",) == notes
    given, notes = loaded({"model": nn.Linear(2, 2).state_dict(), "mine": state}, tmp_path / "net.pth")
    assert state_digest(state) == state_digest(given)
    assert ("from entry 'mine'",) == notes


def test_without_a_model_to_fit_several_unknown_sets_are_refused_by_their_entries(tmp_path: Path) -> None:
    torch.save({"generator": trained().state_dict(), "critic": trained().state_dict()}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="holds tensors under 'generator', 'critic': expected one state_dict"):
        load_state(tmp_path / "net.pth")


def test_an_averaged_model_loads(tmp_path: Path) -> None:
    model = trained()
    averaged = AveragedModel(model)
    averaged.update_parameters(model)
    given, notes = loaded(averaged.state_dict(), tmp_path / "net.pth")
    assert state_digest(model.state_dict()) == state_digest(given)
    assert ("'module.' removed from names", "an averaged model") == notes


@pytest.mark.parametrize("prefix", ["", "model.", "module."])
def test_weights_with_masks_load_as_what_the_pruned_model_computes_with(prefix: str, tmp_path: Path) -> None:
    model = trained()
    for module in (model.backbone.conv, model.classifier):
        prune.l1_unstructured(module, "weight", amount=0.5)
    state = named(prefix, copy.deepcopy(model.state_dict()))
    prune.remove(model.backbone.conv, "weight")
    prune.remove(model.classifier, "weight")
    given, notes = loaded(state, tmp_path / "net.pth")
    assert state_digest(model.state_dict()) == state_digest(given)
    assert 54 == int((given["backbone.conv.weight"] == 0).sum())
    assert 6 == int((given["classifier.weight"] == 0).sum())
    assert "2 pruned as their masks say" in notes


def test_a_file_without_batch_counters_loads_with_zeros(tmp_path: Path) -> None:
    expected = trained().state_dict()
    state = {name: value for name, value in expected.items() if not name.endswith("num_batches_tracked")}
    expected["backbone.bn.num_batches_tracked"] = torch.tensor(0)
    given, notes = loaded(state, tmp_path / "net.pth")
    assert state_digest(expected) == state_digest(given)
    assert ("num_batches_tracked set to 0",) == notes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_other_floats_become_float32_with_a_note(dtype: torch.dtype, suffix: str, tmp_path: Path) -> None:
    state = trained().to(dtype).state_dict()
    path = tmp_path / f"net{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    model = Net(seed=1)
    assert (f"{str(dtype).removeprefix('torch.')} weights made float32",) == load_checkpoint_(model, path)
    expected = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    assert state_digest(expected) == state_digest(model.state_dict())


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        ("has 'loss.weight', which the model", lambda s: named("model.", s) | {"loss.weight": torch.ones(3)}),
        ("has 'teacher.backbone.conv.weight', which", lambda s: named("student.", s) | named("teacher.", s)),
        ("has no 'classifier.bias'", lambda s: named("module.", {n: v for n, v in s.items() if "r.bias" not in n})),
        ("has no 'classifier.weight'", lambda s: {n.replace("r.weight", "r.weight_orig"): v for n, v in s.items()}),
        ("has no 'backbone.bn.running_mean'", lambda s: {n: v for n, v in s.items() if "running" not in n}),
        ("has 'n', which the model has not", lambda s: s | {"n": torch.tensor(3)}),
    ],
)  # fmt: skip
def test_what_does_not_fit_one_to_one_is_refused(
    expected: str, change: Callable[[State], State], tmp_path: Path
) -> None:
    model = Net(seed=1)
    before = state_digest(model.state_dict())
    torch.save(change(trained().state_dict()), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="is a checkpoint of another architecture") as caught:
        load_checkpoint_(model, tmp_path / "net.pth")
    assert expected in str(caught.value)
    assert before == state_digest(model.state_dict())


def test_the_dense_models_origin_says_what_was_done(untrained_checkpoint: Path, tmp_path: Path) -> None:
    plain = load_state(untrained_checkpoint)
    state = {name: value.half() if value.is_floating_point() else value for name, value in plain.items()}
    path = tmp_path / "mine.pth"
    torch.save({"model": named("module.", state), "args": Namespace(lr=0.1)}, path)
    digits = find_workload("digits")
    dense = dense_model(digits, load_digits(), checkpoint=path)
    expected = "mine.pth (from entry 'model'; 'module.' removed from names; float16 weights made float32)"
    assert expected == dense.origin
    assert "untrained.safetensors" == dense_model(digits, load_digits(), checkpoint=untrained_checkpoint).origin


def test_a_file_name_that_is_no_utf_8_loads_and_can_be_printed(untrained_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.safetensors")
    path.write_bytes(untrained_checkpoint.read_bytes())
    assert "caf\\xe9.safetensors" == dense_model(find_workload("digits"), load_digits(), checkpoint=path).origin
    assert load_state(untrained_checkpoint).keys() == load_state(path).keys()


class Runs:
    """Unpickles by calling something, as a hostile checkpoint would."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


class Filled(dict[str, object]):
    """A dict that asks to be filled by calling."""

    def __reduce__(self) -> Any:
        return defaultdict, (partial(os.system, "touch RAN"),), None, None, iter({"a": 1}.items())


def hostile(ran: Path) -> dict[str, object]:
    touch = f"touch {shlex.quote(str(ran))}"
    return {
        "system": Runs(os.system, touch),
        "eval": Runs(eval, f"open({str(ran)!r}, 'w')"),
        "exec": Runs(exec, f"open({str(ran)!r}, 'w')"),
        "open": Runs(open, str(ran), "w"),
        "getattr": Runs(getattr, os, "system"),
        "in a namespace": Namespace(inner=Runs(os.system, touch)),
        "as a default factory": defaultdict(partial(os.system, touch)),
        "as a factory of items": Filled(),
    }  # fmt: skip


@pytest.mark.parametrize("form", hostile(Path("x")))
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_a_file_that_names_what_runs_code_is_refused_and_runs_nothing(form: str, legacy: bool, tmp_path: Path) -> None:
    path, ran = tmp_path / "hostile.pth", tmp_path / "ran"
    content = {"model": trained().state_dict(), "extra": hostile(ran)[form]}
    try:
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    except TypeError:
        pytest.skip("a module cannot be pickled")
    with pytest.raises(CheckpointError, match=r"refused to load .* could run code"):
        load_checkpoint_(Net(), path)
    assert not ran.exists()


def test_a_foreign_function_beside_the_weights_is_never_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call = Runs(np.savetxt, "ran", [1.0])
    given, _ = loaded({"model": trained().state_dict(), "extra": call}, tmp_path / "net.pth")
    assert state_digest(trained().state_dict()) == state_digest(given)
    assert [tmp_path / "net.pth"] == list(tmp_path.iterdir())
    torch.load(tmp_path / "net.pth", weights_only=False)
    assert (tmp_path / "ran").exists(), "where it is trusted it runs"


def test_reading_leaves_torchs_list_of_allowed_names_as_it_was(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    loaded({"model": trained().state_dict(), "args": Namespace(lr=0.1)}, tmp_path / "net.pth")
    assert before == set(torch.serialization.get_safe_globals())


def zipped(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("net.pth"))
    return buffer.getvalue()


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def scripted() -> bytes:
    return saved(lambda buffer: torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), buffer))


def exported() -> bytes:
    return saved(lambda buffer: torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), buffer))


OTHER_FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "LFS": (
        "is a git-LFS pointer, not the file itself: fetch the file with 'git lfs pull'",
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 36951237\n",
    ),
    "HTML": ("is a web page (HTML or XML): ", lambda: b"\n<!DOCTYPE html>\n<html><body>404</body></html>"),
    "XML": ("download it again", lambda: b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    "zip": ("is a zip archive: unpack it, and give what it holds", lambda: zipped({"net.pth": b"x"})),
    "gzip": ("is a gzip archive: unpack it", lambda: gzip.compress(b"x")),
    "bzip2": ("is a bzip2 archive: unpack it", lambda: bz2.compress(b"x")),
    "xz": ("is a xz archive: unpack it", lambda: lzma.compress(b"x")),
    "tar": ("is a tar archive: unpack it", tarred),
    "7z": ("is a 7z archive: unpack it", lambda: b"7z\xbc\xaf\x27\x1c" + bytes(40)),
    "npz": (
        "is numpy's .npz: save its tensors by name as safetensors",
        lambda: saved(lambda buffer: np.savez(buffer, weight=np.ones(3))),
    ),
    "npy": ("is a numpy array (.npy): save", lambda: saved(lambda buffer: np.save(buffer, np.ones(3)))),
    "HDF5": ("is an HDF5 file, as Keras writes them: save", lambda: b"\x89HDF\r\n\x1a\n" + bytes(40)),
    "Keras": ("is a Keras model: save", lambda: zipped({"config.json": b"{}", "model.weights.h5": b""})),
    "TorchScript": ("is a TorchScript archive: save its weights alone: torch.save(torch.jit.load(", scripted),
    "export": ("is a torch.export archive: save its weights alone: torch.save(torch.export.load(", exported),
    "whole model": (
        "holds a whole pickled model, which only its own code can load: load it "
        "where that is, and save torch.save(model.state_dict(), ...)",
        lambda: saved(lambda buffer: torch.save(nn.Sequential(nn.Linear(2, 2)), buffer)),
    ),
    "whole model, under a key": (
        "holds a whole pickled model, ",
        lambda: saved(lambda buffer: torch.save({"model": Net(), "best": torch.ones(1), "epoch": 3}, buffer)),
    ),
    "whole model before torch 1.6": (
        "holds a whole pickled model, ",
        lambda: saved(lambda buffer: torch.save(Net(), buffer, _use_new_zipfile_serialization=False)),
    ),
    "pickle": ("is a pickle that torch.save did not write", lambda: pickle.dumps({"weight": np.ones(3)}, protocol=2)),
    "pickled state_dict": (
        "is a pickle that torch.save did not write",
        lambda: pickle.dumps(dict(Net().state_dict()), protocol=4),
    ),
    "newer pickle protocol": (
        "is pickled by protocol 4: save it again with torch.save's own",
        lambda: saved(lambda buffer: torch.save(Net().state_dict(), buffer, pickle_protocol=4)),
    ),
    "JSON": ("is a text file", lambda: json.dumps({"error": "rate limit exceeded"}, indent=1).encode()),
    "text": ("is a text file", lambda: b"Access denied\n"),
    "empty": ("is empty: it was not written or downloaded to its end", bytes),
    "PNG": ("is a PNG image: name another file", lambda: b"\x89PNG\r\n\x1a\n" + bytes(40)),
}


@pytest.mark.parametrize("form", OTHER_FILES)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_another_file_is_called_by_its_right_name_with_what_to_do(form: str, suffix: str, tmp_path: Path) -> None:
    expected, content = OTHER_FILES[form]
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content())
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint_(Net(), path)
    message = str(caught.value)
    assert f"'{path}' {expected}" in message if expected.startswith(("is", "holds")) else expected in message
    assert "\n" not in message
    assert "damaged" not in message
    assert "could run code" not in message
