"""Arguments and options of `prunebench export`."""

from __future__ import annotations

from typing import Any

import click

from prunebench.cli.options import shared
from prunebench.cli.shell import FILE, perform


@click.command()
@click.argument("checkpoint", type=FILE)
@shared("workload", "data")
@click.option("-o", "--output", type=FILE, required=True, help="Where to write: .onnx or .safetensors.")
@click.option("--format", "form", metavar="NAME", help="onnx, safetensors, or another's. Default: by the suffix.")
@click.option("--record", type=FILE, help="The record of the run that made CHECKPOINT, for the model card.")
@click.option("--check/--no-check", default=True, help="Ask the file and compare it with the model. Default: yes.")
@click.option("--check-only", is_flag=True, help="Check the file that is there; export nothing.")
@click.option("--images", type=click.IntRange(min=1), help="Check with only so many test images.")
def export(**options: Any) -> None:
    """Write a model for other programs, and check what they answer.

    Beside the file are its model card (.md) and what the check found (.check.json). A file whose weights, outputs or
    answers are not the model's ends with exit code 1.
    """
    perform("export.export", **options)
