"""`prunebench scan`: what it prints and writes, and one line for bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prunebench.cli import main
from prunebench.sensitivity import read_scan

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = ("--layers", "classifier.weight,backbone.conv7.weight", "--sparsities", "0.5,0.9", "--images", "20")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def scan(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["scan", "--workload", "digits", *map(str, arguments)])


@pytest.mark.parametrize("mode", ["exact", "adaptive", "decision"])
def test_a_scan_is_shown_and_written(untrained_checkpoint: Path, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "scan.json"
    done = scan("--checkpoint", untrained_checkpoint, *FEW, "--mode", mode, "--json", path)
    assert 0 == done.exit_code, done.output
    found = read_scan(path)
    assert (20, mode, "digits") == (found.images, found.mode, found.data)
    assert "untrained.safetensors" in done.output
    assert "conv7" in done.output
    assert "conv6" not in done.output
    assert str(path) in done.output


def test_without_a_place_it_goes_to_the_run_folder(untrained_checkpoint: Path, tmp_path: Path) -> None:
    done = scan("--checkpoint", untrained_checkpoint, *FEW, "--on", "validation")
    assert 0 == done.exit_code, done.output
    (path,) = (tmp_path / ".prunebench" / "records").glob("*.json")
    assert "digits validation" == read_scan(path).data


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--images", "601"), "images must be at most the 600 there are, got 601"),
        (("--criterion", "taylor", "--evidence-examples", "9999"), "of the training set, got 9,999"),
    ],
)
def test_more_images_than_there_are_are_refused_before_a_dense_training(
    asked: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunebench.cli.actions.scan.dense_model", lambda *_, **__: pytest.fail("it trains"))
    done = scan(*asked)
    assert 2 == done.exit_code, done.output
    assert said in done.stderr


@pytest.mark.parametrize("command", [("scan",), ("run", "run1", "--no-finetune")])
def test_where_nothing_can_be_kept_it_says_so_before_anything_is_read(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / ".prunebench").write_text("a file where the folder belongs")
    done = CliRunner().invoke(main, [*command, "--checkpoint", "absent.pth"])
    assert 2 == done.exit_code
    assert "cannot write '.prunebench/records'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sparsities", "0.5,1.5"), "1.5"),
        (("--sparsities", "0.5,nan"), "nan"),
        (("--sparsities", "half"), "'half'"),
        (("--layers", "backbone.conv77.weight"), "did you mean 'backbone.conv7.weight'"),
        (("--images", "5000"), "at most the 600"),
        (("--mode", "adaptive", "--half-width", "0"), "'--half-width': 0.0 is not in the range"),
        (("--mode", "decision", "--within", "-1"), "within"),
        (("--confidence", "1"), "confidence"),
        (("--workload", "imagenet"), "imagenet"),
    ],
)
def test_bad_input_is_one_line(untrained_checkpoint: Path, arguments: tuple[str, ...], said: str) -> None:
    done = scan("--checkpoint", untrained_checkpoint, *arguments)
    assert 2 == done.exit_code
    assert said in done.output
    assert 1 == len(done.output.strip().splitlines())


def test_the_checkpoint_is_not_overwritten(untrained_checkpoint: Path) -> None:
    before = untrained_checkpoint.read_bytes()
    done = scan("--checkpoint", untrained_checkpoint, *FEW, "--json", untrained_checkpoint)
    assert 2 == done.exit_code
    assert "error: --json would overwrite" in done.output
    assert before == untrained_checkpoint.read_bytes()
