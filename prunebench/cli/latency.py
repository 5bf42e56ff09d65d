"""Arguments and options of `prunebench latency`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import names, shared
from prunebench.cli.shell import FILE, perform
from prunebench.documented.runs import RUNTIMES


class Runtimes(click.ParamType):  # type: ignore[type-arg]  # subscriptable from click 8.4 only
    """Runtimes with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """A tuple of names, each once."""
        found = tuple(dict.fromkeys(names([value]))) if isinstance(value, str) else tuple(value)
        if not found or not {*found} <= {*RUNTIMES}:
            self.fail(f"expected some of {', '.join(RUNTIMES)}, with commas, got {value!r}", param, ctx)
        return found


@click.command()
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@shared("workload", "data")
@click.option("--runtime", "runtimes", type=Runtimes(), default="eager", show_default=True,
              help="eager, compile (torch.compile), onnx (ONNX Runtime), openvino; with commas.")  # fmt: skip
@click.option("--batch", "batches", type=click.IntRange(1, 4096), multiple=True, default=(1, 64), show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Of each side. Default: as many as there are cores.")
@click.option("--launches", type=click.IntRange(min=8), default=12, show_default=True,
              help="Pairs of new processes; more make the interval narrower.")  # fmt: skip
@click.option("--json", "output", type=FILE, help="Where to write the raw seconds and verdicts.")
def latency(**options: Any) -> None:
    """Time checkpoint B beside A, and say whether it is faster.

    Each side has a process of its own; they take turns. Nothing fails here: a verdict is printed.
    """
    perform("latency.latency", **options)
