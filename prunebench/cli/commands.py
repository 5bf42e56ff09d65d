"""Commands that make things: runs, dense checkpoints, data, and the linter of documents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from prunebench.cli.options import shared
from prunebench.cli.shell import FILE, Group, say, show
from prunebench.storage.files import RUN_FOLDER, check_targets, check_writable, data_source


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="prunebench")
def main() -> None:
    """Prune a model by a sparsity table, fine-tune it under masks, and check what came out against what was claimed."""


@main.command()
def runs() -> None:
    """List the documented runs, their sparsities, sizes and accuracies."""
    from prunebench.documented.runs import REPORT, RUNS
    from prunebench.report import runs_table

    say(f"Sparsity by layer, then what is documented ('-': not documented). Source: {REPORT}.", "")
    show(runs_table(RUNS.values()))


@main.command()
@click.argument("run")
@shared("workload")
@click.option("--recipe", help="How to fine-tune; of prunebench's own workloads quick (default) or full.")
@click.option("--checkpoint", type=FILE, help="Dense checkpoint: .safetensors, .pth or .pt.")
@shared("data", "device", "precision", "seed")
@click.option("--no-finetune", is_flag=True, help="Stop after evaluating the pruned model.")
@click.option(
    "--select-on",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Images that choose the best epoch: test as documented (optimistic), or a tenth of the training images.",
)
@click.option("--json", "output", type=FILE, help=f"Where to write the record. Default: a new file in {RUN_FOLDER}/.")
@click.option("--save", type=FILE, help="Where to write the weights (.safetensors): best epoch, or pruned.")
def run(
    run: str,
    workload: str | None,
    recipe: str | None,
    checkpoint: Path | None,
    data: Path | None,
    device: str,
    precision: Any,
    seed: int,
    no_finetune: bool,
    select_on: Any,
    output: Path | None,
    save: Path | None,
) -> None:
    """Prune, evaluate, fine-tune, measure and check a run or table.

    RUN is a run of prunebench.toml, run1 ... run5, or the path of a TOML table of your own. Interrupt it any time: the same command goes on from
    the last whole epoch. Exits with 1 where a size or a floor is missed.
    """
    from prunebench.documented.runs import DocumentedRun
    from prunebench.documented.tables import table_file
    from prunebench.workloads import RequestedRun, find_recipe, find_requested_run

    requested, chosen = find_requested_run(run, workload)
    if isinstance(requested, RequestedRun):
        recipe, seed = recipe or requested.recipe, seed or requested.seed
    recipe, _ = find_recipe(chosen, recipe)
    check_targets({"--json": output, "--save": save}, inputs=(table_file(run), checkpoint, data_source(data)))
    if not output:
        check_writable(RUN_FOLDER)

    from prunebench.experiments.flow import example_of, execute, prepare
    from prunebench.experiments.requests import resolve
    from prunebench.gate import Status, check_record, worst_first
    from prunebench.machine.devices import resolve_device
    from prunebench.machine.memory import keep_freed_memory
    from prunebench.records import RunRecord, failures_kept, keep_record, name_case, write_record
    from prunebench.report import accuracy_table, heading, layer_table, verdict_lines
    from prunebench.report.progress import ProgressBar

    case = name_case(
        workload=chosen.name,
        run=requested.name,
        recipe=recipe,
        seed=seed,
        precision=precision,
        select_on=select_on,
        finetuned=not no_finetune,
    )

    def keep(record: RunRecord) -> None:
        nonlocal output
        if output:
            write_record(record, output)
        else:
            output = keep_record(record)

    keep_freed_memory()
    with ProgressBar() as progress:
        setting = prepare(
            chosen,
            recipe,
            data_path=data,
            checkpoint=checkpoint,
            device=resolve_device(device),
            precision=precision,
            seed=seed,
            select_on=select_on,
            progress=progress,
        )
        with failures_kept(case):
            resolved = resolve(requested, chosen, setting.dense.model, example_of(setting))
            record = execute(resolved, setting, finetune=not no_finetune, save=save, keep=keep, progress=progress)
    documented = resolved if isinstance(resolved, DocumentedRun) else None
    about = heading(record.run, record, [documented] if documented else [])
    show(f"{about}\n\n{layer_table(record)}\n\n{accuracy_table(record, documented)}\n")
    verdicts = worst_first(check_record(record))
    failed = [verdict for verdict in verdicts if verdict.status is Status.FAIL]
    say(*verdict_lines(failed))
    say(f"{len(verdicts) - len(failed)} of {len(verdicts)} checks passed. Record: {output}")
    sys.exit(1 if failed else 0)


@main.command()
@shared("workload", "data", "device", "precision", "seed")
@click.option("--epochs", type=click.IntRange(min=1), help="Default: the recipe's.")
@click.option("--output", type=FILE, help="Where to write it. Default: the cache, where 'run' finds it.")
def train(
    workload: str | None,
    data: Path | None,
    device: str,
    precision: Any,
    seed: int,
    epochs: int | None,
    output: Path | None,
) -> None:
    """Train a dense checkpoint from scratch. Interrupt it any time: the same command goes on.

    The cache is for what the recipe makes. With other epochs, another seed or bf16, name a file with --output, and give
    it to the other commands with --checkpoint.
    """
    from prunebench.workloads import find_workload, own_checkpoint, train_dense
    from prunebench.workloads.dense import dense_recipe

    chosen = find_workload(workload)
    if epochs == dense_recipe(chosen).epochs:
        epochs = None
    if output is None and (epochs or seed or precision != "fp32"):
        raise click.UsageError(
            "other epochs, another seed or bf16 make another checkpoint: name its file with --output"
        )
    check_targets({"--output": output}, inputs=(data_source(data),))

    from prunebench.machine.devices import resolve_device
    from prunebench.machine.memory import keep_freed_memory
    from prunebench.report.progress import ProgressBar

    keep_freed_memory()
    with ProgressBar() as progress:
        on = resolve_device(device)
        progress.stage("data")
        images = chosen.data(data, progress.loading)
        output = output or own_checkpoint(chosen, images, seed=seed)
        progress.stage("dense training")
        training = train_dense(
            chosen,
            images,
            output=output,
            epochs=epochs,
            seed=seed,
            device=on,
            precision=precision,
            progress=progress,
        )
    last = training.last.evaluation
    say(f"accuracy {last.accuracy:.2f} % ({last.correct_count:,} of {last.count:,}) after the last epoch: {output}")


@main.command()
@click.argument("tables", nargs=-1)
def lint(tables: tuple[str, ...]) -> None:
    """Recompute what documents claim of sizes, layers and accuracies.

    TABLES are names of documented runs or paths of TOML tables; without any, all documented runs and the differences
    drawn between them are checked. Exits with 1 where a claim differs.
    """
    from prunebench.documented.claims import lint as lint_run
    from prunebench.documented.claims import lint_documented
    from prunebench.documented.tables import find_run
    from prunebench.report import claims_table

    claims = [claim for table in tables for claim in lint_run(find_run(table))] if tables else lint_documented()
    show(claims_table(claims))
    differing = [claim for claim in claims if claim.status == "differs"]
    slips = [claim for claim in claims if claim.status == "known slip"]
    say("", f"{len(claims)} claims: {len(differing)} differ; known slips of the document: {len(slips)}.")
    for claim in (*differing, *slips):
        say(
            f"{claim.status}: {claim.run}: {claim.what}: documented {claim.documented}, computed {claim.computed} "
            f"({claim.source})"
        )
    sys.exit(1 if differing else 0)


@main.command()
@shared("workload", "data")
@click.option("--verify", is_flag=True, help="Decode again from the source and compare with the cached copy.")
def data(workload: str | None, data: Path | None, verify: bool) -> None:
    """Show a workload's data: where from, how many images, digests."""
    from prunebench.report import data_table
    from prunebench.report.progress import ProgressBar
    from prunebench.workloads import find_workload

    chosen = find_workload(workload)
    with ProgressBar() as progress:
        found = chosen.data(data, progress.loading)
        show(data_table(found))
        if verify:
            from prunebench.data import verify_source

            again = verify_source(found, progress.loading)
            say(
                "verified: decoding the source again gives the same digest"
                if again
                else "nothing to verify: these images are read from their source each time, there is no decoded copy"
            )
