"""Class folders (`train/CLASS/*.jpg`, `test/CLASS/*.jpg`), in a folder, tar or zip, decoded to tensors in memory."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from prunebench.data.archives import Files
from prunebench.data.examples import Examples
from prunebench.errors import DataError

SPLITS = ("train", "test")
TEST_NAMES = ("test", "val", "valid", "validation")
"""What the folder of the images that accuracy is measured on is called; the first that is there is taken."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
MOST_BYTES = 1 << 31
"""Of all images together, decoded: ten times CIFAR-10."""

Progress = Callable[[int], None]
"""Called with the number of images decoded so far."""


class Place(NamedTuple):
    """The place of an image: train or one of `TEST_NAMES`, the class by number, and its file's name."""

    split: str
    label: int
    file: str


def class_images(files: Files, classes: Sequence[str]) -> dict[str, Place]:
    """The images of a training and a test set by name, wherever below `files` their folders stand.

    Folders are called as in `classes`, in capitals or not, or numbered from 0 in that order.

    Raises:
        DataError: an image in a split but in no class of these, or training or test folders in two places.
    """
    places: dict[str, Place] = {}
    for name in files.contents:
        if posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES and (place := _place(files.path, name, classes)):
            places[name] = place
    test = next((split for split in TEST_NAMES if any(place.split == split for place in places.values())), "test")
    places = {name: place for name, place in places.items() if place.split in {"train", test}}
    for split in ("train", test):
        above = sorted(
            {name.rsplit("/", 3)[0] if name.count("/") > 2 else "." for name in places if places[name].split == split}
        )
        if len(above) > 1:
            raise DataError(f"'{files.path}' holds '{split}' in {above[0]!r} and in {above[1]!r}: name one of them")
    return places


def read_class_folders(
    files: Files, places: Mapping[str, Place], *, classes: Sequence[str], progress: Progress | None = None
) -> tuple[Examples, Examples]:
    """Training and test set of the images at `places`, ordered by class, then file name.

    Raises:
        DataError: a damaged archive or image, a class that is missing from a split, or images of different sizes.
    """
    held = {(place.split == "train", place.label) for place in places.values()}
    for split in SPLITS:
        for label, name in enumerate(classes):
            if (split == "train", label) not in held:
                raise DataError(
                    f"'{files.path}' has no images in '{split}/{name}': expected every class in train and in test"
                )
    images = decoded(files.path, files.read(places), progress=progress)
    halves = []
    for training in (True, False):
        order = sorted(
            (name for name in places if (places[name].split == "train") is training),
            key=lambda name: (*places[name][1:], name),
        )
        labels = torch.tensor([places[name].label for name in order])
        halves.append(Examples(torch.stack([images.pop(name) for name in order]).permute(0, 3, 1, 2), labels))
    return halves[0], halves[1]


def split_of(name: str) -> str | None:
    """The split that a folder's name stands for, train or one of `TEST_NAMES`, in capitals or not; else None."""
    lower = name.lower()
    return lower if lower in {"train", *TEST_NAMES} else None


def label_of(name: str, classes: Sequence[str]) -> int | None:
    """The number of the class that is called so, in capitals or not, or that has this number; None for none."""
    numbers = {label.lower(): number for number, label in enumerate(classes)}
    numbers |= {str(number): number for number in range(len(classes))}
    return numbers.get(name.lower())


def decoded(
    path: Path, contents: Iterable[tuple[str, bytes]], *, progress: Progress | None = None
) -> dict[str, Tensor]:
    """Images by name, in order, each uint8 (height, width, 3), all of one size."""
    images: dict[str, Tensor] = {}
    first: Tensor | None = None
    for name, content in contents:
        image = _decode(path, name, content)
        first = image if first is None else first
        if image.shape != first.shape:
            sizes = sorted([tuple(first.shape), tuple(image.shape)])
            raise DataError(f"'{path}' holds images of different sizes, {sizes}: expected one size")
        if (len(images) + 1) * image.numel() > MOST_BYTES:
            raise DataError(f"'{path}' holds more images than {MOST_BYTES:,} bytes of memory do: expected CIFAR-10's")
        images[name] = image
        if progress:
            progress(len(images))
    return images


def _place(path: Path, name: str, classes: Sequence[str]) -> Place | None:
    """The place of `.../train/CLASS/FILE`; None for an image that is in no split, a picture in a README say."""
    parts = name.split("/")
    if not any(map(split_of, parts[:-1])):
        return None
    split = split_of(parts[-3]) if len(parts) >= 3 else None
    if split is None:
        raise DataError(f"'{path}' holds {name!r}: expected train/CLASS/IMAGE or test/CLASS/IMAGE")
    label = label_of(parts[-2], classes)
    if label is None:
        raise DataError(
            f"'{path}' holds {name!r} of unknown class {parts[-2]!r}: expected one of {', '.join(classes)}, "
            f"or 0 to {len(classes) - 1}"
        )
    return Place(split, label, parts[-1])


def _decode(path: Path, name: str, content: bytes) -> Tensor:
    try:
        with Image.open(io.BytesIO(content)) as image:
            rgb = image.convert("RGB")
    except Exception as error:  # Pillow's readers raise whatever damage leads them to
        reason = "it is of no known format" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DataError(f"'{path}' holds {name!r}, which cannot be decoded as an image: {reason}") from error
    return torch.frombuffer(bytearray(rgb.tobytes()), dtype=torch.uint8).view(rgb.height, rgb.width, 3)


def class_names(files: Files) -> tuple[str, ...]:
    """The names of the folders `train/CLASS` that hold images, sorted."""
    names = set()
    for name in files.contents:
        parts = name.split("/")
        if len(parts) >= 3 and posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES and split_of(parts[-3]) == "train":
            names.add(parts[-2])
    return tuple(sorted(names))
