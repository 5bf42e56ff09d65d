"""Class folders read from a folder or a tar: equal content, fixed order, and everything damaged or hostile refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prunebench.data.archives import is_archive, list_files
from prunebench.data.examples import Dataset
from prunebench.data.folders import Progress, class_images, read_class_folders
from prunebench.errors import DataError

CLASSES = ("cat", "dog")
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


def png(seed: int, size: int = 8) -> bytes:
    """A random picture, encoded without loss."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def tree() -> dict[str, bytes]:
    """Two splits of two classes of three pictures, all different."""
    names = [f"{split}/{label}/{n}.png" for split in ("train", "test") for label in CLASSES for n in range(3)]
    return {name: png(seed) for seed, name in enumerate(names)}


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """A member of a tar with its content; any name and kind, also those that no tool would write."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def tar_bytes(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_bytes(content: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def pack(content: Mapping[str, bytes]) -> bytes:
    return tar_bytes(member(name, data) for name, data in content.items())


def write_archive(path: Path, content: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(path.suffixes)
    path.write_bytes(COMPRESSIONS[suffix](pack(content)))
    return path


def write_folder(root: Path, content: Mapping[str, bytes]) -> Path:
    for name, data in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def read(path: Path, *, classes: tuple[str, ...] = CLASSES, progress: Progress | None = None) -> Dataset:
    files = list_files(path)
    train, test = read_class_folders(files, class_images(files, classes), classes=classes, progress=progress)
    return Dataset(name="pets", train=train, test=test, classes=classes, origin=str(path))


def source_digest(path: Path) -> str:
    files = list_files(path)
    return files.digest(files.contents)


def refusal(path: Path) -> str:
    """The one line with which `path` is refused; it names the path."""
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Everything below `folder`, with the bytes of files."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_a_folder_and_an_archive_of_it_are_the_same_data_set(tmp_path: Path, suffix: str) -> None:
    folder = read(write_folder(tmp_path / "pets", tree()))
    archive = read(write_archive(tmp_path / f"pets{suffix}", tree()))
    assert folder.digest == archive.digest
    assert torch.equal(folder.train.inputs, archive.train.inputs)
    assert torch.equal(folder.test.targets, archive.test.targets)
    assert folder.classes == archive.classes


def test_pixels_and_labels_are_those_of_the_files(tmp_path: Path) -> None:
    content = tree()
    dataset = read(write_archive(tmp_path / "pets.tar.xz", content))
    for split, images in (("train", dataset.train), ("test", dataset.test)):
        assert [0, 0, 0, 1, 1, 1] == images.targets.tolist()
        for index, name in enumerate(f"{split}/{label}/{n}.png" for label in CLASSES for n in range(3)):
            expected = np.asarray(Image.open(io.BytesIO(content[name]))).transpose(2, 0, 1)
            assert np.array_equal(expected, images.inputs[index].numpy())


def test_order_is_by_class_then_file_name_whatever_the_order_in_the_archive(tmp_path: Path) -> None:
    content = tree()
    shuffled = list(content)
    random.Random(0).shuffle(shuffled)
    assert list(content) != shuffled
    in_order = read(write_archive(tmp_path / "a.tar", content))
    disordered = read(write_archive(tmp_path / "b.tar", {name: content[name] for name in shuffled}))
    assert in_order.digest == disordered.digest


def test_classes_are_numbered_in_the_order_they_are_given_in(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "pets.tar", tree())
    forward, backward = read(path, classes=("cat", "dog")), read(path, classes=("dog", "cat"))
    assert torch.equal(forward.train.inputs.roll(3, 0), backward.train.inputs)
    assert [0, 0, 0, 1, 1, 1] == backward.train.targets.tolist()


def test_folders_above_the_splits_and_files_that_are_no_images_do_not_matter(tmp_path: Path) -> None:
    content = {f"./pets/v1/{name}": data for name, data in tree().items()}
    content |= {"pets/README.md": b"read me", "pets/v1/train/cat/.DS_Store": b"\0", "licence.txt": b""}
    expected = read(write_archive(tmp_path / "plain.tar", tree()))
    assert expected.digest == read(write_archive(tmp_path / "nested.tar", content)).digest


def test_grey_and_palette_images_become_rgb(tmp_path: Path) -> None:
    content = tree()
    for name, mode in (("train/cat/0.png", "L"), ("train/cat/1.png", "P")):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(content[name])).convert(mode).save(buffer, "PNG")
        content[name] = buffer.getvalue()
    dataset = read(write_archive(tmp_path / "pets.tar", content))
    assert (6, 3, 8, 8) == tuple(dataset.train.inputs.shape)
    grey = dataset.train.inputs[0]
    assert torch.equal(grey[0], grey[1])


def test_progress_counts_every_image(tmp_path: Path) -> None:
    path, counts = write_folder(tmp_path / "pets", tree()), list[int]()
    read(path, progress=counts.append)
    assert list(range(1, 13)) == counts


def test_archives_are_known_by_their_content_and_tars_by_their_name_as_well(tmp_path: Path) -> None:
    (tmp_path / "folder.tar").mkdir()
    for name in ("a.tar", "a.tar.xz", "a.tgz", "a.zip", "a"):
        (tmp_path / name).touch()
    (tmp_path / "packed").write_bytes(gzip.compress(pack(tree())))
    (tmp_path / "plain").write_bytes(pack(tree()))
    (tmp_path / "zipped").write_bytes(zip_bytes(tree()))
    found = sorted(path.name for path in tmp_path.iterdir() if is_archive(path))
    assert ["a.tar", "a.tar.xz", "a.tgz", "packed", "plain", "zipped"] == found


def test_the_source_digest_of_a_folder_changes_with_a_name_and_with_a_byte(tmp_path: Path) -> None:
    content = tree()
    changed = content | {"train/cat/0.png": png(99)}
    renamed = {name.replace("train/cat/0", "train/cat/9"): data for name, data in content.items()}
    folders = [write_folder(tmp_path / str(n), tree) for n, tree in enumerate((content, content, changed, renamed))]
    first, same, *others = [source_digest(folder) for folder in folders]
    assert first == same
    assert 3 == len({first, *others})


@pytest.mark.parametrize("as_archive", [True, False], ids=["archive", "folder"])
@pytest.mark.parametrize("missing", ["train/cat", "test/dog"])
def test_a_class_missing_from_a_split_is_refused(tmp_path: Path, missing: str, as_archive: bool) -> None:
    content = {name: data for name, data in tree().items() if not name.startswith(missing)}
    path = write_archive(tmp_path / "a.tar", content) if as_archive else write_folder(tmp_path / "a", content)
    assert f"'{missing}'" in refusal(path)


@pytest.mark.parametrize("as_archive", [True, False], ids=["archive", "folder"])
def test_an_unknown_class_folder_is_refused_by_name(tmp_path: Path, as_archive: bool) -> None:
    content = tree() | {"train/mouse/0.png": png(50)}
    path = write_archive(tmp_path / "a.tar", content) if as_archive else write_folder(tmp_path / "a", content)
    message = refusal(path)
    assert "train/mouse/0.png" in message
    assert "expected one of cat, dog" in message


@pytest.mark.parametrize("name", ["train/0.png", "train/cat/more/0.png", "pets/test/0.png"])
def test_an_image_that_is_in_a_split_but_in_no_class_is_refused_by_name(tmp_path: Path, name: str) -> None:
    assert f"'{name}'" in refusal(write_archive(tmp_path / "a.tar", tree() | {name: png(50)}))


def both_ways(folder: Path, content: Mapping[str, bytes]) -> list[Dataset]:
    """Read from a folder, a tar and a zip."""
    (folder / "pets").write_bytes(zip_bytes(content))
    return [
        read(write_folder(folder / "folder", content)),
        read(write_archive(folder / "pets.tar.xz", content)),
        read(folder / "pets"),
    ]


def renamed(change: Callable[[str], str]) -> dict[str, bytes]:
    return {change(name): data for name, data in tree().items()}


LAYOUTS: dict[str, Callable[[], dict[str, bytes]]] = {
    "capitals": lambda: renamed(lambda name: name.replace("train/cat", "Train/Cat").replace("dog", "DOG")),
    "numbers": lambda: renamed(lambda name: name.replace("cat", "0").replace("dog", "1")),
    "val": lambda: renamed(lambda name: name.replace("test", "val")),
    "valid": lambda: renamed(lambda name: name.replace("test", "valid")),
    "Validation": lambda: renamed(lambda name: name.replace("test", "Validation")),
    "val beside test": lambda: tree() | {f"val/{label}/0.png": png(70) for label in CLASSES},
    "too high": lambda: renamed(lambda name: f"pets/{name}"),
    "two too high": lambda: renamed(lambda name: f"data/pets/{name}"),
    "each in its own": lambda: renamed(lambda name: f"{name.partition('/')[0]}/{name}"),
    "hidden files": lambda: (
        tree()
        | {"train/cat/._0.png": b"x", "__MACOSX/train/cat/._0.png": b"x", "train/.DS_Store": b"x", "Thumbs.db": b"x"}
        | {"train/.ipynb_checkpoints/0.png": b"x", "train/cat/.ipynb_checkpoints/0-checkpoint.png": b"x"}
    ),
    "other pictures": lambda: tree() | {"example.png": png(71), "docs/figure/1.png": png(72)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folders_as_people_have_them_are_the_same_data_set(layout: str, tmp_path: Path) -> None:
    expected = read(write_folder(tmp_path / "plain", tree()))
    assert [expected.digest] * 3 == [dataset.digest for dataset in both_ways(tmp_path, LAYOUTS[layout]())]


def test_training_images_in_two_places_are_refused_by_both(tmp_path: Path) -> None:
    content = tree() | {f"copy/{name}": data for name, data in tree().items()}
    assert "holds 'train' in '.' and in 'copy': name one of them" in refusal(write_folder(tmp_path / "a", content))


def test_a_folder_in_a_circle_of_links_is_read_once(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets", tree())
    (root / "loop").symlink_to(root / "nothing")
    assert read(write_folder(tmp_path / "plain", tree())).digest == read(root).digest


def test_a_pipe_among_the_images_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets", tree())
    os.mkfifo(root / "train" / "cat" / "9.png")
    assert "train/cat/9.png': it is no file" in refusal(root)


def test_a_file_name_that_is_no_utf_8_is_read_and_digested(tmp_path: Path) -> None:
    name = os.fsdecode(b"train/cat/caf\xe9.png")
    content = {name if key == "train/cat/2.png" else key: data for key, data in tree().items()}
    folder, archive = write_folder(tmp_path / "pets", content), write_archive(tmp_path / "pets.tar", content)
    assert read(write_folder(tmp_path / "plain", tree())).digest == read(folder).digest == read(archive).digest
    assert 64 == len(source_digest(folder))
    message = refusal(write_folder(tmp_path / "damaged", content | {name: b"no image"}))
    assert "caf\\udce9.png" in message
    message.encode()


def test_no_message_shows_an_object_of_python(tmp_path: Path) -> None:
    for n, damage in enumerate((b"", b"not an image", png(1)[:40], png(1)[:-60], bytes(100))):
        message = refusal(write_folder(tmp_path / str(n), tree() | {"train/cat/1.png": damage}))
        assert "object at 0x" not in message
        assert "cannot be decoded as an image: " in message


def test_an_image_that_is_a_pointer_of_git_lfs_is_called_that(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"
    for path in (
        write_folder(tmp_path / "pets", tree() | {"test/dog/1.png": pointer}),
        write_archive(tmp_path / "pets.tar", tree() | {"test/dog/1.png": pointer}),
    ):
        assert "holds 'test/dog/1.png', which is a git-LFS pointer, not the file itself: fetch" in refusal(path)


def test_a_file_too_large_to_be_an_image_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunebench.data.archives.LARGEST", 1000)
    content = tree() | {"train/cat/1.png": bytes(1001)}
    (tmp_path / "a").write_bytes(zip_bytes(content))
    for path in (
        write_folder(tmp_path / "pets", content),
        write_archive(tmp_path / "a.tar.xz", content),
        tmp_path / "a",
    ):
        assert "holds 'train/cat/1.png' of 1,001 bytes: expected at most 1,000" in refusal(path)


def test_more_files_and_more_memory_than_a_data_set_needs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_folder(tmp_path / "pets", tree())
    monkeypatch.setattr("prunebench.data.folders.MOST_BYTES", 5 * 8 * 8 * 3)
    assert "more images than" in refusal(path)
    monkeypatch.setattr("prunebench.data.archives.MOST_FILES", 11)
    assert "more than 11 files" in refusal(path)
    assert "more than 11 files" in refusal(write_archive(tmp_path / "a.tar", tree()))


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with a right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an image",
        png(1)[:60],
        png(1)[:20] + bytes(40),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"short") + chunk(b"IEND", b""),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1 << 20, 1 << 20, 8, 2, 0, 0, 0)),
        png(1)[:-12] + chunk(b"iCCP", b"") + png(1)[-12:],  # Pillow raises an IndexError
    ],
    ids=["empty", "text", "cut in its pixels", "overwritten", "short header", "a million pixels square", "odd chunk"],
)
@pytest.mark.parametrize("as_archive", [True, False], ids=["archive", "folder"])
def test_a_corrupt_image_is_refused_by_name(tmp_path: Path, content: bytes, as_archive: bool) -> None:
    damaged = tree() | {"train/dog/1.png": content}
    path = write_archive(tmp_path / "a.tar", damaged) if as_archive else write_folder(tmp_path / "a", damaged)
    assert "'train/dog/1.png'" in refusal(path)


def test_images_of_different_sizes_are_refused(tmp_path: Path) -> None:
    message = refusal(write_archive(tmp_path / "a.tar", tree() | {"test/cat/1.png": png(1, size=9)}))
    assert "(8, 8, 3), (9, 9, 3)" in message


def test_a_dangling_link_in_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets", tree())
    (root / "train" / "cat" / "3.png").symlink_to(tmp_path / "nowhere.png")
    assert "train/cat/3.png" in refusal(root)


HOSTILE_NAMES = [
    "../train/cat/x.png",
    "train/cat/../../../../x.png",
    "train/../train/cat/x.png",
    "/{here}/train/cat/x.png",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("suffix", [".tar", ".tar.xz"])
def test_a_member_that_climbs_out_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, suffix: str
) -> None:
    name = name.replace("/{here}", str(tmp_path))
    path = write_archive(tmp_path / "deep" / "inside" / f"evil{suffix}", {name: png(50)} | tree())
    monkeypatch.chdir(path.parent)
    before = snapshot(tmp_path)
    message = refusal(path)
    assert repr(name) in message
    assert "climbs out" in message
    assert before == snapshot(tmp_path)


def linked(links: Mapping[str, tuple[bytes, str]]) -> bytes:
    """A tar of the tree with links: name, kind and target."""
    extra = [member(name, type=kind, linkname=target) for name, (kind, target) in links.items()]
    return tar_bytes([*extra, *(member(name, data) for name, data in tree().items() if name not in links)])


@pytest.mark.parametrize(
    ("kind", "target", "expected"),
    [
        (tarfile.SYMTYPE, "../../../secret.png", "is a link that leads out of the archive"),
        (tarfile.SYMTYPE, "/secret.png", "is a link that leads out of the archive"),
        (tarfile.LNKTYPE, "../secret.png", "is a link that leads out of the archive"),
        (tarfile.SYMTYPE, "secret.png", "a link to 'train/cat/secret.png', which is not in it"),
        (tarfile.SYMTYPE, "link.png", "a link to itself"),
        (tarfile.FIFOTYPE, "", "is a device"),
        (tarfile.CHRTYPE, "", "is a device"),
    ],
)
def test_a_link_out_of_the_archive_or_to_nothing_or_a_device_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes, target: str, expected: str
) -> None:
    (tmp_path / "secret.png").write_bytes(png(51))
    path = tmp_path / "inside" / "evil.tar"
    path.parent.mkdir()
    path.write_bytes(linked({"train/cat/link.png": (kind, target)}))
    monkeypatch.chdir(path.parent)
    before = snapshot(tmp_path)
    message = refusal(path)
    assert "'train/cat/link.png'" in message
    assert expected in message
    assert before == snapshot(tmp_path)


def test_links_that_stay_inside_the_archive_give_what_they_lead_to(tmp_path: Path) -> None:
    path = tmp_path / "pets.tar"
    path.write_bytes(
        linked(
            {
                "train/cat/2.png": (tarfile.LNKTYPE, "train/dog/0.png"),
                "train/dog/1.png": (tarfile.SYMTYPE, "../cat/0.png"),
                "test/dog/1.png": (tarfile.SYMTYPE, "../../train/dog/1.png"),  # a link to a link
                "latest": (tarfile.SYMTYPE, "train"),  # to a folder
            }
        )
    )
    content = tree()
    expected = content | {
        "train/cat/2.png": content["train/dog/0.png"],
        "train/dog/1.png": content["train/cat/0.png"],
        "test/dog/1.png": content["train/cat/0.png"],
    }
    assert read(write_folder(tmp_path / "plain", expected)).digest == read(path).digest


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pets.tar"
    path.write_bytes(linked({f"train/cat/{n}.png": (tarfile.SYMTYPE, f"{(n + 1) % 3}.png") for n in range(3)}))
    assert "a link to 'train/cat/" in refusal(path)


@pytest.mark.parametrize("target", ["../cat/0.png", "../../../secret.png"])
def test_links_in_a_zip_are_judged_as_those_in_a_tar(tmp_path: Path, target: str) -> None:
    content = {name: data for name, data in tree().items() if name != "train/dog/1.png"}
    link = zipfile.ZipInfo("train/dog/1.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "pets.zip"
    path.write_bytes(zip_bytes(content))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, target)
    if target.endswith("secret.png"):
        assert "leads out of the archive" in refusal(path)
    else:
        expected = content | {"train/dog/1.png": content["train/cat/0.png"]}
        assert read(write_folder(tmp_path / "plain", expected)).digest == read(path).digest


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_zip_member_that_climbs_out_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.zip"
    path.write_bytes(zip_bytes({name.replace("/{here}", str(tmp_path)): png(50)} | tree()))
    assert "climbs out" in refusal(path)


def test_a_zip_made_on_windows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pets.zip"
    path.write_bytes(zip_bytes({name.replace("/", "\\"): data for name, data in tree().items()}))
    assert read(write_folder(tmp_path / "plain", tree())).digest == read(path).digest


def test_a_zip_cut_or_changed_anywhere_is_refused_or_still_the_same(tmp_path: Path) -> None:
    whole, path = zip_bytes(tree()), tmp_path / "pets.zip"
    path.write_bytes(whole)
    expected = read(path).digest
    for length in cuts(len(whole))[4:]:
        path.write_bytes(whole[:length])
        assert "damaged or truncated" in refusal(path)
    for place in cuts(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        try:
            dataset = read(path)
        except DataError:
            refusal(path)
        else:  # a changed suffix leaves an image out, which CIFAR-10's counts would show
            assert expected == dataset.digest or len(dataset.train) + len(dataset.test) < 12


def test_a_zip_with_a_password_is_refused(tmp_path: Path) -> None:
    path, content = tmp_path / "pets.zip", bytearray(zip_bytes(tree()))
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = content.find(magic)
        content[place + offset] |= 1  # the flag of an encrypted member
    path.write_bytes(content)
    assert "password" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("write", [tar_bytes, None], ids=["tar", "zip"])
def test_a_member_that_is_there_twice_is_refused(tmp_path: Path, write: object) -> None:
    members = [*tree().items(), ("train/cat/0.png", png(9))]
    path = tmp_path / "pets"
    if write is None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in members:
                archive.writestr(name, data)
        path.write_bytes(buffer.getvalue())
    else:
        path.write_bytes(tar_bytes(member(name, data) for name, data in members))
    assert "holds 'train/cat/0.png' twice" in refusal(path)


@pytest.mark.parametrize("name", ["train/cat\nall is well/x.png", "../a\nb/x.png", "train/cat/a\n\x1b[2J.png"])
def test_a_member_name_with_control_characters_does_not_reach_the_message_as_it_is(tmp_path: Path, name: str) -> None:
    message = refusal(write_archive(tmp_path / "a.tar", {name: b"no image"} | tree()))
    assert "\x1b" not in message
    assert repr(name) in message


def cuts(length: int) -> list[int]:
    """Lengths to truncate to: the first and last few bytes and forty places between."""
    return sorted({*range(12), *range(0, length, length // 40), *range(length - 12, length)})


@pytest.mark.parametrize("suffix", [".tar.xz", ".tar.gz", ".tar.bz2"])
def test_a_compressed_archive_cut_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    whole = COMPRESSIONS[suffix](pack(tree()))
    path = tmp_path / f"cut{suffix}"
    for length in cuts(len(whole)):
        path.write_bytes(whole[:length])
        before = snapshot(tmp_path)
        expected = "damaged or truncated" if length else "is empty"
        assert expected in refusal(path), f"cut to {length} of {len(whole)} bytes"
        assert before == snapshot(tmp_path)


def test_a_plain_tar_cut_in_or_between_members_is_refused(tmp_path: Path) -> None:
    whole = pack(tree())
    end = len(whole.rstrip(b"\0"))
    end += -end % tarfile.BLOCKSIZE  # where the last member ends and the end marker begins
    path = tmp_path / "cut.tar"
    for length in [*range(0, end, tarfile.BLOCKSIZE), *range(100, end, tarfile.BLOCKSIZE), end]:
        path.write_bytes(whole[:length])
        expected = "damaged or truncated" if length else "is empty"
        assert expected in refusal(path), f"cut to {length} of {len(whole)} bytes"


def test_a_bad_header_after_the_first_member_is_refused_not_taken_for_the_end(tmp_path: Path) -> None:
    content = tree() | {"test/dog/3.png": png(60)}  # an end before this one would leave every class with images
    damaged = bytearray(pack(content))
    damaged[damaged.rindex(b"test/dog/3.png")] ^= 1
    path = tmp_path / "bad.tar"
    path.write_bytes(damaged)
    assert "damaged or truncated" in refusal(path)


def test_an_extended_header_that_is_no_number_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("train/dog/1.png")
        member.pax_headers = {"GNU.sparse.map": "x"}
        archive.addfile(member)
    path = tmp_path / "pax.tar"
    path.write_bytes(content.getvalue())
    assert "damaged or truncated" in refusal(path)


def test_a_changed_byte_anywhere_in_an_xz_archive_is_refused(tmp_path: Path) -> None:
    whole = COMPRESSIONS[".tar.xz"](pack(tree()))
    path = tmp_path / "flipped.tar.xz"
    for place in cuts(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        refusal(path)


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        ("is empty", b""),
        ("is a text file", b"no archive at all" * 100),
        ("is a web page", b"<!doctype html><html>"),
        ("is a git-LFS pointer", b"version https://git-lfs.github.com/spec/v1\n"),
        ("is a 7z archive: unpack it", b"7z\xbc\xaf\x27\x1c" + bytes(30)),
        ("damaged or truncated", b"PK\3\4" * 500),
        ("damaged or truncated", random.Random(0).randbytes(3000)),
    ],
)
def test_a_file_that_is_no_archive_is_refused_by_what_it_is(tmp_path: Path, expected: str, content: bytes) -> None:
    path = tmp_path / "a.tar.xz"
    path.write_bytes(content)
    assert expected in refusal(path)


def test_an_archive_without_images_is_refused(tmp_path: Path) -> None:
    assert "'train/cat'" in refusal(write_archive(tmp_path / "a.tar", {"README": b""}))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "'train/cat'" in refusal(tmp_path / "empty")
