"""CIFAR-10 from wherever it is: torchvision's folder, class folders, a tar of them, or torchvision's download."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from prunebench.data.folders import Progress, is_archive, read_class_folders, source_digest
from prunebench.data.images import Dataset, ImageSet
from prunebench.errors import DataError, DataNotFoundError, StorageError
from prunebench.files import DATA_VARIABLE, cache_folder, data_source, replacing

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = "cifar-10-batches-py"
EXPECTED_COUNTS = {"train": 50_000, "test": 10_000}
DECODER = "1"
"""Goes into the key of a decoded copy; raised when decoding or its order changes."""

WAYS = (
    f"give it with --data PATH or {DATA_VARIABLE}=PATH, where PATH is (1) the folder that holds torchvision's "
    f"'{BATCHES}', (2) a folder or a .tar.xz of train/CLASS/*.jpg and test/CLASS/*.jpg, or (3) connect to the network "
    "once and let torchvision download it"
)


def load_cifar10(path: Path | None = None, *, progress: Progress | None = None) -> Dataset:
    """CIFAR-10: 50,000 training and 10,000 test images of 32x32 RGB (Krizhevsky 2009), or a copy of it.

    Looks at `path`, else at `PRUNEBENCH_DATA`, else lets torchvision find or download it in the cache folder. Images
    are decoded once; the decoded copy is kept in the cache under the digest of what it was decoded from.

    Raises:
        DataNotFoundError: nothing at the path, or no path and no network.
        DataError: what is there is damaged, incomplete or not CIFAR-10.
    """
    path = data_source(path)
    if path is None:
        return _with_torchvision(cache_folder() / "cifar10", download=True)
    if not path.exists():
        raise DataNotFoundError(f"no CIFAR-10 at '{path}': {WAYS}")
    for folder in (path, path.parent):
        if (folder / BATCHES).is_dir() and (folder == path or path.name == BATCHES):
            return _with_torchvision(folder, download=False)
    if path.name == "cifar-10-python.tar.gz":
        raise DataError(f"'{path}' is packed: unpack it, and give the folder that then holds '{BATCHES}'")
    if not is_archive(path) and not (path / "train").is_dir():
        raise DataNotFoundError(f"'{path}' is no CIFAR-10: {WAYS}")
    return _decoded_once(path, progress)


def verify_source(dataset: Dataset, progress: Progress | None = None) -> bool:
    """Decode `dataset` from its origin again, past the cache, and compare digests.

    False, where there is nothing to compare: torchvision's folder and scikit-learn's digits have no decoded copy,
    loading them is reading the source.

    Raises:
        DataError: the source gives other images than `dataset` holds.
    """
    origin = Path(dataset.origin)
    if not is_archive(origin) and not (origin / "train").is_dir():
        return False
    again = read_class_folders(origin, name=dataset.name, classes=dataset.classes, progress=progress)
    if again.digest != dataset.digest:
        raise DataError(f"'{origin}' decodes to digest {again.digest}, the cached copy has {dataset.digest}")
    return True


def _decoded_once(path: Path, progress: Progress | None) -> Dataset:
    kept = cache_folder() / "data" / f"cifar10-{DECODER}-{source_digest(path)[:32]}.safetensors"
    if (cached := _read_decoded(kept, path)) is not None:
        return cached
    dataset = read_class_folders(path, name="cifar10", classes=CIFAR10_CLASSES, progress=progress)
    _check_is_cifar10(dataset)
    _write_decoded(kept, dataset)
    return dataset


def _check_is_cifar10(dataset: Dataset) -> None:
    """Fewer images would give an accuracy that looks like CIFAR-10's and is not (a folder half copied, say)."""
    for split, images in (("train", dataset.train), ("test", dataset.test)):
        expected = (EXPECTED_COUNTS[split], 3, 32, 32)
        if images.images.shape != expected:
            raise DataError(
                f"'{dataset.origin}' has {split} images of shape {tuple(images.images.shape)}: "
                f"expected CIFAR-10's {expected}"
            )


def _write_decoded(kept: Path, dataset: Dataset) -> None:
    tensors = {
        f"{split}.{part}": tensor
        for split, data in (("train", dataset.train), ("test", dataset.test))
        for part, tensor in (("images", data.images.permute(0, 2, 3, 1).contiguous()), ("labels", data.labels))
    }
    metadata = {"digest": dataset.digest, "classes": json.dumps(dataset.classes)}
    with replacing(kept) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:  # how the library reports a full disk
            raise StorageError(f"cannot write '{kept}': {error}") from error


def _read_decoded(kept: Path, origin: Path) -> Dataset | None:
    """The decoded copy, or None where there is none or it is not what its digest says (it is then made again)."""
    if not kept.is_file():
        return None
    try:
        with safe_open(kept, framework="pt") as file:
            metadata = file.metadata() or {}
            train, test = (
                ImageSet(file.get_tensor(f"{split}.images").permute(0, 3, 1, 2), file.get_tensor(f"{split}.labels"))
                for split in ("train", "test")
            )
    except (SafetensorError, OSError, RuntimeError, DataError):  # RuntimeError: tensors of other dimensions
        return None
    dataset = Dataset(name="cifar10", train=train, test=test, classes=CIFAR10_CLASSES, origin=str(origin))
    return dataset if dataset.digest == metadata.get("digest") else None


def _with_torchvision(root: Path, *, download: bool) -> Dataset:
    """Torchvision's own reader, which checks the files against their published MD5 sums."""
    try:
        from torchvision.datasets import CIFAR10
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f"torchvision cannot be imported ({error}): install a torchvision built for torch {torch.__version__}, "
            "or give CIFAR-10 as class folders, which does not need it"
        ) from error
    try:
        halves = [CIFAR10(str(root), train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        if download:
            raise DataNotFoundError(f"no CIFAR-10 here and it could not be downloaded ({error}): {WAYS}") from error
        raise DataError(f"cannot read CIFAR-10 in '{root}': {error}") from error
    train, test = (
        ImageSet(torch.from_numpy(half.data).permute(0, 3, 1, 2), torch.tensor(half.targets)) for half in halves
    )
    return Dataset(name="cifar10", train=train, test=test, classes=CIFAR10_CLASSES, origin=str(root), is_original=True)
