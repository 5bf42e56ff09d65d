"""The work of `prunebench plan`: plan a sparsity table, and measure it."""

from __future__ import annotations

import sys
from typing import Any

import click
from click.core import ParameterSource

from prunebench.baselines.collected import read_any_scan
from prunebench.cli.shell import FILE, say, show
from prunebench.documented.tables import table_file
from prunebench.errors import PlanError, UnknownNameError
from prunebench.experiments.plan_request import FROM_SCAN, Request
from prunebench.experiments.plans import Kept, by_rule, load_base, reported, searched
from prunebench.machine.memory import keep_freed_memory
from prunebench.planning import Curves, Inventory, Plan, Reported, Trial, allocation_names, make_plan
from prunebench.report.plans import cost_table, plan_accuracy_table, plan_table, trial_line, trials_table
from prunebench.report.progress import ProgressBar
from prunebench.sensitivity import Scan
from prunebench.storage.files import check_targets, data_source, write_text


def plan(**options: Any) -> None:
    """Plan a sparsity table for a size or a largest drop of accuracy."""
    request = Request(**options)
    _check(request)
    _check_files(request)
    with ProgressBar() as progress:
        kept = Kept(request.json_file, lambda trial: progress.line(trial_line(trial)))
        scan = _scan(request)
        curves = Curves.of_scan(scan, caution=request.caution, extrapolate=request.extrapolate) if scan else None
        if scan and not request.needs_model:
            base, inventory, model = None, Inventory.of_scan(scan), scan.model
        else:
            keep_freed_memory()
            base = load_base(request, scan, progress)
            inventory, model = base.inventory, base.workload.model or type(base.model).__name__
        kept.begin(request, base, scan)
        best: Trial | None = None
        if base and request.search:
            best, trials = searched(request, inventory, curves, base, kept, progress)
        sparsity = best.sparsity if best else by_rule(request, inventory, curves, base)
        rule = "search" if best else request.rule
        made = make_plan(rule, sparsity, inventory, model=model, source=_source(request, scan), curves=curves)
        measured = reported(request, made, curves, base, progress) if base and request.needs_images else None
    show(f"{plan_table(made)}\n\n{cost_table(made, inventory)}")
    if rule == "optimal" and (unused := _unused_limit(request, inventory, sparsity)):
        say("", unused)
    if best and base and base.images:
        say("", f"Measured on {len(base.images.choosing):,} {request.choose_on} images:", "")
        show(trials_table(trials, elements=inventory.elements, best=best))
    _show_accuracy(made, measured)
    _write(request, made, measured, kept)
    if missed := _missed(request, measured):
        say("", missed)
        sys.exit(1)


def _check(request: Request) -> None:
    """Check that the options go together.

    Raises:
        click.UsageError: one is missing, or two contradict each other.
    """
    targets, named = request.targets, "--size, --nonzeros, --file-size or --macs"
    rule, drop = request.rule, request.max_drop is not None
    problem = None
    if len(targets) > 1:
        problem = f"give only one of {named}"
    elif request.search and (rule != "optimal" or drop or not targets):
        problem = f"--search varies plans of one size: it needs one of {named}, and takes neither --rule nor --max-drop"
    elif rule in FROM_SCAN and request.scan_file is None and not request.search:
        problem = f"--rule {rule} reads sensitivity curves: give a scan with --scan FILE"
    elif rule == "optimal" and len(targets) + drop != 1:
        problem = f"--rule optimal needs either --max-drop or one of {named}"
    elif rule in {"documented", "compounding"} and not drop:
        problem = f"--rule {rule} needs --max-drop: the points that a layer alone may lose"
    elif rule == "compounding" and targets:
        problem = "--rule compounding takes no target of size: the scan and --max-drop say how far it goes"
    elif rule not in FROM_SCAN and (drop or not targets):
        problem = f"--rule {rule} needs one of {named}, and no --max-drop: it knows nothing of accuracy"
    elif request.workers > 1 and not request.search:
        problem = f"--workers is for --search, got --workers {request.workers}"
    elif request.previous and rule != "compounding":
        problem = f"--previous is for --rule compounding, got --rule {rule}"
    elif request.finetune and not request.needs_images:
        problem = "--finetune is part of measuring: it needs --measure or --search"
    if problem:
        raise click.UsageError(problem)
    if rule not in (*FROM_SCAN, *allocation_names()) and ":" not in rule:
        raise UnknownNameError("rule", rule, [*FROM_SCAN, *allocation_names()])


