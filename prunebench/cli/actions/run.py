"""The work of `prunebench run`: prune, evaluate, fine-tune, measure and check."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunebench.cli.shell import say, show
from prunebench.documented.method import Method
from prunebench.documented.runs import DocumentedRun, Run
from prunebench.documented.tables import table_file
from prunebench.errors import PlanError
from prunebench.experiments.flow import execute, prepare
from prunebench.experiments.requests import requested_run, resolve
from prunebench.gate import Status, check_record, worst_first
from prunebench.machine.devices import resolve_device
from prunebench.machine.memory import keep_freed_memory
from prunebench.records import RunRecord, failures_kept, keep_record, name_case, write_record
from prunebench.report import accuracy_table, heading, layer_table
from prunebench.report.progress import ProgressBar
from prunebench.report.verdicts import failure_lines
from prunebench.storage.files import RUN_FOLDER, check_targets, check_writable, data_source
from prunebench.workloads import RequestedRun, Workload, find_recipe
from prunebench.workloads.configuration import ALLOCATING


def run(
    run: str | None,
    workload: str | None,
    asked: Mapping[str, Any],
    early: Path | None,
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

    requested, chosen = _requested(run, workload, asked)
    if isinstance(requested, RequestedRun):
        recipe, seed = recipe or requested.recipe, seed or requested.seed
    requested = replace(requested, early=early or requested.early, measures=measures or requested.measures)
    recipe, _ = find_recipe(chosen, recipe)
    check_targets(
        {"--json": output, "--save": save}, inputs=(table_file(run or ""), checkpoint, early, data_source(data))
    )
    if not output:
        check_writable(RUN_FOLDER)

    case = name_case(
        workload=chosen.name,
        run=requested.name,
        recipe=recipe,
        method=requested.method,
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
            resolved = resolve(requested, chosen, setting.dense.model, setting.data, seed=seed)
            record = execute(resolved, setting, finetune=not no_finetune, save=save, keep=keep, progress=progress)
    documented = resolved if isinstance(resolved, DocumentedRun) and resolved.method == Method() else None
    about = heading(record.run, record, [documented] if documented else [])
    show(f"{about}\n\n{layer_table(record)}\n\n{accuracy_table(record, documented)}\n")
    verdicts = worst_first(check_record(record))
    failed = [verdict for verdict in verdicts if verdict.status is Status.FAIL]
    say(*failure_lines(failed, {}))
    say(f"{len(verdicts) - len(failed)} of {len(verdicts)} checks passed. Record: {output}")
    sys.exit(1 if failed else 0)


def _requested(run: str | None, workload: str | None, asked: Mapping[str, Any]) -> tuple[Run | RequestedRun, Workload]:
    """The run that is asked for, with what its method is asked to be."""
    given = {name: value for name, value in asked.items() if value not in (None, (), False)}
    for name, example in (("schedule_settings", "--schedule-setting takes NAME=VALUE, such as end=0.7"),
                          ("limits", "--limit takes LAYERS=MOST, such as 'conv1.*=0.5'")):  # fmt: skip
        if name in given:
            given[name] = dict(_setting(text, example) for text in given[name])
    if run is None and "total" not in given:
        raise PlanError("nothing to prune: expected a run, such as run3, or --total, the share to prune in [0, 1]")
    if run is not None and (both := ALLOCATING & given.keys()):
        option = min(both).replace("_", "-").removesuffix("s")
        raise PlanError(f"run '{run}' says how much to prune: expected no --{option}, or no run")
    return requested_run(run, workload, given, source="the command line")


def _setting(text: str, expected: str) -> tuple[str, Any]:
    """Name and value of a setting, which is written as in TOML, or is a plain word."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise PlanError(f"{expected}, got '{text}'")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value
