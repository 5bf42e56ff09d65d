"""Files written whole or not at all, content digests, and where the cache lives. Formats live elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from prunebench.errors import StorageError

CACHE_VARIABLE = "PRUNEBENCH_CACHE"

RUN_FOLDER = Path(".prunebench/records")
"""Where records are kept unless told otherwise, from the folder a command runs in."""

BASELINES = Path("baselines")
"""Where approved records are kept unless told otherwise."""


def cache_folder() -> Path:
    """Where decoded data, dense checkpoints and unfinished training are kept.

    `PRUNEBENCH_CACHE` where it is set, else the platform's user cache (on Linux `~/.cache/prunebench`). Everything in
    it can be made again; deleting it costs time only.
    """
    configured = os.environ.get(CACHE_VARIABLE)
    return Path(configured) if configured else platformdirs.user_cache_path("prunebench")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path` that takes its place, flushed to disk, when the block ends well.

    A block that raises, or a process that is killed, leaves what stood at `path` before.

    Raises:
        StorageError: the folder cannot be made or written (full disk, read-only), naming `path` and the reason.
    """
    with _new_file(path) as temporary:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, readable as any other, gone when the block ends unless it was renamed."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
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


def check_writable(folder: Path) -> None:
    """Find out now, and not after an hour of work, whether files can be written in `folder`.

    Raises:
        StorageError: they cannot, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _cannot_write(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot write '{path}': {error.strerror or error}; "
        f"free space there, or choose another folder (the cache moves with {CACHE_VARIABLE})"
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
