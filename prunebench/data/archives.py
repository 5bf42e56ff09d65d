"""Files below a folder, in a tar or in a zip: their names, and their bytes one file at a time.

An archive is read from front to back and never unpacked, so nothing in it can be written anywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from prunebench.errors import DataError
from prunebench.storage.files import file_digest
from prunebench.storage.formats import LFS_POINTER, archive_kind, other_format, told_by

TAR_SUFFIXES = frozenset({".tar", ".tgz", ".txz", ".tbz2"})
TAR_KINDS = frozenset({"tar", "gzip", "bzip2", "xz"})
SYSTEM_NAMES = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
DEPTH = 6
MOST_FILES = 1_000_000
MOST_LINKS = 40
"""One behind the other, as on Linux."""

LARGEST = 1 << 29
"""Bytes of one file; the largest that CIFAR-10 comes in has 154 million."""

Item = TypeVar("Item")

DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError),
    *(RuntimeError, NotImplementedError),  # a zip with a password, or packed in a way that Python cannot read
)


@dataclass(frozen=True)
class Files:
    """The files at one place, by names relative to it.

    Attributes:
        path: the folder or archive.
        contents: by name, the name in the archive of the file that holds the bytes: another for a link.
    """

    path: Path
    contents: Mapping[str, str]

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of each file in `names`, in whatever order they are stored in.

        Raises:
            DataError: one cannot be read, is larger than half a gibibyte, or only points to where it should come from.
        """
        wanted: dict[str, list[str]] = {}
        for name in names:
            wanted.setdefault(self.contents[name], []).append(name)
        if self.path.is_dir():
            stored = _from_folder(self.path, wanted)
        elif archive_kind(self.path) == "zip":
            stored = _from_zip(self.path, wanted)
        else:
            stored = _from_tar(self.path, wanted)
        for holder, content in stored:
            if content.startswith(LFS_POINTER):
                raise DataError(f"'{self.path}' holds {holder!r}, which is {told_by(content)}")
            for name in wanted[holder]:
                yield name, content

    def digest(self, names: Collection[str]) -> str:
        """SHA-256 of an archive's bytes, or over `names` and their bytes in a folder."""
        if self.path.is_file():
            return file_digest(self.path)
        digest = hashlib.sha256()
        for name, content in self.read(sorted(names)):
            digest.update(os.fsencode(name) + f"\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()


def list_files(path: Path) -> Files:
    """The files of a folder or of a tar or zip, by whatever name; hidden ones and those of the system are left out.

    Raises:
        DataError: neither, damaged, too much; a path or link out of the archive, a link to nothing, a device.
    """
    if path.is_dir():
        return Files(path, {name: name for name in _limited(path, _walk(path, ""))})
    kind = archive_kind(path)
    if kind not in TAR_KINDS and kind != "zip" and (other := other_format(path)):
        raise DataError(f"'{path}' is {other}")
    members = _zip_members(path) if kind == "zip" else _tar_members(path)
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    folders = set[str]()
    for name, holder in _limited(path, members):
        if holder is None:
            folders.add(name)
        elif not _is_hidden(name):
            (files if holder == name else links)[name] = holder
    if links:
        folders |= {str(parent) for name in files for parent in PurePosixPath(name).parents}
    for name, target in links.items():
        holder = target
        for _ in range(MOST_LINKS):
            holder = links.get(holder, holder)
        if holder in files:
            files[name] = files[holder]
        elif holder not in folders:
            raise DataError(f"'{path}' holds {name!r}, a link to {holder!r}, which is not in it")
    return Files(path, files)


def is_archive(path: Path) -> bool:
    """True where `path` is a file that may hold a tar or zip, by its content or its name."""
    return path.is_file() and (archive_kind(path) is not None or not TAR_SUFFIXES.isdisjoint(path.suffixes))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part in SYSTEM_NAMES for part in name.split("/"))


def _limited(path: Path, items: Iterator[Item]) -> Iterator[Item]:
    for count, item in enumerate(items):
        if count == MOST_FILES:
            raise DataError(f"'{path}' holds more than {MOST_FILES:,} files: name the folder that holds train and test")
        yield item


