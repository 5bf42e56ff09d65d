"""The work of `prunebench plan`: plan a sparsity table, and measure it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from prunebench.baselines.collected import read_any_scan
from prunebench.cli.shell import say, show
from prunebench.documented.tables import find_run, table_file
from prunebench.errors import PlanError, UnknownNameError
from prunebench.experiments.plan_request import FROM_SCAN, TARGETS, Request, goal_of, limit_of
from prunebench.experiments.plan_trials import (
    Base,
    Loaded,
    check_earlier,
    keep_plan,
    keep_trials,
    load_base,
    measured_on_test,
    refined,
    with_earlier,
)
from prunebench.experiments.requests import kept_dense
from prunebench.machine.memory import keep_freed_memory
from prunebench.models import prunable_parameters
from prunebench.planning import (
    Curves,
    Inventory,
    Plan,
    Refinement,
    allocate,
    allocate_to_limit,
    allocation_names,
    compounding,
    documented_reading,
    find_allocation,
    make_plan,
    optimal_plan,
)
from prunebench.report.plans import cost_table, plan_accuracy_table, plan_table, trial_line, trials_table
from prunebench.report.progress import ProgressBar
from prunebench.sensitivity import Scan
from prunebench.storage.files import check_targets, data_source, write_text
from prunebench.workloads import find_workload
from prunebench.workloads.registry import architecture_of


def plan(**options: Any) -> None:
    """Plan a sparsity table for a size or a largest drop of accuracy."""
    request = Request(**options)
    _check(request)

    check_targets({"--output": request.output, "--json": request.json_file}, inputs=_inputs(request))
    scan = read_any_scan(request.scan_file) if request.scan_file else None
    check_earlier(request, scan.model_digest if scan else None)
    if scan and scan.compounding and request.rule == "compounding":
        raise PlanError(
            f"the sparsities of '{request.scan_file}' are compounded already (scan --compounding), and --rule "
            "compounding would do it again: take --rule documented, or a scan without --compounding"
        )
    curves = Curves.of_scan(scan, caution=request.caution, extrapolate=request.extrapolate) if scan else None
    if request.needs_model:
        keep_freed_memory()
    with ProgressBar() as progress:
        base = load_base(request, scan, progress) if request.needs_model else None
        loaded = base if isinstance(base, Loaded) else None
        inventory = curves.inventory if curves else _inventory(base)
        refinement = None
        if request.rounds:
            assert curves is not None
            assert loaded is not None
            refinement = refined(request, curves, loaded, progress, lambda trial: progress.line(trial_line(trial)))
            sparsity = refinement.best.sparsity
        else:
            sparsity = _sparsity(request, inventory, curves, base)
        made = make_plan(
            request.rule,
            sparsity,
            inventory,
            model=(base.workload.model or type(base.model).__name__) if base else scan.model if scan else "",
            source=_source(request, scan),
            curves=curves,
            interaction=refinement.interaction if refinement else None,
        )
        tested = measured_on_test(request, made, curves, loaded, progress) if request.measure or refinement else None
    show(f"{plan_table(made)}\n\n{cost_table(made, inventory)}")
    if request.rule == "optimal" and refinement is None and (unused := _unused_limit(request, inventory, sparsity)):
        say("", unused)
    if refinement:
        count = len(loaded.choosing) if loaded else 0
        say("", f"Measured on {count:,} {request.choose_on} images:", "")
        show(trials_table(refinement.trials, elements=inventory.elements, best=refinement.best))
    _show_accuracy(made, loaded, tested)
    _write(
        request, made, loaded, refinement, tested, made_for=base.digest if base else scan.model_digest if scan else None
    )
    if refinement and refinement.best.kind == "base" and request.max_drop is not None:
        say("", f"No plan measured keeps within {request.max_drop:g} points: what is shown is the base model.")
        sys.exit(1)
    if missed := _missed(request, tested):
        say("", missed)
        if not refinement:  # which chose what keeps within it, on other images
            sys.exit(1)


def _inventory(base: Base | None) -> Inventory:
    assert base is not None, "without a scan the model is loaded"
    if not isinstance(base, Loaded) and base.workload.input_shape:
        return Inventory.of_model(base.model, base.workload.input_shape)
    data = base.data if isinstance(base, Loaded) else base.workload.data()
    return Inventory.of_model(base.model, data.test.fed(data.test.inputs[:1]))


def _show_accuracy(made: Plan, loaded: Loaded | None, tested: dict[str, Any] | None) -> None:

    if tested and loaded:
        show(f"\n{plan_accuracy_table(**tested, images=_images(loaded))}")
    elif made.base_accuracy is not None:
        predicted = made.predicted_accuracy
        show(f"\n{plan_accuracy_table(base=made.base_accuracy, predicted=predicted, images='scanned images')}")
        say("", "Predicted as if layers did not disturb one another: --measure shows, and --refine corrects it.")


def _inputs(request: Request) -> list[Path | None]:
    """The files that are read and never written: not that of --json, whose trials a later command adds to."""

    previous = table_file(request.previous) if request.previous else None
    return [request.scan_file, previous, request.checkpoint, data_source(request.data)]


def _check(request: Request) -> None:
    """Check that the options go together.

    Raises:
        click.UsageError: one is missing, or two contradict each other.
    """
    targets = [name for name in TARGETS if getattr(request, name) is not None]
    named = "--size, --nonzeros, --file-size or --macs"
    rule, drop = request.rule, request.max_drop is not None
    problem = None
    if len(targets) > 1:
        problem = f"give only one of {named}"
    elif rule in FROM_SCAN and request.scan_file is None:
        problem = f"--rule {rule} reads sensitivity curves: give a scan with --scan FILE"
    elif rule == "optimal" and len(targets) + drop != 1:
        problem = f"--rule optimal needs either --max-drop or one of {named}"
    elif rule in {"documented", "compounding"} and not drop:
        problem = f"--rule {rule} needs --max-drop: the points that a layer alone may lose"
    elif rule == "compounding" and targets:
        problem = "--rule compounding takes no target of size: the scan and --max-drop say how far it goes"
    elif rule not in FROM_SCAN and (drop or not targets):
        problem = f"--rule {rule} needs one of {named}, and no --max-drop: it knows nothing of accuracy"
    elif request.previous and rule != "compounding":
        problem = f"--previous is for --rule compounding, got --rule {rule}"
    elif request.rounds and rule != "optimal":
        problem = f"--refine corrects what --rule optimal plans by, got --rule {rule}"
    elif request.search and not (request.rounds and targets):
        problem = f"--search moves sparsity at a fixed size: it needs --refine and one of {named}"
    elif request.finetune and not (request.rounds or request.measure):
        problem = "--finetune is part of measuring: it needs --measure or --refine"
    if problem:
        raise click.UsageError(problem)
    if rule not in (*FROM_SCAN, *allocation_names()) and ":" not in rule:
        raise UnknownNameError("rule", rule, [*FROM_SCAN, *allocation_names()])


def _unused_limit(request: Request, inventory: Inventory, sparsity: dict[str, float]) -> str | None:
    """A warning where a plan stays far within its limit, which looks like a mistake; else None."""
    limit = limit_of(request, inventory)
    if limit is None:
        return None
    spent = inventory.percent(limit[0], inventory.kept(sparsity))
    unpruned = inventory.percent(limit[0], {layer.name: layer.nonzeros for layer in inventory.layers})
    most = min(unpruned, 100 * limit[1] / inventory.dense_total(limit[0]))
    if spent > 0.95 * most:
        return None
    return (
        f"It takes {spent:.2f} % of dense where {most:.2f} % is allowed: by these curves no candidate sparsities in "
        "between lose less. A smaller --step makes more candidates."
    )


def _missed(request: Request, tested: dict[str, Any] | None) -> str | None:
    """A message where an `optimal` plan loses more than --max-drop, else None: other rules mean each layer alone."""
    if request.max_drop is None or request.rule != "optimal" or tested is None:
        return None
    lost = tested["base"] - (tested["measured"] if tested["finetuned"] is None else tested["finetuned"])
    if lost <= request.max_drop + 1e-9:
        return None
    return f"On these images the plan loses {lost:.2f} points, more than the {request.max_drop:g} of --max-drop."


def _sparsity(request: Request, inventory: Inventory, curves: Curves | None, base: Base | None) -> dict[str, float]:

    limit = limit_of(request, inventory)
    if request.rule in FROM_SCAN:
        assert curves is not None
        if request.rule == "optimal":
            return optimal_plan(curves, goal_of(request, inventory), step=request.step)
        assert request.max_drop is not None
        if request.rule == "documented":
            cost, most = limit or ("size", None)
            return documented_reading(curves, max_drop=request.max_drop, cost=cost, limit=most)
        return compounding(curves, max_drop=request.max_drop, previous=_previous(request))

    assert limit is not None
    allocation = find_allocation(request.rule)
    weights = prunable_parameters(base.model) if base else {}
    dense = kept_dense(base.workload, weights) if base else set()
    open_ = inventory.without(dense)

    def allocator(of: Inventory, nonzeros: int) -> dict[str, int]:
        return allocate(allocation, of, nonzeros, weights)

    kept = allocate_to_limit(allocator, open_, cost=limit[0], limit=limit[1])
    return {**{layer.name: layer.sparsity for layer in inventory.layers}, **open_.sparsity(kept)}


def _previous(request: Request) -> dict[str, float] | None:
    of = architecture_of(find_workload(request.workload))

    return dict(find_run(request.previous, of).sparsity) if request.previous else None


def _images(loaded: Loaded) -> str:
    return f"{len(loaded.reporting):,} test images"


def _source(request: Request, scan: Scan | None) -> list[str]:
    """Lines for people on how the plan was made."""
    spelled = {
        "size_percent": "--size",
        "nonzeros": "--nonzeros",
        "file_percent": "--file-size",
        "macs_percent": "--macs",
    }
    target = f" {spelled[request.target]} {getattr(request, request.target)}" if request.target else ""
    drop = f" --max-drop {request.max_drop:g}" if request.max_drop is not None else ""
    least = f" --cost {request.cost}" if drop and request.rule == "optimal" else ""
    refined = f" --refine {request.rounds}" if request.rounds else ""
    searched = f" --search {request.search}" if request.search else ""
    origin = click.get_current_context().get_parameter_source
    given = [name for name in ("step", "caution") if origin(name) is ParameterSource.COMMANDLINE]
    others = "".join(f" --{name} {getattr(request, name):g}" for name in given)
    flags = " --extrapolate" * request.extrapolate + " --finetune" * request.finetune
    flags += " --precision bf16" * (request.precision == "bf16")
    previous = f" --previous {request.previous}" if request.previous else ""
    lines = [f"--rule {request.rule}{target}{drop}{least}{refined}{searched}{others}{flags}{previous}"]
    if scan and request.scan_file:
        lines.append(
            f"scan {request.scan_file.name}: model {scan.model_digest[:12]}, {scan.images:,} images of {scan.data}, "
            f"base accuracy {scan.base_accuracy:.2f} %"
        )
    return lines


def _write(
    request: Request,
    made: Plan,
    loaded: Loaded | None,
    refinement: Refinement | None,
    tested: dict[str, Any] | None,
    *,
    made_for: str | None,
) -> None:
    lines = list(made.source)
    if made.predicted_accuracy is not None:
        lines.append(f"predicted accuracy, on the scanned images: {made.predicted_accuracy:.2f} %")
    if tested and loaded:
        finetuned = "" if tested["finetuned"] is None else f", fine-tuned {tested['finetuned']:.2f} %"
        measured = f"{tested['measured']:.2f} %{finetuned}, base model {tested['base']:.2f} %"
        lines.append(f"measured on {_images(loaded)}: {measured}")
    made = made.model_copy(update={"source": lines})
    if request.output:
        write_text(request.output, made.as_toml)
        say("", f"Table: {request.output}")
    if request.json_file:
        results = {"plan": made}
        if tested:
            results |= {"measured": tested["measured"], "finetuned": tested["finetuned"]}
        if refinement and loaded:
            keep_trials(request, loaded, with_earlier(request, loaded, refinement), **results)
        else:
            keep_plan(request, loaded, made_for=made_for, **results)
        say(f"Record: {request.json_file}")
