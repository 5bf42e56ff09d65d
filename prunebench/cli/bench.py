"""Arguments of `prunebench bench`."""

from __future__ import annotations

import click

from prunebench.cli.shell import perform


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=True)
@click.argument("arguments", metavar="[PYTEST OPTIONS]...", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure the documented runs, gated by the packaged baselines.

    It is pytest on the suite that prunebench brings, so pytest's options work, and those of the suite: --workload,
    --recipe, --checkpoint, --data, --device, --precision, --seed, --table. Records are kept in .prunebench/records.

        prunebench bench --workload digits -k run3 --benchmark-disable

    Exits as pytest does.
    """
    perform("bench.bench", arguments=arguments)
