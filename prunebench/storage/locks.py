"""One process at a time: locks on files, which the operating system frees when their holder ends, however it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from prunebench.errors import StorageError


@contextlib.contextmanager
def alone(lock: Path, *, seconds: float = -1, busy: str | None = None) -> Iterator[None]:
    """Be the only process that holds the file `lock`, which is made where there is none, and stays.

    Args:
        seconds: to wait for another process at most; less than 0 for as long as it takes.
        busy: what to say where another process held it too long.

    Raises:
        StorageError: the file cannot be made or locked, or another process held it too long.
    """
    held = FileLock(lock, timeout=seconds)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except Timeout as error:
        message = busy or f"another prunebench has been changing '{lock.parent}' for {seconds:.0f} s: try again"
        raise StorageError(message) from error
    except (OSError, NotImplementedError) as error:
        raise StorageError(f"cannot lock '{lock.parent}': {getattr(error, 'strerror', None) or error}") from error
    try:
        yield
    finally:
        held.release()
