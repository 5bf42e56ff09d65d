"""Data by name: prunebench's own, torchvision's, folders, arrays, and what a user's own function gives."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunebench.data import Dataset, Examples, load_cifar10, load_digits, load_shapes
from prunebench.data.archives import list_files
from prunebench.data.folders import class_images, class_names, read_class_folders
from prunebench.errors import DataError, DataNotFoundError, UnknownNameError, first_line
from prunebench.storage.files import cache_folder
from prunebench.storage.imports import load_object
from prunebench.workloads.workload import LoadingProgress

FORMS = "prunebench:NAME, torchvision:NAME, folder:PATH, npz:PATH or package.module:function"
OWN: Mapping[str, Callable[[Path | None, LoadingProgress | None], Dataset]] = MappingProxyType(
    {
        "cifar10": lambda path, progress: load_cifar10(path, progress=progress),
        "digits": lambda _path, _progress: load_digits(),
        "shapes": lambda _path, _progress: load_shapes(),
    }
)


def load_data(
    data: str, *, folder: Path, given: Path | None = None, progress: LoadingProgress | None = None
) -> Dataset:
    """The data set that `data` names.

    Args:
        data: `prunebench:NAME`, `torchvision:NAME`, `folder:PATH` (train/CLASS/IMAGE and test/CLASS/IMAGE, also in a
            tar or zip), `npz:PATH` (arrays x_train, y_train, x_test, y_test), or `package.module:function`, which gives
            a `Dataset`, or a training and a test set: `torch.utils.data.Dataset`s of (input, target), or pairs of
            tensors.
        folder: what paths are relative to, and where modules are looked for.
        given: the path of `--data`, in the place of the one that is named; for `prunebench:cifar10` and for paths.

    Raises:
        DataError: it cannot be loaded, or is no data set.
        ImportedNameError: the function cannot be imported.
    """
    source, _, name = data.partition(":")
    if source == "prunebench":
        if name not in OWN:
            raise UnknownNameError("data", name, OWN)
        return OWN[name](given, progress)
    if source in ("folder", "npz"):
        path = given or folder / Path(name).expanduser()
        return _from_folder(path, progress) if source == "folder" else _from_arrays(path)
    if given is not None:
        raise DataError(f"data '{data}' reads no path, got '{given}': name it in the workload instead of by --data")
    if source == "torchvision":
        return _of_torchvision(name, progress)
    found = load_object(data, kind="data", forms=FORMS, folder=folder)
    if callable(found):
        try:
            found = found()
        except Exception as error:  # somebody else's code may raise anything
            raise DataError(f"data '{data}' cannot be loaded: {first_line(error)}") from error
    return _as_dataset(found, origin=data, progress=progress)


def _from_folder(path: Path, progress: LoadingProgress | None) -> Dataset:
    if not path.exists():
        raise DataNotFoundError(f"no data at '{path}': expected train/CLASS/IMAGE and test/CLASS/IMAGE below it")
    files = list_files(path)
    classes = class_names(files)
    if not classes:
        raise DataError(f"'{path}' holds no images in train/CLASS/IMAGE")
    train, test = read_class_folders(files, class_images(files, classes), classes=classes, progress=progress)
    return Dataset(name=path.name.partition(".")[0], train=train, test=test, classes=classes, origin=str(path))


def _from_arrays(path: Path) -> Dataset:
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if missing := [name for name in names if name not in arrays]:
                raise DataError(f"'{path}' has no {', '.join(missing)}: expected arrays {', '.join(names)}")
            held = {name: torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in names}
    except OSError as error:
        raise DataNotFoundError(f"cannot read '{path}': {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"'{path}' is no .npz of numbers: {first_line(error)}") from error
    sets = [_examples(_channels_first(held[f"x_{half}"]), held[f"y_{half}"].squeeze()) for half in ("train", "test")]
    return Dataset(name=path.stem, train=sets[0], test=sets[1], origin=str(path))


def _channels_first(images: Tensor) -> Tensor:
    """Images as numpy's are, (n, height, width[, channels]), channels first; anything else as it is."""
    if images.dtype != torch.uint8:
        return images
    if images.dim() == 3:
        images = images[..., None]
    if images.dim() == 4 and images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        images = images.permute(0, 3, 1, 2)
    return images


