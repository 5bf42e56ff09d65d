"""Arguments and options of `prunebench scan`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import FiniteRange, precision_option, shared
from prunebench.cli.shell import FILE, perform
from prunebench.storage.files import RUN_FOLDER


class Fractions(click.ParamType):  # type: ignore[type-arg]  # subscriptable from click 8.4 only
    """Numbers with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """A tuple of floats in [0, 1]."""
        if isinstance(value, tuple):
            return value
        percent = value.replace("%", "")
        try:
            found = tuple(float(part) for part in percent.split(","))
        except ValueError:
            self.fail(f"expected numbers with commas between them, got {value!r}", param, ctx)
        if percent != value or not all(0 <= each <= 1 for each in found):
            meant = [each / 100 if each > 1 or percent != value else each for each in found]
            listed = ",".join(f"{each:g}" for each in meant)
            hint = f"; did you mean {listed}?" if 0 <= min(meant) <= max(meant) <= 1 else ""
            self.fail(f"expected numbers in [0, 1], got {value}{hint}", param, ctx)
        return found


@click.command()
@shared("workload")
@click.option("--checkpoint", type=FILE, help="The model to scan: dense, pruned or fine-tuned.")
@shared("data", "device")
@precision_option("Arithmetic of the answers.")
@click.option(
    "--sparsities",
    type=Fractions(),
    default="0.4,0.5,0.6,0.7,0.8,0.9",
    show_default=True,
    help="Absolute, with commas.",
)
@click.option(
    "--compounding",
    is_flag=True,
    help="Sparsities are fractions of what each layer of a pruned model has left.",
)
@click.option("--criterion", default="magnitude", show_default=True, help="What is pruned first, such as taylor.")
@click.option("--granularity", default="element", show_default=True, help="What is pruned as one, such as channel.")
@click.option("--evidence-examples", type=click.IntRange(1), help="Training examples that a criterion reads.")
@click.option("--layers", help="Only these parameters, with commas. Default: every prunable one.")
@click.option(
    "--mode",
    type=click.Choice(["exact", "adaptive", "decision"]),
    default="exact",
    show_default=True,
    help="Every image; or random images until the intervals are narrow; or until it is known how far a layer can go.",
)
@click.option(
    "--half-width",
    type=FiniteRange(0, 100, min_open=True),
    default=0.5,
    show_default=True,
    help="adaptive: points, or a tenth of the drop.",
)
@click.option(
    "--within", type=FiniteRange(0, 100), default=1.0, show_default=True, help="decision: points that may be lost."
)
@click.option(
    "--confidence",
    type=FiniteRange(0.5, 1, max_open=True),
    default=0.95,
    show_default=True,
    help="Of intervals and decisions.",
)
@click.option("--on", type=click.Choice(["test", "validation"]), default="test", show_default=True,
              help="Images to ask: the test set, or a tenth of the training images, so that a plan is not made on the "
              "images that judge it.")  # fmt: skip
@click.option("--images", type=click.IntRange(min=1), help="Only so many of them, drawn by seed.")
@shared("seed")
@click.option("--json", "output", type=FILE, help=f"Where to write it. Default: a new file in {RUN_FOLDER}/.")
def scan(**options: Any) -> None:
    """Measure accuracy with one layer pruned at a time.

    The others stay as they are. Interrupt it any time: the same command goes on where it was. Scans of one model in one
    mode share what they found.
    """
    perform("scan.scan", **options)
