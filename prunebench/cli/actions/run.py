"""The work of `prunebench run`: prune, evaluate, fine-tune, measure and check."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunebench.cli.shell import say, show
from prunebench.documented.runs import ELEMENT, DocumentedRun
from prunebench.documented.tables import table_file
from prunebench.experiments.flow import example_of, execute, prepare
from prunebench.experiments.requests import resolve
from prunebench.gate import Status, check_record, worst_first
from prunebench.machine.devices import resolve_device
from prunebench.machine.memory import keep_freed_memory
from prunebench.pruning import find_granularity
from prunebench.records import RunRecord, failures_kept, keep_record, name_case, write_record
from prunebench.report import accuracy_table, heading, layer_table
from prunebench.report.progress import ProgressBar
from prunebench.report.verdicts import failure_lines
from prunebench.storage.files import RUN_FOLDER, check_targets, check_writable, data_source
from prunebench.workloads import RequestedRun, find_recipe, find_requested_run


def run(
    run: str,
    workload: str | None,
    granularity: str | None,
    measures: tuple[str, ...],
    recipe: str | None,
    checkpoint: Path | None,
    data: Path | None,
    device: str,
    precision: Any,
    seed: int,
    no_finetune: bool,
    select_on: Any,
    test_images: int | None,
    output: Path | None,
    save: Path | None,
) -> None:
    """Prune, evaluate, fine-tune, measure and check a run or table."""

    requested, chosen = find_requested_run(run, workload)
    if isinstance(requested, RequestedRun):
        recipe, seed = recipe or requested.recipe, seed or requested.seed
    requested = replace(
        requested,
        granularity=find_granularity(granularity or requested.granularity).name,
        measures=measures or requested.measures,
    )
    recipe, _ = find_recipe(chosen, recipe)
    check_targets({"--json": output, "--save": save}, inputs=(table_file(run), checkpoint, data_source(data)))
    if not output:
        check_writable(RUN_FOLDER)

    case = name_case(
        workload=chosen.name,
        run=requested.name,
        recipe=recipe,
        granularity=requested.granularity,
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
            test_images=test_images,
            progress=progress,
        )
        with failures_kept(case):
            resolved = resolve(requested, chosen, setting.dense.model, example_of(setting))
            record = execute(resolved, setting, finetune=not no_finetune, save=save, keep=keep, progress=progress)
    documented = resolved if isinstance(resolved, DocumentedRun) and resolved.granularity == ELEMENT else None
    about = heading(record.run, record, [documented] if documented else [])
    show(f"{about}\n\n{layer_table(record)}\n\n{accuracy_table(record, documented)}\n")
    verdicts = worst_first(check_record(record))
    failed = [verdict for verdict in verdicts if verdict.status is Status.FAIL]
    say(*failure_lines(failed, {}))
    say(f"{len(verdicts) - len(failed)} of {len(verdicts)} checks passed. Record: {output}")
    sys.exit(1 if failed else 0)
