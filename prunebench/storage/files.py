"""Files written whole or not at all, content digests, and where the cache lives. Formats live elsewhere."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import platformdirs

from prunebench.errors import StorageError

CACHE_VARIABLE = "PRUNEBENCH_CACHE"
DATA_VARIABLE = "PRUNEBENCH_DATA"

RUN_FOLDER = Path(".prunebench/records")
"""Where records are kept unless told otherwise, from the folder a command runs in."""

BASELINES = Path("baselines")
"""Where approved records are kept unless told otherwise."""


_UNFINISHED = ".tmp"
"""What the name of a file ends with until it is whole."""


def cache_folder() -> Path:
    """The folder where decoded data, dense checkpoints and unfinished training are kept.

    `PRUNEBENCH_CACHE` where it is set, else the platform's user cache (on Linux `~/.cache/prunebench`). Everything in
    it can be made again; deleting it costs time only.
    """
    configured = os.environ.get(CACHE_VARIABLE)
    return Path(configured) if configured else platformdirs.user_cache_path("prunebench")


def printable(name: str) -> str:
    """A file's name as it can be printed and recorded: bytes in it that are no UTF-8 are written as escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")


def data_source(given: Path | None) -> Path | None:
    """The path that data is read from: `given`, else what `PRUNEBENCH_DATA` names; None for neither."""
    named = os.environ.get(DATA_VARIABLE)
    return given or (Path(named) if named else None)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path` that takes its place, flushed to disk, when the block ends well.

    A block that raises, or a process that is killed, leaves what stood at `path` before. Where `path` is a link, the
    file it leads to is replaced; a device or a pipe is written into.

    Raises:
        StorageError: the folder cannot be made or written (full disk, read-only), naming `path` and the reason.
    """
    if _is_special(path):
        with _sent_to(path) as temporary:
            yield temporary
        return
    if os.path.islink(path):  # noqa: PTH114 - False, and no error, for a name that is too long
        path = path.resolve()
    with _new_file(path) as temporary:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # again: a library may have put a file of its own in its place
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)


@contextlib.contextmanager
def _sent_to(path: Path) -> Iterator[Path]:
    """A temporary file whose content is written into `path` when the block ends well."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "content"
        yield temporary
        try:
            path.write_bytes(temporary.read_bytes())
        except OSError as error:
            raise _cannot_write(path, error) from error


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, readable as any other, gone when the block ends unless it was renamed."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path), suffix=_UNFINISHED)
        os.close(handle)
        temporary = Path(name)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it private; a file others are meant to read is not
        yield temporary
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _prefix(path: Path) -> str:
    return f".{path.name}."


def sweep(folder: Path, *, seconds: float = 86_400) -> None:
    """Remove what killed processes left half-written in `folder`, where nobody touched it for a day."""
    for path in folder.glob(f".*{_UNFINISHED}"):
        with contextlib.suppress(OSError):  # another process may have been faster
            if time.time() - path.stat().st_mtime > seconds:
                path.unlink()


def check_writable(folder: Path) -> None:
    """Find out now, and not after an hour of work, whether files can be written in `folder`.

    Raises:
        StorageError: they cannot, or the folder cannot be made.
    """
    _try_writing(folder, folder)


def check_targets(targets: Mapping[str, Path | None], *, inputs: Collection[Path | None] = ()) -> None:
    """`check_writable` for files that are to be written in the end, where any are; `targets` are by option.

    Devices and pipes may be named as often as one likes: nothing in them is overwritten.

    Raises:
        StorageError: one cannot be written, is a folder, is named twice, or is one of `inputs`, the files to be read.
    """
    files: dict[str, Path] = {}
    for option, path in targets.items():
        if path is None or _is_special(path):
            continue
        if os.path.isdir(path):  # noqa: PTH112 - False, and no error, for a name that is too long
            raise StorageError(f"cannot write '{path}': it is a folder; name a file")
        if any(_same_file(path, read) for read in inputs if read is not None):
            raise StorageError(f"{option} would overwrite '{path}', which is read: name another file")
        for other, written in files.items():
            if _same_file(path, written):
                raise StorageError(f"{other} and {option} would both write '{path}': name two files")
        files[option] = path
    for path in files.values():
        _try_writing(path.parent, path, prefix=_prefix(path))


def _same_file(path: Path, other: Path) -> bool:
    """True where both names lead to one file, which need not be there yet."""
    try:
        return path.samefile(other)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)


def _try_writing(folder: Path, path: Path, *, prefix: str = ".") -> None:
    """Check that `folder` can be written in; `path` is what an error is about."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=prefix, suffix=_UNFINISHED):
            pass  # the name may have been too long
    except OSError as error:
        raise _cannot_write(path, error) from error


def _is_special(path: Path) -> bool:
    """True for a device or a pipe, which is written into and never replaced."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _cannot_write(path: Path, error: OSError) -> StorageError:
    free = "free space there, or " if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} else ""
    return StorageError(
        f"cannot write '{path}': {error.strerror or error}; "
        f"{free}choose another folder (the cache moves with {CACHE_VARIABLE})"
    )


def write_new_text(path: Path, text: str) -> bool:
    """Write `text` as UTF-8 to a file that is not there yet, whole or not at all; False where there is one already.

    Of several processes that try the same path at once, one gets True.

    Raises:
        StorageError: the folder cannot be made or written.
    """
    with _new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        try:
            _place_new(temporary, path)
        except FileExistsError:
            return False
        return True


def _place_new(temporary: Path, path: Path) -> None:
    """Give the file its name, never in the place of another: a link, unlike a rename, fails where there is one."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: claim the name, then fill it
        path.touch(exist_ok=False)
        temporary.replace(path)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"cannot read '{path}': {error.strerror or error}") from error
