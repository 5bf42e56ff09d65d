"""Options that several commands share."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import click

from prunebench.cli.shell import FILE
from prunebench.errors import percent_hint

LARGEST_SEED = 2**63 - 1
"""What torch's generators take."""


class FiniteRange(click.FloatRange):
    """A float in a range; `nan` and `inf` are in none. Percents may have their sign; fractions are not percents."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The float."""
        bare = value.removesuffix("%") if isinstance(value, str) else value
        given: Any = bare if self.max == 100 else value
        try:
            converted = super().convert(given, param, ctx)
        except click.BadParameter as error:
            hint = ""
            with contextlib.suppress(ValueError):
                hint = percent_hint(float(bare)) if self.max is not None and self.max <= 1 else ""
            self.fail(f"{error.message}{hint}", param, ctx)
        if not math.isfinite(converted):
            self.fail(f"expected a finite number, got {value}", param, ctx)
        return converted


class PercentOfDense(FiniteRange):
    """A percent of the dense model; less than 1 needs its sign, for it is almost surely meant as a fraction."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The percent, as a float."""
        converted = super().convert(value, param, ctx)
        if 0 < converted < 1 and not str(value).endswith("%"):
            self.fail(f"expected percent: {100 * converted:g} for {value}, or {value}% if that is meant", param, ctx)
        return converted


ONLY = click.option("--only", metavar="IDS", multiple=True, help="Cases, with commas: digits/run3-quick,run4-quick.")


def names(given: Sequence[str]) -> list[str]:
    """The names that an option was given with, with commas between or again and again."""
    return [name.strip() for names in given for name in names.split(",") if name.strip()]


def precision_option(about: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`--precision`, with what is computed in it."""
    return click.option(
        "--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True, help=about
    )


def shared(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that several commands share, in the order given."""
    shared: dict[str, Callable[[Any], Any]] = {
        "workload": click.option(
            "--workload",
            help="A name, FILE.toml, or package.module:object. Default: what prunebench.toml describes, else shapes.",
        ),
        "data": click.option(
            "--data",
            type=FILE,
            help="Data, in the place of the workload's own path; CIFAR-10's by default from PRUNEBENCH_DATA.",
        ),
        "device": click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps or auto."),
        "precision": precision_option("Arithmetic of training; evaluation is fp32."),
        "seed": click.option("--seed", type=click.IntRange(0, LARGEST_SEED), default=0, show_default=True),
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            command = shared[name](command)
        return command

    return decorate
