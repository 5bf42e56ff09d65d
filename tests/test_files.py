"""Files whole or not at all: under exceptions, full disks, impossible folders and a process killed at any moment."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from prunebench.errors import StorageError
from prunebench.storage.files import (
    CACHE_VARIABLE,
    cache_folder,
    check_targets,
    file_digest,
    replacing,
    sweep,
    write_text,
)

KILLS = 20
WHOLE_BYTES = 400_000

# Writes the file over and over, in small pieces, one whole file of "a" and one whole file of "b" in turn.
WRITER = f"""
import sys
from pathlib import Path
from prunebench.storage.files import replacing
while True:
    for letter in (b"a", b"b"):
        with replacing(Path(sys.argv[1])) as temporary, temporary.open("wb") as file:
            for _ in range(100):
                file.write(letter * {WHOLE_BYTES // 100})
        print(flush=True)
"""

# Stops for good with half of the file written and flushed.
HALF_WRITER = """
import sys, time
from pathlib import Path
from prunebench.storage.files import replacing
with replacing(Path(sys.argv[1])) as temporary, temporary.open("wb") as file:
    file.write(b"new" * 1000)
    file.flush()
    print(flush=True)
    time.sleep(600)
"""


@contextmanager
def running(script: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process of `script` on `path`, past its first printed line; killed at the end of the block."""
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        try:
            assert b"\n" == process.stdout.readline()
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def write_half_and_raise(path: Path, raised: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise raised


def test_a_block_that_ends_well_puts_its_file_in_place_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert "old" == path.read_text()
    assert "new" == path.read_text()
    assert [path] == list(tmp_path.iterdir())


def test_the_temporary_file_is_in_the_folder_it_will_be_moved_in(tmp_path: Path) -> None:
    with replacing(tmp_path / "result.json") as temporary:
        assert tmp_path == temporary.parent


@pytest.mark.parametrize("raised", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_a_block_that_raises_leaves_the_old_content_and_no_other_file(raised: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(type(raised)) as caught:
        write_half_and_raise(path, raised)
    assert raised is caught.value
    assert "old" == path.read_text()
    assert [path] == list(tmp_path.iterdir())


def test_a_block_that_raises_leaves_no_file_where_there_was_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"):
        write_half_and_raise(tmp_path / "result.json", ValueError("no"))
    assert [] == list(tmp_path.iterdir())


def test_a_full_disk_is_a_storage_error_that_names_the_file_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(StorageError) as caught:
        write_half_and_raise(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert str(caught.value).startswith(f"cannot write '{path}': No space left on device; ")
    assert CACHE_VARIABLE in str(caught.value)
    assert "old" == path.read_text()
    assert [path] == list(tmp_path.iterdir())


def test_a_disk_that_will_not_flush_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        write_text(path, "new")
    assert "old" == path.read_text()
    assert [path] == list(tmp_path.iterdir())


def test_the_file_is_flushed_to_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    flush, seen = os.fsync, []

    def record(descriptor: int) -> None:
        seen.append((os.fstat(descriptor).st_size, path.exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    write_text(path, "new")
    assert [(3, False)] == seen


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    for path in (blocker / "result.json", blocker / "deeper" / "result.json"):
        with pytest.raises(StorageError) as caught:
            write_text(path, "new")
        assert str(caught.value).startswith(f"cannot write '{path}': ")
    assert "not a folder" == blocker.read_text()


def test_a_path_that_is_a_folder_is_a_storage_error_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        write_text(path, "new")
    assert path.is_dir()
    assert [path] == list(tmp_path.iterdir())


def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    write_text(tmp_path / "link.json", "new")
    assert (tmp_path / "link.json").is_symlink()
    assert "new" == (tmp_path / "real.json").read_text()


def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        write_text(pipe, "through")
        assert "through" == read.result(timeout=60)
    assert pipe.is_fifo()


def test_a_name_that_is_too_long_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="File name too long"):
        write_text(tmp_path / ("x" * 300), "new")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("same", ["read.json", "folder/../read.json", "link.json"])
def test_a_target_that_is_read_is_refused_by_any_name(tmp_path: Path, same: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "read.json").write_text("old")
    (tmp_path / "link.json").symlink_to("read.json")
    with pytest.raises(StorageError, match=r"^--json would overwrite '.*', which is read: name another file$"):
        check_targets({"--json": tmp_path / same}, inputs=(None, tmp_path / "read.json"))
    check_targets({"--json": tmp_path / "new.json", "--save": None}, inputs=(tmp_path / "read.json",))


@pytest.mark.parametrize("there", [True, False])
def test_two_targets_are_two_files(tmp_path: Path, there: bool) -> None:
    path, again = tmp_path / "new.x", tmp_path / "folder" / ".." / "new.x"
    (tmp_path / "folder").mkdir()
    if there:
        path.write_text("old")
    with pytest.raises(StorageError, match=r"^--output and --json would both write '.*': name two files$"):
        check_targets({"--output": path, "--json": again})


def test_a_device_or_a_pipe_may_be_named_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/null"), tmp_path / "pipe"):
        check_targets({"--output": path, "--json": path}, inputs=(path,))


def test_missing_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "result.json"
    write_text(path, "new")
    assert "new" == path.read_text()


def test_text_is_written_as_utf_8_to_the_letter(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    write_text(path, "92.95 % ± 0.1\n")
    assert "92.95 % ± 0.1\n".encode() == path.read_bytes()


@pytest.mark.parametrize(("expected", "umask"), [(0o644, 0o022), (0o600, 0o077), (0o664, 0o002)])
def test_others_may_read_the_file_as_far_as_the_umask_lets_them(expected: int, umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "result.json", "new")
        assert umask == os.umask(umask)
    finally:
        os.umask(before)
    assert expected == stat.S_IMODE((tmp_path / "result.json").stat().st_mode)


def test_the_digest_of_a_file_is_the_sha_256_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"prune" * 100_000)
    assert hashlib.sha256(b"prune" * 100_000).hexdigest() == file_digest(path)


def test_a_file_that_cannot_be_read_is_a_storage_error(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "absent", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(StorageError) as caught:
            file_digest(path)
        assert f"cannot read '{path}': {reason}" == str(caught.value)


def test_the_cache_moves_with_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert tmp_path == cache_folder()
    monkeypatch.setenv(CACHE_VARIABLE, "")
    assert "prunebench" == cache_folder().name


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_writer_killed_half_way_leaves_the_old_content_and_does_not_stop_the_next(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with running(HALF_WRITER, path):
        (unfinished,) = (other for other in tmp_path.iterdir() if other != path)
        assert 3000 == unfinished.stat().st_size
    assert "old" == path.read_text()
    write_text(path, "newer")
    assert "newer" == path.read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "result.bin"
    moments = random.Random(0)
    for _ in range(KILLS):
        with running(WRITER, path):
            time.sleep(moments.uniform(0, 0.02))
        content = path.read_bytes()
        assert content in (b"a" * WHOLE_BYTES, b"b" * WHOLE_BYTES)


def test_what_a_killed_process_left_is_swept_up_a_day_later(tmp_path: Path) -> None:
    left, in_use, kept = (tmp_path / name for name in (".state.pt.x.tmp", ".state.pt.y.tmp", "state.pt"))
    for path in (left, in_use, kept):
        path.touch()
    for path in (left, kept):
        os.utime(path, (0, 0))
    sweep(tmp_path)
    assert {in_use, kept} == set(tmp_path.iterdir())
