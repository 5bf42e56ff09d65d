"""File formats told by content: for those who gave another file than they meant."""

from __future__ import annotations

import zipfile
from pathlib import Path

from prunebench.errors import StorageError

ARCHIVES = (
    ("gzip", b"\x1f\x8b"),
    ("bzip2", b"BZh"),
    ("xz", b"\xfd7zXZ\0"),
    ("Zstandard", b"\x28\xb5\x2f\xfd"),
    ("7z", b"7z\xbc\xaf\x27\x1c"),
    ("rar", b"Rar!\x1a\x07"),
)
UNPACK = "unpack it, and give what it holds"
AGAIN = "if it was downloaded, this is a server's message and not the file, so download it again"
WEIGHTS = "save its tensors by name as safetensors"
LFS_POINTER = b"version https://git-lfs"
PACKED = b"\x89PBZ\r\n\x1a\n"
"""What files of `prunebench pack` begin with."""
OTHERS = (
    ("a packed file", PACKED, "give what 'prunebench unpack FILE -o OUT.safetensors' makes of it"),
    ("a git-LFS pointer, not the file itself", LFS_POINTER, "fetch the file with 'git lfs pull'"),
    ("an HDF5 file, as Keras writes them", b"\x89HDF\r\n\x1a\n", WEIGHTS),
    ("a numpy array (.npy)", b"\x93NUMPY", WEIGHTS),
    ("a GGUF file", b"GGUF", WEIGHTS),
    ("a Parquet file", b"PAR1", "give the folder that holds those of train and test"),
    ("an Arrow file", b"ARROW1", "save it as Parquet, with the data set's to_parquet"),
    ("a PDF", b"%PDF-", "name another file"),
    ("a PNG image", b"\x89PNG\r\n\x1a\n", "name another file"),
    ("a JPEG image", b"\xff\xd8\xff", "name another file"),
)
TEXT = frozenset(b"\t\n\r" + bytes(range(32, 127)))
SHORTEST_TEXT = 8
TAR_MAGIC = (257, b"ustar")
PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")
SCRIPTED = "save its weights alone: torch.save(torch.jit.load(PATH).state_dict(), ...)"
EXPORTED = "save its weights alone: torch.save(torch.export.load(PATH).state_dict, ...)"


def archive_kind(path: Path) -> str | None:
    """`"tar"` or `"zip"`, or what a tar may be compressed with (`"gzip"`, `"xz"`, ...), or None for no archive."""
    start = first_bytes(path)
    if start.startswith((b"PK\3\4", b"PK\5\6")) or zipfile.is_zipfile(path):
        return "zip"
    offset, magic = TAR_MAGIC
    if start[offset:].startswith(magic):
        return "tar"
    return next((name for name, magic in ARCHIVES if start.startswith(magic)), None)


def is_safetensors(path: Path) -> bool:
    """True for what looks like safetensors: eight bytes with the length of a header, then a JSON object.

    Raises:
        StorageError: the file cannot be read.
    """
    return first_bytes(path)[8:9] == b"{"


def other_format(path: Path) -> str | None:
    """The kind of a file and what to do, where its content tells that: `"a PDF: name ..."`.

    None for what it cannot tell, checkpoints among it.
    """
    if told := told_by(first_bytes(path)):
        return told
    kind = archive_kind(path)
    if kind == "zip":
        return _zipped(path)
    return f"a {kind} archive: {UNPACK}" if kind else None


def told_by(start: bytes) -> str | None:
    """`other_format` of a file with these first bytes, as far as they tell it; archives are not among it."""
    if not start:
        return "empty: it was not written or downloaded to its end"
    for name, magic, advice in OTHERS:
        if start.startswith(magic):
            return f"{name}: {advice}"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES):
        return f"a web page (HTML or XML): {AGAIN}"
    return f"a text file: {AGAIN}" if len(start) >= SHORTEST_TEXT and TEXT.issuperset(start) else None


def first_bytes(path: Path) -> bytes:
    """The first half a kilobyte of a file.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise StorageError(f"cannot read '{path}': {error.strerror or error}") from error


def _zipped(path: Path) -> str | None:
    """The kind of a zip, by the names in it; None for what `torch.save` writes, which a damaged one may be."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        names = ["data.pkl"]
    files = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in files and any("/code/" in name for name in names):
        return f"a TorchScript archive: {SCRIPTED}"
    if files & {"archive_format", "serialized_exported_program.json"}:
        return f"a torch.export archive: {EXPORTED}"
    if "model.weights.h5" in files:
        return f"a Keras model: {WEIGHTS}"
    if any(name.endswith(".npy") for name in files):
        return f"numpy's .npz: {WEIGHTS}"
    return None if "data.pkl" in files else f"a zip archive: {UNPACK}"
