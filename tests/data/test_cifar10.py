"""CIFAR-10 from every place it can be in: found, decoded once, checked, and refused in one line where it is wrong.

Most tests read a data set of thirty images in CIFAR-10's layout, with the expected counts set to fit; one reads the
real archive where `PRUNEBENCH_DATA` names it.
"""

from __future__ import annotations

import io
import lzma
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from prunebench.data import CIFAR10_CLASSES, load_cifar10
from prunebench.data.cifar10 import verify_source
from prunebench.errors import DataError, DataNotFoundError, StorageError
from prunebench.storage.files import CACHE_VARIABLE

PER_CLASS = {"train": 2, "test": 1}


@pytest.fixture(autouse=True)
def cache(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no data named by the environment."""
    monkeypatch.delenv("PRUNEBENCH_DATA", raising=False)
    return own_cache


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 as if it had 20 training and 10 test images."""
    monkeypatch.setattr("prunebench.data.cifar10.EXPECTED_COUNTS", {split: 10 * n for split, n in PER_CLASS.items()})


def tree(size: int = 32) -> dict[str, bytes]:
    generator, content = np.random.default_rng(0), {}
    for split, count in PER_CLASS.items():
        for label in CIFAR10_CLASSES:
            for n in range(count):
                buffer = io.BytesIO()
                pixels = generator.integers(0, 256, (size, size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(buffer, "PNG")
                content[f"{split}/{label}/{n:04}.png"] = buffer.getvalue()
    return content


def write_folder(root: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_archive(path: Path, content: dict[str, bytes]) -> Path:
    with lzma.open(path, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def decoded(path: Path) -> int:
    """How many images loading `path` decodes: none where a cached copy is used."""
    counts = [0]
    load_cifar10(path, progress=counts.append)
    return max(counts)


def one_line(error: BaseException) -> str:
    assert "\n" not in str(error)
    return str(error)


def assert_names_the_ways(error: BaseException) -> None:
    message = one_line(error)
    for way in ("--data", "PRUNEBENCH_DATA", "cifar-10-batches-py", "train/CLASS/*.jpg", ".npz", "Parquet", "download"):
        assert way in message


def test_an_absent_path_is_refused_with_the_ways_to_give_it(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as caught:
        load_cifar10(tmp_path / "nothing")
    assert str(tmp_path / "nothing") in str(caught.value)
    assert_names_the_ways(caught.value)


@pytest.mark.parametrize(
    "content", [{}, {"notes.txt": b""}, {"example.png": b""}, {"cat/1.png": b"", "dog/1.png": b""}]
)
def test_a_folder_that_holds_neither_layout_is_refused_with_the_ways(tmp_path: Path, content: dict[str, bytes]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_folder(folder, content)
    with pytest.raises(DataNotFoundError) as caught:
        load_cifar10(folder)
    assert_names_the_ways(caught.value)


def test_a_file_that_is_no_archive_is_refused_with_the_ways(tmp_path: Path) -> None:
    (tmp_path / "cifar").write_bytes(random.Random(0).randbytes(1000))
    with pytest.raises(DataNotFoundError) as caught:
        load_cifar10(tmp_path / "cifar")
    assert_names_the_ways(caught.value)


def test_without_a_path_and_a_network_it_is_refused_with_the_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets: Any = pytest.importorskip("torchvision.datasets")

    def offline(_: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(datasets.CIFAR10, "download", offline)
    with pytest.raises(DataNotFoundError) as caught:
        load_cifar10()
    assert "no network" in str(caught.value)
    assert_names_the_ways(caught.value)


@pytest.mark.usefixtures("few_images")
def test_a_folder_and_an_archive_of_it_are_the_same_data_set(tmp_path: Path) -> None:
    folder = load_cifar10(write_folder(tmp_path / "folder", tree()))
    archive = load_cifar10(write_archive(tmp_path / "cifar.tar.xz", tree()))
    assert folder.digest == archive.digest
    assert CIFAR10_CLASSES == archive.classes
    assert sorted(range(10)) == archive.test.targets.tolist()
    assert [label for label in range(10) for _ in range(2)] == archive.train.targets.tolist()


@pytest.mark.usefixtures("few_images")
def test_the_environment_variable_names_the_data_where_no_path_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_archive(tmp_path / "cifar.tar.xz", tree())
    monkeypatch.setenv("PRUNEBENCH_DATA", str(path))
    assert str(path) == load_cifar10().origin


@pytest.mark.usefixtures("few_images")
def test_a_path_given_goes_before_the_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_archive(tmp_path / "cifar.tar.xz", tree())
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path / "nothing"))
    assert str(path) == load_cifar10(path).origin


def test_fewer_images_than_cifar10_has_are_refused_and_not_cached(tmp_path: Path, cache: Path) -> None:
    path = write_archive(tmp_path / "cifar.tar.xz", tree())
    with pytest.raises(DataError, match=r"\(20, 3, 32, 32\): expected CIFAR-10's \(50000, 3, 32, 32\)") as caught:
        load_cifar10(path)
    assert str(path) in one_line(caught.value)
    assert [] == list(cache.rglob("*.safetensors"))


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize(("gone", "kind"), [("train/cat/0001.png", "train"), ("train/truck/0000.png", "train")])
def test_one_missing_image_is_refused(tmp_path: Path, gone: str, kind: str) -> None:
    content = {name: data for name, data in tree().items() if name != gone}
    with pytest.raises(DataError, match=f"has {kind} images of shape"):
        load_cifar10(write_archive(tmp_path / "cifar.tar.xz", content))


@pytest.mark.usefixtures("few_images")
def test_one_image_too_many_is_refused(tmp_path: Path) -> None:
    content = tree()
    content["test/cat/0002.png"] = content["test/cat/0000.png"]
    with pytest.raises(DataError, match=r"has test images of shape \(11, 3, 32, 32\)"):
        load_cifar10(write_archive(tmp_path / "cifar.tar.xz", content))


@pytest.mark.usefixtures("few_images")
def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(20, 3, 16, 16\): expected CIFAR-10's \(20, 3, 32, 32\)"):
        load_cifar10(write_archive(tmp_path / "cifar.tar.xz", tree(size=16)))


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("as_archive", [True, False], ids=["archive", "folder"])
def test_images_are_decoded_once_and_then_read_from_the_cache(tmp_path: Path, cache: Path, as_archive: bool) -> None:
    path = write_archive(tmp_path / "c.tar.xz", tree()) if as_archive else write_folder(tmp_path / "c", tree())
    first = load_cifar10(path)
    assert 1 == len(list(cache.rglob("*.safetensors")))
    assert 0 == decoded(path)
    again = load_cifar10(path)
    assert first.digest == again.digest
    assert again.train.inputs.is_contiguous(memory_format=torch.channels_last)
    assert str(path) == again.origin


@pytest.mark.usefixtures("few_images")
def test_a_changed_source_is_decoded_again(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "cifar.tar.xz", tree())
    first = load_cifar10(path)
    content = tree()
    content["train/cat/0000.png"] = content["train/dog/0000.png"]
    write_archive(path, content)
    assert 30 == decoded(path)
    assert first.digest != load_cifar10(path).digest


def flip_a_pixel(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def change_a_label(file: Path) -> None:
    tensors = load_file(file)
    tensors["test.labels"][0] += 1
    save_file(tensors, file)


def lose_a_tensor(file: Path) -> None:
    tensors = load_file(file)
    save_file({name: tensor for name, tensor in tensors.items() if name != "test.images"}, file)


def flatten_the_images(file: Path) -> None:
    save_file({name: tensor.flatten() for name, tensor in load_file(file).items()}, file)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def overwrite(file: Path) -> None:
    file.write_bytes(random.Random(0).randbytes(5000))


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize(
    "damage", [flip_a_pixel, change_a_label, lose_a_tensor, flatten_the_images, truncate, empty, overwrite]
)
def test_a_damaged_cached_copy_is_made_again(tmp_path: Path, cache: Path, damage: Callable[[Path], None]) -> None:
    path = write_archive(tmp_path / "cifar.tar.xz", tree())
    first = load_cifar10(path)
    (kept,) = cache.rglob("*.safetensors")
    whole = kept.read_bytes()
    damage(kept)
    assert whole != kept.read_bytes()
    assert 30 == decoded(path)
    assert 0 == decoded(path)
    assert first.digest == load_cifar10(path).digest


@pytest.mark.usefixtures("few_images")
def test_a_cache_that_cannot_be_written_is_a_storage_error_naming_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError) as caught:
        load_cifar10(write_archive(tmp_path / "cifar.tar.xz", tree()))
    message = one_line(caught.value)
    assert str(tmp_path / "file" / "cache") in message
    assert CACHE_VARIABLE in message


@pytest.mark.usefixtures("few_images")
def test_a_truncated_archive_is_one_clear_error_and_leaves_no_cached_copy(tmp_path: Path, cache: Path) -> None:
    path = write_archive(tmp_path / "cifar.tar.xz", tree())
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="damaged or truncated") as caught:
        load_cifar10(path)
    assert str(path) in one_line(caught.value)
    assert [] == list(cache.rglob("*.safetensors"))


@pytest.mark.usefixtures("few_images")
def test_verifying_the_source_accepts_what_was_decoded_from_it_and_nothing_else(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "folder", tree())
    dataset = load_cifar10(path)
    assert verify_source(dataset)
    (path / "test" / "cat" / "0000.png").write_bytes(tree()["test/dog/0000.png"])
    with pytest.raises(DataError, match="the cached copy has"):
        verify_source(dataset)