def _check_files(request: Request) -> None:
    """Check that no file is written that is read; but that of --json, whose trials a later command adds to."""
    previous = table_file(request.previous) if request.previous else None
    inputs = [request.scan_file, previous, request.checkpoint, data_source(request.data)]
    check_targets({"--output": request.output, "--json": request.json_file}, inputs=inputs)


def _scan(request: Request) -> Scan | None:
    scan = read_any_scan(request.scan_file) if request.scan_file else None
    if scan and scan.compounding and request.rule == "compounding":
        raise PlanError(
            f"the sparsities of '{request.scan_file}' are compounded already (scan --compounding), and --rule "
            "compounding would do it again: take --rule documented, or a scan without --compounding"
        )
    return scan


def _source(request: Request, scan: Scan | None) -> list[str]:
    """Lines for people on how the plan was made: the options given, but for files and machines, and the scan."""
    context = click.get_current_context()
    given = [] if request.search else [f"--rule {request.rule}"]
    for option in context.command.params:
        untold = option.name in {"rule", "workload", "device", "workers"} or option.type is FILE
        if not untold and context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE:
            value = context.params[option.name or ""]
            given.append(option.opts[0] if value is True else f"{option.opts[0]} {str(value).removesuffix('.0')}")
    lines = [" ".join(given)]
    if scan and request.scan_file:
        lines.append(
            f"scan {request.scan_file.name}: model {scan.model_digest[:12]}, {scan.images:,} images of {scan.data}, "
            f"base accuracy {scan.base_accuracy:.2f} %"
        )
    return lines


def _unused_limit(request: Request, inventory: Inventory, sparsity: dict[str, float]) -> str | None:
    """A warning where a plan stays far within its limit, which looks like a mistake; else None."""
    limit = request.limit(inventory)
    if limit is None:
        return None
    spent = inventory.percent(limit[0], inventory.kept(sparsity))
    unpruned = inventory.percent(limit[0], inventory.base_kept)
    most = min(unpruned, 100 * limit[1] / inventory.dense_total(limit[0]))
    if spent > 0.95 * most:
        return None
    return (
        f"It takes {spent:.2f} % of dense where {most:.2f} % is allowed: by these curves no candidate sparsities in "
        "between lose less. A smaller --step makes more candidates."
    )


def _show_accuracy(made: Plan, measured: Reported | None) -> None:
    if measured:
        show(f"\n{plan_accuracy_table(measured)}")
    elif made.predicted_accuracy is not None:
        say(
            "",
            f"Predicted: {made.predicted_accuracy:.2f} % of the scanned images right, base model "
            f"{made.base_accuracy:.2f} %, as if layers did not disturb one another: --measure shows.",
        )


def _write(request: Request, made: Plan, measured: Reported | None, kept: Kept) -> None:
    lines = list(made.source)
    if made.predicted_accuracy is not None:
        lines.append(f"predicted accuracy, on the scanned images: {made.predicted_accuracy:.2f} %")
    if measured:
        finetuned = "" if measured.finetuned is None else f", fine-tuned {measured.finetuned:.2f} %"
        found = f"{measured.measured:.2f} %{finetuned}, base model {measured.base:.2f} %"
        lines.append(f"measured on {measured.images:,} test images: {found}")
    made = made.model_copy(update={"source": lines})
    if request.output:
        write_text(request.output, made.as_toml)
        say("", f"Table: {request.output}")
    if request.json_file:
        kept.write(plan=made, reported=measured)
        say(f"Record: {request.json_file}")


def _missed(request: Request, measured: Reported | None) -> str | None:
    """A message where an `optimal` plan loses more than --max-drop, else None: other rules mean each layer alone."""
    if request.max_drop is None or request.rule != "optimal" or measured is None:
        return None
    lost = measured.base - (measured.measured if measured.finetuned is None else measured.finetuned)
    if lost <= request.max_drop + 1e-9:
        return None
    return f"On these images the plan loses {lost:.2f} points, more than the {request.max_drop:g} of --max-drop."