def _walk(root: Path, below: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(root / below), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot read '{root / below}': {error.strerror or error}") from error
    for entry in entries:
        name = f"{below}/{entry.name}" if below else entry.name
        if _is_hidden(entry.name):
            continue
        if not entry.is_dir():
            yield name
        elif name.count("/") < DEPTH:
            yield from _walk(root, name)


def _from_folder(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    for name in wanted:
        file = path / name
        try:
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"cannot read '{file}': it is no file")
            _check_size(path, name, status.st_size)
            yield name, file.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read '{file}': {error.strerror or error}") from error


@contextlib.contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise DataError(f"cannot read '{path}', the archive is damaged or truncated: {reason}") from error


def _tar_members(path: Path) -> Iterator[tuple[str, str | None]]:
    """Each member's name with the name of what holds its bytes: itself, another for a link, None for a folder."""
    with _damage_reported(path), tarfile.open(path, mode="r:*") as archive:
        for member in archive:
            name = _safe_name(path, member.name)
            if member.isfile():
                yield name, name
            elif member.isdir():
                yield name, None
            elif member.islnk():
                yield name, _link_target(path, name, member.linkname)
            elif member.issym():
                yield name, _link_target(path, name, posixpath.join(posixpath.dirname(name), member.linkname))
            else:
                raise DataError(f"refused '{path}': its member {member.name!r} is a device, expected files and folders")
        _check_end(archive)


def _from_tar(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    left = set(wanted)
    with _damage_reported(path), tarfile.open(path, mode="r:*") as archive:
        for member in archive:
            name = str(PurePosixPath(member.name))
            if not member.isfile() or name not in wanted:
                continue
            if name not in left:
                raise DataError(f"'{path}' holds {name!r} twice: expected one")
            left.remove(name)
            _check_size(path, name, member.size)
            file = archive.extractfile(member)
            assert file is not None, "a regular member has content"
            yield name, file.read()


def _check_end(archive: tarfile.TarFile) -> None:
    """Refuse a cut archive: tarfile takes a cut after the first member for the end, but a whole one ends in zeros."""
    file = archive.fileobj
    assert file is not None, "the archive is open"
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")
    while file.read(1 << 20):  # up to where compressed content is checked against its own sum
        pass


def _zip_members(path: Path) -> Iterator[tuple[str, str | None]]:
    with _damage_reported(path), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = _zip_name(path, info)
            if stat.S_ISLNK(info.external_attr >> 16):
                _check_size(path, name, info.file_size)
                target = os.fsdecode(archive.read(info))
                yield name, _link_target(path, name, posixpath.join(posixpath.dirname(name), target))
            else:
                yield name, None if info.is_dir() else name


def _from_zip(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    left = set(wanted)
    with _damage_reported(path), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = _zip_name(path, info)
            if info.is_dir() or name not in wanted:
                continue
            if name not in left:
                raise DataError(f"'{path}' holds {name!r} twice: expected one")
            left.remove(name)
            _check_size(path, name, info.file_size)
            yield name, archive.read(info)


def _zip_name(path: Path, info: zipfile.ZipInfo) -> str:
    return _safe_name(path, info.filename.replace("\\", "/"))  # as some tools on Windows write it


def _safe_name(path: Path, member: str) -> str:
    """Refuse a name that climbs out of its archive, which was made to do harm: none of it is believed, or unpacked."""
    name = PurePosixPath(member)
    if name.is_absolute() or ".." in name.parts:
        raise DataError(f"refused '{path}': its member {member!r} climbs out of the archive's folder")
    return str(name)


def _link_target(path: Path, name: str, target: str) -> str:
    target = posixpath.normpath(target)
    if target.startswith(("/", "../")) or target == "..":
        raise DataError(f"refused '{path}': its member {name!r} is a link that leads out of the archive")
    if target == name:
        raise DataError(f"'{path}' holds {name!r}, a link to itself")
    return target


def _check_size(path: Path, name: str, size: int) -> None:
    if size > LARGEST:
        raise DataError(f"'{path}' holds {name!r} of {size:,} bytes: expected at most {LARGEST:,}")
