"""CIFAR-10 from wherever it is and however it is packed, or torchvision's download; what was decoded is kept."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from prunebench.data.archives import Files, is_archive, list_files
from prunebench.data.cifar10_files import (
    ARRAYS,
    BATCH_READERS,
    BATCHES,
    Halves,
    is_published,
    read_arrays,
    read_batches,
    read_parquet,
)
from prunebench.data.examples import Dataset, Examples
from prunebench.data.folders import Progress, class_images, read_class_folders, split_of
from prunebench.errors import DataError, DataNotFoundError, StorageError
from prunebench.storage.files import DATA_VARIABLE, cache_folder, data_source, file_digest, printable, replacing
from prunebench.storage.formats import other_format

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
EXPECTED_COUNTS = {"train": 50_000, "test": 10_000}
DECODER = "2"
"""Goes into the key of a decoded copy; raised when decoding or its order changes."""

PUBLISHED = ("cifar-10-batches-py", "cifar-10-batches-bin")
"""What the published archives hold: looked for first, so that a folder of many data sets need not be searched."""

PACKED = (".tar", ".tgz", ".txz", ".tbz2", ".tar.gz", ".tar.xz", ".tar.bz2", ".zip", ".npz")
KAGGLE_LABELS = "trainLabels.csv"

WAYS = (
    f"give it with --data PATH or {DATA_VARIABLE}=PATH, where PATH is (1) the published cifar-10-python.tar.gz or "
    f"cifar-10-binary.tar.gz, or the folder '{PUBLISHED[0]}' or '{PUBLISHED[1]}' in it, (2) a folder, .tar.xz or .zip "
    "of train/CLASS/*.jpg and test/CLASS/*.jpg, (3) Keras' .npz, or Hugging Face's folder of Parquet files, "
    "or (4) connect to the network once and let torchvision download it"
)


class Layout(NamedTuple):
    """A form in which files hold CIFAR-10, and the names of those that do."""

    kind: Literal["batches", "arrays", "parquet", "class folders"]
    names: Sequence[str]


def load_cifar10(path: Path | None = None, *, progress: Progress | None = None) -> Dataset:
    """CIFAR-10: 50,000 training and 10,000 test images of 32x32 RGB (Krizhevsky 2009), or a copy of it.

    Looks at `path`, else at `PRUNEBENCH_DATA`, else lets torchvision find or download it in the cache folder. Encoded
    images are decoded once; the decoded copy is kept in the cache under the digest of what it was decoded from.

    Raises:
        DataNotFoundError: nothing at the path, or no path and no network.
        DataError: what is there is damaged, incomplete or not CIFAR-10.
    """
    path = data_source(path)
    if path is None:
        path = _downloaded(cache_folder() / "cifar10")
    if not path.exists():
        raise DataNotFoundError(f"no CIFAR-10 at '{path}': {WAYS}")
    if path.is_file() and (cached := _read_decoded(_kept(file_digest(path)), path)) is not None:
        return cached  # without a look into the archive
    files, layout = _found(path)
    if layout.kind in {"batches", "arrays"}:
        return _read(files, layout, path)
    kept = _kept(files.digest(layout.names))
    if (cached := _read_decoded(kept, path)) is not None:
        return cached
    dataset = _read(files, layout, path, progress)
    _write_decoded(kept, dataset)
    return dataset


def verify_source(dataset: Dataset, progress: Progress | None = None) -> bool:
    """Decode `dataset` from its origin again, past the cache, and compare digests.

    False, where there is nothing to compare: without a decoded copy, loading is reading the source.

    Raises:
        DataError: the source gives other images than `dataset` holds.
    """
    if dataset.source is None:
        return False
    again = _read(*_found(dataset.source), dataset.source, progress)
    if again.digest != dataset.digest:
        raise DataError(f"'{dataset.source}' decodes to digest {again.digest}, the cached copy has {dataset.digest}")
    return True


def _found(path: Path) -> tuple[Files, Layout]:
    """The files that hold CIFAR-10, and how; an archive that a folder holds stands for the folder."""
    if path.is_file() and not is_archive(path):
        if other := other_format(path):
            raise DataError(f"'{path}' is {other}")
        raise DataNotFoundError(f"'{path}' is no CIFAR-10: {WAYS}")
    files = list_files(next((path / name for name in PUBLISHED if (path / name).is_dir()), path))
    layout = _layout(files)
    if layout is None and path.is_dir() and (archive := _archive_in(files)):
        files = list_files(archive)
        layout = _layout(files)
    if layout is None:
        raise DataNotFoundError(f"'{path}' is no CIFAR-10: {WAYS}")
    return files, layout


def _layout(files: Files) -> Layout | None:
    named = [(*posixpath.split(name), name) for name in files.contents]  # folder, file and both
    for suffix in BATCH_READERS:
        expected = {f"{batch}{suffix}" for batch in BATCHES}
        if found := _in_one_folder((folder, name) for folder, file, name in named if file in expected):
            return Layout("batches", found)
    expected = {f"{array}.npy" for array in ARRAYS}
    if found := _in_one_folder((folder, name) for folder, file, name in named if file.lower() in expected):
        return Layout("arrays", found)
    if found := [name for name in files.contents if name.endswith(".parquet")]:
        return Layout("parquet", found)
    kaggle = next((name for _, file, name in named if file == KAGGLE_LABELS), None)
    if kaggle and not any(split_of(posixpath.basename(posixpath.dirname(folder))) for folder, _, _ in named):
        raise DataError(
            f"'{files.path}' is Kaggle's CIFAR-10 ({kaggle!r}): its test images have no labels, so no accuracy can be "
            "measured on them; get the published cifar-10-python.tar.gz"
        )
    if any(name.endswith(".arrow") for name in files.contents):
        raise DataError(f"'{files.path}' holds Arrow files: save each split as Parquet, with the data set's to_parquet")
    places = class_images(files, CIFAR10_CLASSES)
    return Layout("class folders", [*places]) if places else None


def _in_one_folder(names: Iterable[tuple[str, str]]) -> list[str]:
    """The names in the folder that has most of them, of several such folders the one least deep."""
    folders: dict[str, list[str]] = {}
    for folder, name in names:
        folders.setdefault(folder, []).append(name)
    best = min(folders, key=lambda folder: (-len(folders[folder]), folder.count("/"), folder), default=None)
    return folders[best] if best is not None else []


def _archive_in(files: Files) -> Path | None:
    """The one archive in a folder that looks like CIFAR-10's.

    Raises:
        DataError: there are several.
    """
    packed = [name for name in files.contents if name.lower().endswith(PACKED)]
    named = [name for name in packed if re.search(r"cifar[-_]?10(?!\d)", posixpath.basename(name).lower())]
    chosen = named or packed
    if len(chosen) > 1:
        raise DataError(f"'{files.path}' holds {', '.join(map(repr, chosen[:3]))}: name the one that is CIFAR-10")
    return files.path / chosen[0] if chosen else None


def _read(files: Files, layout: Layout, path: Path, progress: Progress | None = None) -> Dataset:
    train, test = _halves(files, layout, progress)
    for split, images in (("train", train), ("test", test)):
        # Fewer images would give an accuracy that looks like CIFAR-10's and is not (a folder half copied, say).
        expected = (EXPECTED_COUNTS[split], 3, 32, 32)
        if images.inputs.shape != expected:
            raise DataError(
                f"'{path}' has {split} images of shape {tuple(images.inputs.shape)}: expected CIFAR-10's {expected}"
            )
        if not 0 <= images.targets.min() <= images.targets.max() < len(CIFAR10_CLASSES):
            raise DataError(f"'{path}' has {split} labels that are no class: expected 0 to {len(CIFAR10_CLASSES) - 1}")
    return Dataset(
        name="cifar10",
        train=train,
        test=test,
        classes=CIFAR10_CLASSES,
        origin=printable(str(path)),
        is_original=_is_python_version(layout) or is_published(train, test),
        source=None if layout.kind in {"batches", "arrays"} else path,
    )


def _is_python_version(layout: Layout) -> bool:
    """True where CIFAR-10 is read from pickles, which none but the published files are."""
    return layout.kind == "batches" and posixpath.basename(layout.names[0]) in BATCHES


def _halves(files: Files, layout: Layout, progress: Progress | None) -> Halves:
    if layout.kind == "batches":
        return read_batches(files, layout.names)
    if layout.kind == "arrays":
        return read_arrays(files, layout.names)
    if layout.kind == "parquet":
        return read_parquet(files, layout.names, CIFAR10_CLASSES, progress=progress)
    places = class_images(files, CIFAR10_CLASSES)
    return read_class_folders(files, places, classes=CIFAR10_CLASSES, progress=progress)


def _kept(digest: str) -> Path:
    """The path of the decoded copy of a source with this digest."""
    return cache_folder() / "data" / f"cifar10-{DECODER}-{digest[:32]}.safetensors"


def _write_decoded(kept: Path, dataset: Dataset) -> None:
    tensors = {
        f"{split}.{part}": tensor
        for split, data in (("train", dataset.train), ("test", dataset.test))
        for part, tensor in (("images", data.inputs.permute(0, 2, 3, 1).contiguous()), ("labels", data.targets))
    }
    metadata = {
        "digest": dataset.digest,
        "classes": json.dumps(dataset.classes),
        "is_original": json.dumps(dataset.is_original),
    }
    with replacing(kept) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:  # how the library reports a full disk
            raise StorageError(f"cannot write '{kept}': {error}") from error


def _read_decoded(kept: Path, source: Path) -> Dataset | None:
    """The decoded copy, or None where there is none or it is not what its digest says (it is then made again)."""
    if not kept.is_file():
        return None
    try:
        with safe_open(kept, framework="pt") as file:
            metadata = file.metadata() or {}
            train, test = (
                Examples(file.get_tensor(f"{split}.images").permute(0, 3, 1, 2), file.get_tensor(f"{split}.labels"))
                for split in ("train", "test")
            )
    except (SafetensorError, OSError, RuntimeError, DataError):  # RuntimeError: tensors of other dimensions
        return None
    dataset = Dataset(
        name="cifar10",
        train=train,
        test=test,
        classes=CIFAR10_CLASSES,
        origin=printable(str(source)),
        is_original=metadata.get("is_original") == "true",
        source=source,
    )
    return dataset if dataset.digest == metadata.get("digest") else None


def _downloaded(root: Path) -> Path:
    """Torchvision's folder, downloaded by it where it is not there whole: it knows the files by their MD5 sums."""
    try:
        from torchvision.datasets import CIFAR10
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f"torchvision cannot be imported ({error}): install a torchvision built for torch {torch.__version__}, "
            "or give CIFAR-10 by its path, which does not need it"
        ) from error
    try:
        CIFAR10(str(root), download=True)
    except (RuntimeError, OSError) as error:
        raise DataNotFoundError(f"no CIFAR-10 here and it could not be downloaded ({error}): {WAYS}") from error
    return root
