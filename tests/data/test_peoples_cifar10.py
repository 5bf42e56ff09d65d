"""CIFAR-10 as people hold it: one small data set in every packing, equal to the last pixel, and what is refused.

Thirty random images stand for the data set; counts and published sums are set to fit.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from prunebench.data import CIFAR10_CLASSES, Dataset, Examples, load_cifar10, verify_source
from prunebench.data.cifar10_files import BATCHES, PYTHON_MD5, binary_batch
from prunebench.errors import DataError, DataNotFoundError

Content = dict[str, bytes]

TRAIN, TEST = 20, 10
STEP = TRAIN // 5


@cache
def expected() -> Dataset:
    """The data set, in the published order."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (TRAIN + TEST, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.cat([torch.randperm(10, generator=generator) for _ in range(3)])
    return Dataset(
        name="cifar10",
        train=Examples(images[:TRAIN], labels[:TRAIN]),
        test=Examples(images[TRAIN:], labels[TRAIN:]),
        classes=CIFAR10_CLASSES,
        origin="made here",
    )


def batches() -> dict[str, Examples]:
    train = expected().train
    parts = [train.take(torch.arange(n * STEP, (n + 1) * STEP)) for n in range(5)]
    return dict(zip(BATCHES, [*parts, expected().test], strict=True))


def rows(batch: Examples) -> Any:
    return batch.inputs.contiguous().flatten(1).numpy()


def python_version(protocol: int = 2) -> Content:
    return {
        name: pickle.dumps({"data": rows(batch), "labels": batch.targets.tolist()}, protocol)
        for name, batch in batches().items()
    }


def binary_version() -> Content:
    return {f"{name}.bin": binary_batch(batch) for name, batch in batches().items()}


def matlab_version() -> Content:
    content = {}
    for name, batch in batches().items():
        buffer = io.BytesIO()
        labels = batch.targets.numpy().astype(np.uint8)[:, None]
        savemat(buffer, {"data": rows(batch), "labels": labels, "batch_label": name})
        content[f"{name}.mat"] = buffer.getvalue()
    return content


def arrays(*, channels_first: bool = False, flat: bool = True) -> dict[str, Any]:
    made = {}
    for split, half in (("train", expected().train), ("test", expected().test)):
        images = half.inputs if channels_first else half.inputs.permute(0, 2, 3, 1)
        made[f"x_{split}"] = images.contiguous().numpy()
        made[f"y_{split}"] = half.targets.numpy().astype(np.uint8) if flat else half.targets.numpy()[:, None]
    return made