def _of_torchvision(name: str, progress: LoadingProgress | None) -> Dataset:
    try:
        datasets = importlib.import_module("torchvision.datasets")  # where it is used: it brings torch's compiler
    except (ImportError, RuntimeError) as error:  # the latter of one that was built for another torch
        raise DataError(f"torchvision cannot be imported, so '{name}' cannot be had: {first_line(error)}") from error
    kind = getattr(datasets, name, None)
    if name not in datasets.__all__ or not callable(kind):
        raise UnknownNameError("data set of torchvision", name, datasets.__all__)
    root = str(cache_folder() / "torchvision")
    try:
        halves = [kind(root, train=training, download=True) for training in (True, False)]
    except Exception as error:  # no network, another signature, ...
        raise DataError(f"torchvision cannot give '{name}': {first_line(error)}") from error
    classes = tuple(map(str, getattr(halves[0], "classes", ())))
    sets = [_collected(half, name, progress) for half in halves]
    return Dataset(name=name, train=sets[0], test=sets[1], classes=classes, origin=f"torchvision:{name}")


def _as_dataset(found: Any, *, origin: str, progress: LoadingProgress | None) -> Dataset:
    if isinstance(found, Dataset):
        return found
    if isinstance(found, Mapping) and {"train", "test"} <= found.keys():
        halves = [found["train"], found["test"]]
    elif isinstance(found, Sequence) and len(found) == 2:
        halves = list(found)
    else:
        raise DataError(
            f"data '{origin}' gives a {type(found).__name__}: expected a prunebench.Dataset, or a training and a test "
            "set"
        )
    classes = tuple(map(str, getattr(halves[0], "classes", ())))
    train, test = (_collected(half, origin, progress) for half in halves)
    return Dataset(name=origin.partition(":")[0].rpartition(".")[2], train=train, test=test, classes=classes,
                   origin=origin)  # fmt: skip


def _collected(half: Any, origin: str, progress: LoadingProgress | None) -> Examples:
    """One set: of tensors, or example by example."""
    if isinstance(half, Examples):
        return half
    with contextlib.suppress(TypeError, ValueError):
        inputs, targets = half
        if isinstance(inputs, Tensor | np.ndarray) and isinstance(targets, Tensor | np.ndarray) and inputs.ndim > 1:
            return _examples(torch.as_tensor(inputs), torch.as_tensor(targets))
    inputs, targets = [], []
    try:
        for index in range(len(half)):
            one, target = half[index]
            inputs.append(one if isinstance(one, Tensor) else _of_image(one))
            targets.append(torch.as_tensor(target))
            if progress and index % 100 == 99:
                progress(index + 1)
        return _examples(torch.stack(inputs), torch.stack(targets))
    except DataError:
        raise
    except Exception as error:  # somebody else's code may raise anything
        raise DataError(
            f"data '{origin}' cannot be read as pairs of an input and a target: {first_line(error)}"
        ) from error


def _of_image(image: Any) -> Tensor:
    """A picture of PIL's, or a numpy array, as a tensor; pictures are uint8 (channels, height, width)."""
    array = np.array(image)
    if array.dtype == np.uint8 and array.ndim in (2, 3):
        array = array[..., None] if array.ndim == 2 else array
        return torch.from_numpy(array).permute(2, 0, 1)
    return torch.from_numpy(array)


def _examples(inputs: Tensor, targets: Tensor) -> Examples:
    if inputs.is_floating_point():
        inputs = inputs.float()
    if not targets.is_floating_point():
        targets = targets.long()
    if inputs.dim() == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return Examples(inputs, targets)
