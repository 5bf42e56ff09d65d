"""On a pseudo-terminal: its width, colours where they are wanted, a bar while something goes on and nothing after."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from record_factory import make_baseline, make_record

from prunebench.baselines.shelf import write_baseline
from prunebench.records import keep_record

ROOT = Path(__file__).parents[1]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
COMPARE = ("-m", "prunebench.cli", "compare", "records")
LIST = ("-m", "prunebench.cli", "baseline", "list")


def environment(**given: str) -> dict[str, str]:
    unwanted = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "PRUNEBENCH_QUIET", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "TERM": "xterm", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **given}


def on_a_terminal(*arguments: str, folder: Path, columns: int = 80, **given: str) -> str:
    """Everything that python with these arguments writes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment(**given)
    )
    os.close(theirs)
    written = b""
    while chunk := _read(ours):
        written += chunk
    process.wait()
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so where the other end is closed
        return b""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A regression: records, and baselines with a long name among them."""
    write_baseline(make_baseline(make_record()), tmp_path / "baselines")
    write_baseline(make_baseline(make_record(run="a-run-with-a-long-name", recipe="full")), tmp_path / "baselines")
    keep_record(make_record(extra_nonzeros=3), tmp_path / "records")
    return tmp_path


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_lines_fit_the_terminal_but_for_a_command_to_copy(folder: Path, columns: int) -> None:
    for command in (COMPARE, LIST):
        lines = COLOUR.sub("", on_a_terminal(*command, folder=folder, columns=columns)).splitlines()
        assert columns >= max(len(line) for line in lines if "prunebench baseline" not in line)
        assert columns - 20 < max(map(len, lines))


def test_the_page_quotes_what_is_printed(folder: Path) -> None:
    page = (ROOT / "docs/reference/terminal.md").read_text(encoding="utf-8")
    quoted = page.partition("$ prunebench compare records\n")[2].partition("```")[0]
    assert quoted == COLOUR.sub("", on_a_terminal(*COMPARE, "--only", "tiny-quick", folder=folder))


def test_a_status_is_coloured_on_a_terminal_that_wants_it(folder: Path) -> None:
    assert "\x1b[31m\x1b[1mFAIL\x1b[0m  Not the same as" in on_a_terminal(*COMPARE, folder=folder)


@pytest.mark.parametrize("given", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_a_terminal_that_wants_no_colour_gets_none(folder: Path, given: dict[str, str]) -> None:
    printed = on_a_terminal(*COMPARE, folder=folder, **given)
    assert "FAIL  Not the same as" in printed
    assert "\x1b" not in printed


def test_a_pipe_gets_no_colour_80_columns_and_whole_names(folder: Path) -> None:
    for command in (COMPARE, LIST):
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, cwd=folder, env=environment(), check=False
        )
        assert "\x1b" not in done.stdout
        assert 80 >= max(len(line) for line in done.stdout.splitlines() if "prunebench baseline" not in line)
    assert "digits/a-run-with-a-long-name-full" in done.stdout


WORK = """
from prunebench.report.progress import ProgressBar
from test_progress import EPOCH
with ProgressBar() as bar:
    bar.stage("fine-tuning")
    bar.step(2, 3, 4, 4)
    bar.epoch_done(EPOCH, 3)
    bar.step(3, 3, 2, 4)
    bar._bar.refresh()
    {end}
print("done")
"""
LINE = "fine-tuning: epoch 2/3, loss 0.5000, accuracy 75.00 %, 12 s, 00:12 left"


def test_a_bar_is_of_the_whole_training_and_goes_away(tmp_path: Path) -> None:
    printed = on_a_terminal("-c", WORK.format(end=""), folder=tmp_path)
    assert "fine-tuning: epoch 3/3, loss 0.5000, 75.00 %:  83 %" in printed
    assert re.search(r"\d\d:\d\d, \d\d:\d\d left", printed)
    assert f"{LINE}\n" in printed
    assert printed.endswith("\rdone\n")


def test_an_interrupt_leaves_a_clean_line(tmp_path: Path) -> None:
    printed = on_a_terminal("-c", WORK.format(end="raise KeyboardInterrupt"), folder=tmp_path)
    last = printed.partition("Traceback")[0].split("\r")
    assert ["", " " * 79] == [last[-1], last[-2]]


@pytest.mark.parametrize(
    ("given", "printed"), [({"PRUNEBENCH_QUIET": "1"}, "done\n"), ({"TERM": "dumb"}, f"{LINE}\ndone\n")], ids=str
)
def test_no_bar_where_none_is_wanted_or_none_can_be(given: dict[str, str], printed: str, tmp_path: Path) -> None:
    assert printed == on_a_terminal(
        "-c", WORK.format(end="").replace("bar._bar.refresh()", ""), folder=tmp_path, **given
    )


def test_quiet_is_an_option_of_every_command(folder: Path) -> None:
    code = "import os, click; from prunebench.cli import main;"
    code += "main.add_command(click.Command('shown', callback=lambda: print(os.environ['PRUNEBENCH_QUIET'])));"
    code += "main(['--quiet', 'shown'], standalone_mode=False); print('PRUNEBENCH_QUIET' in os.environ)"
    assert "1\nFalse\n" == on_a_terminal("-c", code, folder=folder)