def npz(made: Mapping[str, Any], *, compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **made)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def png(image: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(half: Examples, *, image: str = "img", label: str = "label", bare: bool = False) -> bytes:
    pyarrow: Any = pytest.importorskip("pyarrow", reason="Parquet is read with pyarrow, which is not installed")
    writer: Any = pytest.importorskip("pyarrow.parquet")
    encoded = [png(picture) for picture in half.inputs]
    pictures = encoded if bare else [{"bytes": content, "path": None} for content in encoded]
    buffer = io.BytesIO()
    writer.write_table(pyarrow.table({image: pictures, label: half.targets.tolist()}), buffer)
    return buffer.getvalue()


def hugging_face(prefix: str = "plain_text/") -> Content:
    return {
        f"{prefix}train-00000-of-00001.parquet": parquet(expected().train),
        f"{prefix}test-00000-of-00001.parquet": parquet(expected().test),
        "README.md": b"---\n",
    }


def hugging_face_in_shards() -> Content:
    train = expected().train
    halves = [train.take(torch.arange(0, 12)), train.take(torch.arange(12, TRAIN))]
    return {
        **{f"data/train/{n:04}.parquet": parquet(half, image="image", bare=True) for n, half in enumerate(halves)},
        "data/validation/0000.parquet": parquet(expected().test, image="image"),
    }


def within(folder: str, content: Content) -> Content:
    return {f"{folder}/{name}": data for name, data in content.items()}


def tar(content: Content) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zipped(content: Content) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def written(root: Path, content: Content) -> Path:
    for name, data in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thirty images are the published data set."""
    monkeypatch.delenv("PRUNEBENCH_DATA", raising=False)
    monkeypatch.setattr("prunebench.data.cifar10.EXPECTED_COUNTS", {"train": TRAIN, "test": TEST})
    md5 = {name: hashlib.md5(data).hexdigest() for name, data in python_version().items()}
    monkeypatch.setattr("prunebench.data.cifar10_files.PYTHON_MD5", md5)
    sums = tuple(hashlib.sha1(data).hexdigest() for data in binary_version().values())
    monkeypatch.setattr("prunebench.data.cifar10_files.BINARY_SHA1", sums)


PY, BIN, MAT = "cifar-10-batches-py", "cifar-10-batches-bin", "cifar-10-batches-mat"

AS_FOLDER: dict[str, Callable[[], Content]] = {
    "Python": lambda: within(PY, python_version() | {"batches.meta": b"", "readme.html": b""}),
    "Python, the folder itself": python_version,
    "Python, one too high": lambda: within(f"data/{PY}", python_version()),
    "Python beside its archive": lambda: within(PY, python_version()) | {"cifar-10-python.tar.gz": b"cut short"},
    "Python's archive": lambda: {"cifar-10-python.tar.gz": tar(within(PY, python_version()))},
    "its archive among others": lambda: {
        "cifar-10-python.tar.gz": tar(within(PY, python_version())),
        "cifar-100-python.tar.gz": b"x",
        "mnist.npz": b"x",
    },
    "Keras' cache": lambda: within(f"{PY}-target/{PY}", python_version()) | {f"{PY}.tar.gz": b"x"},
    "binary": lambda: within(BIN, binary_version() | {"batches.meta.txt": b""}),
    "binary, the folder itself": binary_version,
    "MATLAB": lambda: within(MAT, matlab_version()),
    "npz": lambda: {"cifar10.npz": npz(arrays())},
    "npy": lambda: {f"{name}.npy": npy(array) for name, array in arrays().items()},
    "Hugging Face": hugging_face,
    "Hugging Face, one too high": lambda: within("cifar10", hugging_face()),
    "Hugging Face, the folder itself": lambda: hugging_face(prefix=""),
    "Hugging Face in shards": hugging_face_in_shards,
}

AS_FILE: dict[str, Callable[[], bytes]] = {
    "Python": lambda: tar(within(PY, python_version())),
    "Python, zipped": lambda: zipped(within(PY, python_version())),
    "binary": lambda: tar(within(BIN, binary_version())),
    "MATLAB": lambda: tar(within(MAT, matlab_version())),
    "npz": lambda: npz(arrays()),
    "npz, compressed, channels first, labels in a column": lambda: npz(
        arrays(channels_first=True, flat=False), compressed=True
    ),
    "Parquet, zipped": lambda: zipped(hugging_face()),
}


@pytest.mark.parametrize("form", AS_FOLDER)
def test_a_folder_in_every_form_is_the_same_data_set_and_the_original(form: str, tmp_path: Path) -> None:
    path = written(tmp_path / "somewhere", AS_FOLDER[form]())
    dataset = load_cifar10(path)
    assert expected().digest == dataset.digest
    assert dataset.is_original
    assert str(path) == dataset.origin
    assert dataset.train.inputs.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("form", AS_FILE)
@pytest.mark.parametrize("name", ["cifar-10.tar.gz", "my data", "download.zip"])
def test_a_file_in_every_form_is_the_same_data_set_whatever_it_is_called(form: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(AS_FILE[form]())
    for _ in range(2):  # decoded, and from the decoded copy
        dataset = load_cifar10(path)
        assert expected().digest == dataset.digest
        assert dataset.is_original
        assert str(path) == dataset.origin


@pytest.mark.parametrize("form", AS_FOLDER)
def test_what_is_decoded_is_kept_and_verified_and_the_rest_read_each_time(
    form: str, tmp_path: Path, own_cache: Path
) -> None:
    path = written(tmp_path / "somewhere", AS_FOLDER[form]())
    dataset = load_cifar10(path)
    decoded = form.startswith("Hugging Face")
    assert decoded == bool([*own_cache.rglob("*.safetensors")])
    assert decoded == verify_source(dataset)


def class_folders() -> Content:
    return {
        f"{split}/{CIFAR10_CLASSES[label]}/{number:04}.png": png(image)
        for split, half in (("train", expected().train), ("test", expected().test))
        for number, (image, label) in enumerate(zip(half.inputs, half.targets.tolist(), strict=True))
    }


FOLDERS: dict[str, Callable[[str], str]] = {
    "as they are": lambda name: name,
    "capitals": lambda name: "/".join(part.capitalize() for part in name.split("/")),
    "numbered": lambda name: "/".join(
        str(CIFAR10_CLASSES.index(part)) if part in CIFAR10_CLASSES else part for part in name.split("/")
    ),
    "val": lambda name: name.replace("test/", "val/"),
    "valid": lambda name: name.replace("test/", "valid/"),
    "one too high": lambda name: f"cifar10/{name}",
}


@pytest.mark.parametrize("form", FOLDERS)
@pytest.mark.parametrize("packed", [None, tar, zipped], ids=["folder", "tar", "zip"])
def test_class_folders_have_the_images_by_class_and_are_not_the_original_order(
    form: str, packed: Callable[[Content], bytes] | None, tmp_path: Path
) -> None:
    content = {FOLDERS[form](name): data for name, data in class_folders().items()}
    path = tmp_path / "data"
    path.write_bytes(packed(content)) if packed else written(path, content)
    dataset = load_cifar10(path)
    for half, given in ((expected().train, dataset.train), (expected().test, dataset.test)):
        order = half.targets.argsort(stable=True)
        assert half.take(order).digest == given.digest
    assert not dataset.is_original


def test_a_decoded_copy_is_found_by_what_it_was_decoded_from_and_not_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "cifar10.zip"
    path.write_bytes(zipped(hugging_face()))
    assert load_cifar10(path).is_original
    path.write_bytes(zipped(class_folders()))
    dataset = load_cifar10(path)
    assert expected().digest != dataset.digest
    assert not dataset.is_original


@pytest.mark.parametrize("form", ["binary", "npz", "MATLAB", "Hugging Face"])
def test_one_changed_pixel_or_label_is_not_the_original(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = expected().digest
    for part in ("inputs", "targets"):
        changed = Examples(expected().test.inputs.clone(), expected().test.targets.clone())
        value = getattr(changed, part).view(-1)[-1:]
        value.copy_((value + 1) % 10)
        with monkeypatch.context() as patch:
            patch.setitem(vars(expected()), "test", changed)
            content = AS_FOLDER[form]()
        dataset = load_cifar10(written(tmp_path / part, content))
        assert changed.digest == dataset.test.digest
        assert original != dataset.digest
        assert not dataset.is_original


def test_pickles_other_than_the_published_are_refused_and_not_unpickled(tmp_path: Path) -> None:
    class Touches:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    content = python_version() | {"data_batch_3": pickle.dumps(Touches())}
    for path in (written(tmp_path / PY, content), tmp_path / "packed.tar.gz"):
        if path.suffix:
            path.write_bytes(tar(within(PY, content)))
        with pytest.raises(DataError, match="data_batch_3', which is not the published file: it is damaged or changed"):
            load_cifar10(path)
    assert not (tmp_path / "ran").exists()


def without(content: Content, *names: str) -> Content:
    return {name: data for name, data in content.items() if name not in names}


def kaggle() -> Content:
    content = {f"{split}/{n}.png": png(expected().train.inputs[n]) for split in ("train", "test") for n in range(3)}
    return content | {"trainLabels.csv": b"id,label\n0,frog\n", "sampleSubmission.csv": b"id,label\n"}


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 119705255\n"

REFUSED: dict[str, tuple[str, Callable[[], Content]]] = {
    "Kaggle": ("is Kaggle's CIFAR-10 ('trainLabels.csv'): its test images have no labels", kaggle),
    "Kaggle, packed": (
        "is Kaggle's CIFAR-10",
        lambda: {"train.7z": b"", "test.7z": b"", "trainLabels.csv": b"id,label\n"},
    ),
    "five batches": ("has no 'data_batch_3'", lambda: without(python_version(), "data_batch_3")),
    "no test batch": ("has no 'test_batch'", lambda: without(binary_version(), "test_batch.bin")),
    "a cut batch": (
        "'data_batch_1.bin' of 12,291 bytes: expected 3,073 an image",
        lambda: binary_version() | {"data_batch_1.bin": binary_version()["data_batch_1.bin"][:-1]},
    ),
    "an empty batch": ("'test_batch.bin' of 0 bytes", lambda: binary_version() | {"test_batch.bin": b""}),
    "labels of CIFAR-100": (
        "has train labels that are no class: expected 0 to 9",
        lambda: binary_version() | {"data_batch_2.bin": b"\x63" + binary_version()["data_batch_2.bin"][1:]},
    ),
    "a damaged MATLAB file": (
        "'test_batch.mat', which cannot be read as MATLAB's",
        lambda: matlab_version() | {"test_batch.mat": b"MATLAB" * 100},
    ),
    "floats": (
        "has x_train of float32 and shape (20, 32, 32, 3): expected uint8",
        lambda: {"c.npz": npz(arrays() | {"x_train": arrays()["x_train"] / np.float32(255)})},
    ),
    "one-hot labels": (
        "has y_test of uint8 and shape (10, 10): expected a class number for each of 10 images",
        lambda: {"c.npz": npz(arrays() | {"y_test": np.eye(10, dtype=np.uint8)})},
    ),
    "no labels": ("has no 'y_test'", lambda: {"c.npz": npz(without(arrays(), "y_test"))}),  # type: ignore[arg-type]
    "pickled arrays": (
        "cannot be read as numbers",
        lambda: {"c.npz": npz(arrays() | {"y_test": np.array([{}] * TEST, dtype=object)})},
    ),
    "a cut array": ("cannot be read as numbers", lambda: {"x_train.npy": npy(arrays()["x_train"])[:-1]}),
    "a pointer to Parquet": (
        "holds 'plain_text/test-00000-of-00001.parquet', which is a git-LFS pointer, not the file itself: fetch",
        lambda: hugging_face() | {"plain_text/test-00000-of-00001.parquet": LFS},
    ),
    "a cut Parquet": (
        "holds 'test-0.parquet', which cannot be read as Parquet",
        lambda: {"train-0.parquet": parquet(expected().train), "test-0.parquet": parquet(expected().test)[:-9]},
    ),
    "Parquet of something else": (
        "holds 'train-0.parquet' with columns ['text', 'label']: expected img and label",
        lambda: {
            "train-0.parquet": parquet(expected().train, image="text"),
            "test-0.parquet": parquet(expected().test, image="text"),
        },
    ),
    "Parquet without test": ("has no Parquet file called test-*", lambda: {"train-0.parquet": b"PAR1"}),
    "Arrow": ("holds Arrow files: save each split as Parquet", lambda: {"train/data-00000-of-00001.arrow": b"ARROW1"}),
    "two archives": (
        "holds 'a.zip', 'b.zip': name the one that is CIFAR-10",
        lambda: {"a.zip": zipped({"x": b""}), "b.zip": zipped({"x": b""})},
    ),
    "half of the images": (
        "has train images of shape (16, 3, 32, 32): expected CIFAR-10's (20, 3, 32, 32)",
        lambda: {"c.npz": npz(arrays() | {k: v[:16] for k, v in arrays().items() if k.endswith("train")})},
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_used_is_refused_with_the_reason_and_not_kept(
    form: str, tmp_path: Path, own_cache: Path
) -> None:
    reason, content = REFUSED[form]
    path = written(tmp_path / "somewhere", content())
    with pytest.raises(DataError) as caught:
        load_cifar10(path)
    message = str(caught.value)
    assert reason in message
    assert str(path) in message
    assert "\n" not in message
    assert [] == [*own_cache.rglob("*.safetensors")]


@pytest.mark.parametrize(
    ("expected_words", "content"),
    [
        ("is a git-LFS pointer, not the file itself: fetch the file with 'git lfs pull'", LFS),
        ("is a web page (HTML or XML): ", b"<!DOCTYPE html><html>Quota exceeded</html>"),
        ("is a Parquet file: give the folder that holds those of train and test", b"PAR1" + bytes(50)),
        ("is an HDF5 file", b"\x89HDF\r\n\x1a\n" + bytes(50)),
        ("is a rar archive: unpack it", b"Rar!\x1a\x07\1\0"),
        ("is empty: it was not written or downloaded to its end", b""),
    ],
)
def test_another_file_is_called_by_its_right_name(expected_words: str, content: bytes, tmp_path: Path) -> None:
    for name in ("cifar-10-python.tar.gz", "data"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            load_cifar10(path)
        assert f"'{path}' {expected_words}" in str(caught.value)


def test_without_pyarrow_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "cifar10", hugging_face())
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(DataError, match="holds Parquet files, which pyarrow reads: pip install pyarrow"):
        load_cifar10(path)


def test_a_path_that_is_no_utf_8_is_read_kept_and_can_be_printed(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9")
    written(path, class_folders())
    dataset = load_cifar10(path)
    assert load_cifar10(path).digest == dataset.digest
    assert verify_source(dataset)
    assert dataset.origin.endswith("/caf\\xe9")
    dataset.origin.encode()


def test_a_folder_of_many_data_sets_is_not_searched_where_the_published_folder_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunebench.data.archives.MOST_FILES", 10)
    content = within(PY, python_version()) | {f"imagenet/train/{n}/0.png": b"x" for n in range(20)}
    assert expected().digest == load_cifar10(written(tmp_path / "data", content)).digest


def test_a_folder_of_links_to_a_store_is_read(tmp_path: Path) -> None:
    """As Hugging Face's cache has it: a snapshot of links to blobs."""
    root = tmp_path / "snapshot"
    for name, data in hugging_face().items():
        blob = tmp_path / "blobs" / hashlib.sha256(data).hexdigest()
        written(tmp_path, {str(blob.relative_to(tmp_path)): data})
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(blob)
    assert expected().digest == load_cifar10(root).digest


def test_the_download_is_torchvisions_and_is_read_as_the_folder_it_leaves(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets: Any = pytest.importorskip("torchvision.datasets")

    def download(_: object, root: str, *, download: bool) -> None:
        assert download
        written(Path(root) / PY, python_version())

    monkeypatch.setattr(datasets.CIFAR10, "__init__", download)
    dataset = load_cifar10()
    assert expected().digest == dataset.digest
    assert dataset.is_original
    assert str(own_cache / "cifar10") == dataset.origin


def test_nothing_at_all_is_not_found(tmp_path: Path) -> None:
    for name in (PY, "empty"):
        (tmp_path / name).mkdir()
        with pytest.raises(DataNotFoundError, match="is no CIFAR-10: give it with --data"):
            load_cifar10(tmp_path / name)


def test_the_published_sums_are_those_that_torchvision_has() -> None:
    datasets: Any = pytest.importorskip("torchvision.datasets")
    assert dict(datasets.CIFAR10.train_list + datasets.CIFAR10.test_list) == PYTHON_MD5
