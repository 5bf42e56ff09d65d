"""A small project of a user: digits as its data, in a module of its folder, and commands in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from prunebench.cli import main

DATA = """
import torch
from sklearn.datasets import load_digits

def load():
    digits = load_digits()
    images, targets = torch.tensor(digits.images).float()[:, None] / 16, torch.tensor(digits.target)
    return (images[:300], targets[:300]), (images[300:500], targets[300:500])
"""
"""Of `small_data:load`."""


def invoke(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["--quiet", *arguments])
    assert code == done.exit_code, done.output
    return done


def call(*arguments: object) -> Result:
    """A command whatever its exit code, that ends in no traceback."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result
