"""Parts that all commands share: printing, and errors that end a command with one line."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from prunebench.errors import PrunebenchError, StorageError
from prunebench.escaping import shown, terminal

FILE = click.Path(path_type=Path)  # prunebench itself says what is wrong with a path


def perform(action: str, **options: Any) -> None:
    """Do what a command does: `MODULE.FUNCTION` of `prunebench.cli.actions`, which imports torch."""
    module, _, function = action.partition(".")
    getattr(importlib.import_module(f"prunebench.cli.actions.{module}"), function)(**options)


class Group(click.Group):
    """A click group that turns prunebench's errors into one line and exit code 2."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, but refuse what is not UTF-8: it could be neither printed nor kept."""
        for argument in args:
            if not _is_unicode(argument):
                fail(f"an argument is not UTF-8: {argument}")
        with _usage_in_a_line():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn what goes wrong into a line and an exit code."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a terminal that has not all letters
        try:
            with _usage_in_a_line():
                return super().invoke(ctx)
        except PrunebenchError as error:
            fail(str(error))
        except KeyboardInterrupt:
            click.echo("\ninterrupted: the same command goes on from what it had finished", err=True)
            sys.exit(130)
        except OSError as error:
            if error.filename is None:
                if error.errno == errno.EPIPE:  # a reader that left, as `head` does: click ends quietly
                    raise
                # What is left in the buffer cannot be written either: at exit that would be another error and code.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                fail(f"cannot write the output: {error.strerror}")
            name = shown(str(error.filename), most=200)
            fail(str(StorageError(f"cannot use '{name}': {error.strerror}")))


@contextlib.contextmanager
def _usage_in_a_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        fail(f"{error.format_message()} ('{error.ctx.command_path if error.ctx else 'prunebench'} --help')")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def say(*lines: str, err: bool = False) -> None:
    """Print lines, each of which stays one whatever names are in it."""
    for line in lines:
        click.echo(terminal(line), err=err)


def show(block: object) -> None:
    """Print what `prunebench.report` put together, of many lines."""
    say(*str(block).split("\n"))


def paint(word: str, colour: str) -> str:
    """`word` in a colour; as it is off a terminal, on a dumb one, and where `NO_COLOR` is set."""
    coloured = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    return click.style(word, fg=colour, bold=True) if coloured else word


def fail(message: str) -> NoReturn:
    """End with one line and exit code 2."""
    say(f"error: {message}", err=True)
    sys.exit(2)
