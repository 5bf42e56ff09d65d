"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable

import click

from prunebench.cli.shell import FILE


def shared(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that several commands share, in the order given."""
    shared = {
        "workload": click.option("--workload", default="digits", show_default=True, help="digits or cifar10."),
        "data": click.option("--data", type=FILE, help="CIFAR-10: a folder or archive. Default: PRUNEBENCH_DATA."),
        "device": click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps or auto."),
        "precision": click.option(
            "--precision",
            type=click.Choice(["fp32", "bf16"]),
            default="fp32",
            show_default=True,
            help="Arithmetic of training; evaluation is fp32.",
        ),
        "seed": click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            command = shared[name](command)
        return command

    return decorate
