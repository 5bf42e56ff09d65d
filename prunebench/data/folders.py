"""Class folders (`train/CLASS/*.jpg`, `test/CLASS/*.jpg`) in a folder or a tar, decoded to tensors in memory.

An archive is read from front to back and never unpacked, so nothing in it can be written anywhere.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import torch
from PIL import Image
from torch import Tensor

from prunebench.data.images import Dataset, ImageSet
from prunebench.errors import DataError
from prunebench.files import file_digest

SPLITS = ("train", "test")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
Progress = Callable[[int], None]
"""Called with the number of images decoded so far."""


def is_archive(path: Path) -> bool:
    """Whether `path` is a file named like a tar, compressed or not."""
    return path.is_file() and any(suffix in {".tar", ".tgz", ".txz", ".tbz2"} for suffix in path.suffixes)


def source_digest(path: Path) -> str:
    """SHA-256 of an archive's bytes, or over names and bytes of the images in a folder: the key of a decoded copy."""
    if path.is_file():
        return file_digest(path)
    digest = hashlib.sha256()
    for name, content in _folder_images(path):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def read_class_folders(path: Path, *, name: str, classes: Sequence[str], progress: Progress | None = None) -> Dataset:
    """Decode a folder or tar of class folders; images are ordered by class (in the order given), then file name.

    Raises:
        DataError: a damaged archive or image, a path that climbs out, a class that is missing from a split, a folder
            that is no class, or images of different sizes.
    """
    images: dict[tuple[str, str], list[tuple[str, Tensor]]] = {
        (split, label): [] for split in SPLITS for label in classes
    }
    source = _archive_images(path) if path.is_file() else _folder_images(path)
    for count, (member, content) in enumerate(source, start=1):
        split, label, file = _place(path, member, classes)
        images[split, label].append((file, _decode(path, member, content)))
        if progress:
            progress(count)
    for (split, label), found in images.items():
        if not found:
            raise DataError(f"'{path}' has no images in '{split}/{label}': expected every class in train and in test")
        found.sort(key=lambda item: item[0])
    shapes = {tuple(image.shape) for found in images.values() for _, image in found}
    if len(shapes) > 1:
        raise DataError(f"'{path}' holds images of different sizes, {sorted(shapes)[:3]}: expected one size")
    train, test = (_stack([[image for _, image in images[split, label]] for label in classes]) for split in SPLITS)
    return Dataset(name=name, train=train, test=test, classes=tuple(classes), origin=str(path))


def _stack(by_class: list[list[Tensor]]) -> ImageSet:
    stacked = torch.stack([image for found in by_class for image in found])
    labels = torch.cat([torch.full((len(found),), label) for label, found in enumerate(by_class)])
    return ImageSet(stacked.permute(0, 3, 1, 2), labels)


def _place(path: Path, member: str, classes: Sequence[str]) -> tuple[str, str, str]:
    """Split, class and file name of `.../train/CLASS/FILE`."""
    parts = PurePosixPath(member).parts
    if len(parts) < 3 or parts[-3] not in SPLITS:
        raise DataError(f"'{path}' holds {member!r}: expected train/CLASS/IMAGE or test/CLASS/IMAGE")
    split, label, file = parts[-3:]
    if label not in classes:
        raise DataError(f"'{path}' holds {member!r} of unknown class {label!r}: expected one of {', '.join(classes)}")
    return split, label, file


def _decode(path: Path, member: str, content: bytes) -> Tensor:
    """One image as uint8 (height, width, 3)."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            rgb = image.convert("RGB")
    except Exception as error:  # Pillow's readers raise whatever damage leads them to
        raise DataError(f"'{path}' holds {member!r}, which cannot be decoded as an image: {error}") from error
    return torch.frombuffer(bytearray(rgb.tobytes()), dtype=torch.uint8).view(rgb.height, rgb.width, 3)


def _folder_images(path: Path) -> Iterator[tuple[str, bytes]]:
    for split in SPLITS:
        for file in sorted((path / split).glob("*/*")):
            if file.suffix.lower() in IMAGE_SUFFIXES:
                try:
                    content = file.read_bytes()
                except OSError as error:
                    raise DataError(f"cannot read '{file}': {error.strerror or error}") from error
                yield file.relative_to(path).as_posix(), content


def _archive_images(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path, mode="r:*") as archive:
            for member in archive:
                _refuse_unsafe(path, member)
                if member.isfile() and PurePosixPath(member.name).suffix.lower() in IMAGE_SUFFIXES:
                    file = archive.extractfile(member)
                    assert file is not None, "a regular member has content"
                    yield member.name, file.read()
            _check_end(archive)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise DataError(f"cannot read '{path}', the archive is damaged or truncated: {reason}") from error


def _check_end(archive: tarfile.TarFile) -> None:
    """Refuse a cut archive: tarfile takes a cut after the first member for the end, but a whole one ends in zeros."""
    file = archive.fileobj
    assert file is not None, "the archive is open"
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")
    while file.read(1 << 20):  # up to where compressed content is checked against its own sum
        pass


def _refuse_unsafe(path: Path, member: tarfile.TarInfo) -> None:
    """An archive with such members was made to do harm; none of it is believed, though none is ever unpacked."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise DataError(f"refused '{path}': its member {member.name!r} climbs out of the archive's folder")
    if not (member.isfile() or member.isdir()):
        raise DataError(f"refused '{path}': its member {member.name!r} is a link or device, expected files and folders")
