"""`prunebench scan`: what each layer can lose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prunebench.cli.options import FiniteRange, precision_option, shared
from prunebench.cli.shell import FILE, say, show
from prunebench.storage.files import RUN_FOLDER, check_targets, check_writable, data_source


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
@click.option("--json", "output", type=FILE, help=f"Where to write it. Default: a new file in {RUN_FOLDER}/scans/.")
def scan(
    workload: str | None,
    checkpoint: Path | None,
    data: Path | None,
    device: str,
    precision: Any,
    sparsities: tuple[float, ...],
    compounding: bool,
    layers: str | None,
    mode: Any,
    half_width: float,
    within: float,
    confidence: float,
    on: Any,
    images: int | None,
    seed: int,
    output: Path | None,
) -> None:
    """Measure accuracy with one layer pruned at a time.

    The others stay as they are. Interrupt it any time: the same command goes on where it was. Scans of one model in one
    mode share what they found.
    """
    from prunebench.workloads import dense_model, find_workload

    chosen = find_workload(workload)
    check_targets({"--json": output}, inputs=(checkpoint, data_source(data)))
    if not output:
        check_writable(RUN_FOLDER)

    from prunebench.experiments.flow import images_to_scan
    from prunebench.machine.devices import resolve_device
    from prunebench.machine.memory import keep_freed_memory
    from prunebench.records.scans import keep_scan
    from prunebench.report import scan_heading, scan_table
    from prunebench.report.progress import ProgressBar
    from prunebench.sensitivity import HalfWidth, sensitivity_scan, write_scan
    from prunebench.storage.files import cache_folder

    keep_freed_memory()
    with ProgressBar() as progress:
        progress.stage("data")
        loaded = chosen.data(data, progress.loading)
        progress.stage("dense model")
        dense = dense_model(chosen, loaded, checkpoint=checkpoint, device=resolve_device(device), progress=progress)
        progress.stage("scan")
        found = sensitivity_scan(
            dense.model,
            images_to_scan(loaded, on=on, limit=images, seed=seed),
            task=chosen.task,
            sparsities=sparsities,
            compounding=compounding,
            layers=layers.split(",") if layers else None,
            mode=mode,
            half_width=HalfWidth(points=half_width),
            within=within,
            confidence=confidence,
            precision=precision,
            seed=seed,
            store=cache_folder() / "scans",
            model_name=chosen.model or type(dense.model).__name__,
            data_name=loaded.name if on == "test" else f"{loaded.name} {on}",
            origin=dense.origin,
            progress=progress,
        )
    if output:
        write_scan(found, output)
    else:
        output = keep_scan(found)
    show(f"{scan_heading(found)}\n\n{scan_table(found)}\n")
    say(f"Scan: {output}")
