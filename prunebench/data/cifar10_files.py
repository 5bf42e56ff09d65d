"""CIFAR-10 as its authors publish it (for Python, for C, for MATLAB), as numpy arrays, and as Parquet.

Each function takes the files at one place and gives training and test set, in the published order where that is kept.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch

from prunebench.data.archives import Files
from prunebench.data.examples import Examples
from prunebench.data.folders import Progress, decoded, label_of, split_of
from prunebench.errors import DataError

Halves = tuple[Examples, Examples]

BATCHES = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")

PYTHON_MD5 = dict(
    zip(
        BATCHES,
        (
            "c99cafc152244af753f735de768cd75f",
            "d4bba439e000b95fd0a9bffe97cbabec",
            "54ebc095f3ab1f0389bbae665268c751",
            "634d18415352ddfa80567beed471001a",
            "482c414d41f54cd18b22e5b47cb7c3cb",
            "40351d587109b95175f43aff81a1287e",
        ),
        strict=True,
    )
)
"""Of the files in `cifar-10-python.tar.gz`, as torchvision has them."""

BINARY_SHA1 = (
    "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "67eb016db431130d61cd03c7ad570b013799c88c",
)
"""Of the files in `cifar-10-binary.tar.gz`, five of training and one of test images, as MXNet has them."""

ROW = 1 + 3 * 32 * 32
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def is_published(train: Examples, test: Examples) -> bool:
    """True where images, labels and order are the published ones: written as the binary version, they have its sums."""
    if train.inputs.shape[1:] != (3, 32, 32) or test.inputs.shape[1:] != (3, 32, 32):
        return False
    batches = [*zip(train.inputs.chunk(5), train.targets.chunk(5), strict=True), (test.inputs, test.targets)]
    return len(batches) == len(BINARY_SHA1) and all(
        hashlib.sha1(binary_batch(Examples(*batch)), usedforsecurity=False).hexdigest() == expected
        for batch, expected in zip(batches, BINARY_SHA1, strict=True)
    )


def binary_batch(images: Examples) -> bytes:
    """Images as the binary version has them: a byte for the label, then the red, green and blue rows."""
    pixels = images.inputs.contiguous().flatten(1)
    return torch.cat([images.targets.to(torch.uint8)[:, None], pixels], dim=1).numpy().tobytes()


def read_batches(files: Files, names: Sequence[str]) -> Halves:
    """Read the six files of the Python, binary or MATLAB version; `names` are those, in any order.

    Raises:
        DataError: one is missing or damaged. The Python version is unpickled only where it is the published file: a
            pickle can run code.
    """
    batches: dict[str, Examples] = {}
    for name, content in files.read(names):
        stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
        images, labels = BATCH_READERS[suffix](files, name, content)
        pixels = torch.from_numpy(np.ascontiguousarray(images)).view(-1, 3, 32, 32)
        batches[stem] = Examples(_channels_last(pixels), torch.from_numpy(labels.astype(np.int64)))
    if missing := [name for name in BATCHES if name not in batches]:
        raise DataError(f"'{files.path}' has no '{missing[0]}': expected the six files of the published data set")
    train = [batches[name] for name in BATCHES[:5]]
    images = _channels_last(torch.cat([batch.inputs for batch in train]))
    return Examples(images, torch.cat([batch.targets for batch in train])), batches["test_batch"]


def _python_batch(files: Files, name: str, content: bytes) -> tuple[Any, Any]:
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != PYTHON_MD5[PurePosixPath(name).name]:
        raise DataError(
            f"'{files.path}' holds {name!r}, which is not the published file: it is damaged or changed, get it again"
        )
    batch = pickle.loads(content, encoding="latin1")  # noqa: S301 - these very bytes are known to be harmless
    return batch["data"], np.asarray(batch["labels"])


def _binary_batch(files: Files, name: str, content: bytes) -> tuple[Any, Any]:
    if not content or len(content) % ROW:
        raise DataError(f"'{files.path}' holds {name!r} of {len(content):,} bytes: expected {ROW:,} an image")
    rows = np.frombuffer(content, np.uint8).reshape(-1, ROW)
    return rows[:, 1:], rows[:, 0]


def _matlab_batch(files: Files, name: str, content: bytes) -> tuple[Any, Any]:
    from scipy.io import loadmat

    try:
        batch = loadmat(io.BytesIO(content))
        images, labels = batch["data"], batch["labels"].reshape(-1)
    except Exception as error:  # whatever damage leads the reader to
        raise DataError(f"'{files.path}' holds {name!r}, which cannot be read as MATLAB's: {error}") from error
    if images.dtype != np.uint8 or images.shape != (len(labels), ROW - 1) or labels.dtype.kind not in "iu":
        raise DataError(
            f"'{files.path}' holds {name!r} with {images.dtype} of shape {images.shape} and {len(labels):,} labels of "
            f"{labels.dtype}: expected uint8 of shape (images, {ROW - 1}) and a class number for each"
        )
    return images, labels


BATCH_READERS: dict[str, Callable[[Files, str, bytes], tuple[Any, Any]]] = {
    "": _python_batch,
    ".bin": _binary_batch,
    ".mat": _matlab_batch,
}


def read_arrays(files: Files, names: Sequence[str]) -> Halves:
    """Read Keras's `x_train`, `y_train`, `x_test` and `y_test`, each a `.npy` (an `.npz` is a zip of these).

    Raises:
        DataError: one is missing, damaged, or of another type or shape.
    """
    arrays: dict[str, Any] = {}
    for name, content in files.read(names):
        try:
            arrays[PurePosixPath(name).stem.lower()] = np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError, OSError, MemoryError) as error:
            raise DataError(f"'{files.path}' holds {name!r}, which cannot be read as numbers: {error}") from error
    if missing := [name for name in ARRAYS if name not in arrays]:
        raise DataError(f"'{files.path}' has no '{missing[0]}': expected {', '.join(ARRAYS)}")
    halves = []
    for split in ("train", "test"):
        images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if images.dtype != np.uint8 or images.shape[1:] not in {(32, 32, 3), (3, 32, 32)}:
            raise DataError(
                f"'{files.path}' has x_{split} of {images.dtype} and shape {images.shape}: expected uint8 values of "
                "0 to 255 and shape (images, 32, 32, 3)"
            )
        if labels.dtype.kind not in "iu" or labels.size != len(images):
            raise DataError(
                f"'{files.path}' has y_{split} of {labels.dtype} and shape {labels.shape}: expected a class number for "
                f"each of {len(images):,} images"
            )
        pixels = torch.from_numpy(images)
        pixels = pixels.permute(0, 3, 1, 2) if images.shape[1:] == (32, 32, 3) else _channels_last(pixels)
        halves.append(Examples(pixels, torch.from_numpy(labels.reshape(-1).astype(np.int64))))
    return halves[0], halves[1]


def parquet_splits(names: Sequence[str]) -> dict[str, list[str]]:
    """Parquet files by split, which their name starts with (`train-00000-of-00001`) or their folder has."""
    splits: dict[str, list[str]] = {}
    for name in sorted(names):
        *folders, file = PurePosixPath(name).parts
        told = [file.replace("_", "-").replace(".", "-").partition("-")[0], *reversed(folders)]
        if split := next(filter(None, map(split_of, told)), None):
            splits.setdefault("train" if split == "train" else "test", []).append(name)
    return splits


def read_parquet(
    files: Files, names: Sequence[str], classes: Sequence[str], *, progress: Progress | None = None
) -> Halves:
    """Read Parquet files with a column of encoded images and one of labels, as Hugging Face has them.

    Raises:
        DataError: pyarrow is not installed, a split is missing, or a file is damaged or has other columns.
    """
    splits = parquet_splits(names)
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for split in labels:
        if split not in splits:
            raise DataError(f"'{files.path}' has no Parquet file called {split}-*: expected those of train and of test")
    contents = dict(files.read([name for split in labels for name in splits[split]]))
    rows = (
        row
        for split, found in labels.items()
        for name in splits[split]
        for row in _rows(files, name, contents.pop(name), classes, found)
    )
    images = [*decoded(files.path, rows, progress=progress).values()]
    for split, found in labels.items():
        if not found:
            raise DataError(f"'{files.path}' has no images in its Parquet files of {split}")
    stacked, count = torch.stack(images).permute(0, 3, 1, 2), len(labels["train"])
    return (
        Examples(stacked[:count], torch.tensor(labels["train"])),
        Examples(stacked[count:], torch.tensor(labels["test"])),
    )


def _rows(
    files: Files, name: str, content: bytes, classes: Sequence[str], labels: list[int]
) -> Iterator[tuple[str, bytes]]:
    """Each image of a Parquet file, encoded; its label goes to `labels`."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError(f"'{files.path}' holds Parquet files, which pyarrow reads: pip install pyarrow") from error
    try:
        table = ParquetFile(io.BytesIO(content))
        columns = {column.lower(): column for column in table.schema_arrow.names}
        image = next((columns[column] for column in ("img", "image", "images") if column in columns), None)
        label = next((columns[column] for column in ("label", "labels") if column in columns), None)
        if image is None or label is None:
            raise DataError(f"'{files.path}' holds {name!r} with columns {[*columns]}: expected img and label")
        row = 0
        for batch in table.iter_batches(batch_size=1000, columns=[image, label]):
            for picture, which in zip(batch[image].to_pylist(), batch[label].to_pylist(), strict=True):
                encoded = picture.get("bytes") if isinstance(picture, dict) else picture
                number = label_of(str(which), classes)
                if not isinstance(encoded, bytes) or number is None:
                    raise DataError(
                        f"'{files.path}' holds {name!r} with label {which!r} and {type(encoded).__name__} in row {row}"
                        ": expected an encoded image and the number of a class"
                    )
                labels.append(number)
                yield f"{name}, row {row}", encoded
                row += 1
    except (pyarrow.ArrowException, OSError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"'{files.path}' holds {name!r}, which cannot be read as Parquet: {reason}") from error


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    return images.contiguous(memory_format=torch.channels_last)
