"""`prunebench plan`: from a sensitivity scan, or from parameter counts alone, to a sparsity table."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunebench.cli.options import FiniteRange, shared
from prunebench.cli.shell import FILE
from prunebench.files import check_target, write_text

if TYPE_CHECKING:
    from torch import nn

    from prunebench.data import Dataset, ImageSet
    from prunebench.planning import Cost, Curves, FineTune, Goal, Inventory, Plan, PlanRecord, Refinement, Rule, Trial
    from prunebench.progress import ProgressBar
    from prunebench.sensitivity import Scan
    from prunebench.workloads import Workload

RULES = ("optimal", "documented", "compounding", "uniform", "magnitude", "erk", "lamp")
FROM_SCAN = ("optimal", "documented", "compounding")
FROM_WEIGHTS = ("magnitude", "lamp")
TARGETS = {"size_percent": "size", "nonzeros": "size", "file_percent": "file", "macs_percent": "macs"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command was asked for."""

    rule: Rule
    scan_file: Path | None
    previous: str | None
    max_drop: float | None
    size_percent: float | None
    nonzeros: int | None
    file_percent: float | None
    macs_percent: float | None
    cost: Cost
    step: float
    caution: float
    extrapolate: bool
    workload: str
    checkpoint: Path | None
    data: Path | None
    device: str
    seed: int
    measure: bool
    rounds: int
    probes: bool
    search: int
    finetune: bool
    budget: str
    choose_on: str
    images: int
    output: Path | None
    json_file: Path | None

    @property
    def target(self) -> str | None:
        """Which of the targets of size was given."""
        return next((name for name in TARGETS if getattr(self, name) is not None), None)

    @property
    def needs_model(self) -> bool:
        """Whether weights are needed, and not only what a scan says of them."""
        return bool(self.scan_file is None or self.rule in FROM_WEIGHTS or self.measure or self.rounds)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The base model and the data it is measured on.

    Attributes:
        training, choosing: what fine-tuning trains on, and what plans and epochs are chosen by.
        reporting: test images that neither plan nor epoch was chosen by.
    """

    workload: Workload
    model: nn.Module
    digest: str
    data: Dataset
    training: ImageSet
    choosing: ImageSet
    reporting: ImageSet


@click.command()
@click.option("--scan", "scan_file", type=FILE, help="A sensitivity scan (JSON). Allocators do without.")
@click.option("--rule", type=click.Choice(RULES), default="optimal", show_default=True, help="What chooses sparsities.")
@click.option("--max-drop", type=FiniteRange(min=0), help="Points of accuracy that may be lost.")
@click.option("--size", "size_percent", type=FiniteRange(min=0), help="Nominal size, percent of dense, at most.")
@click.option("--nonzeros", type=click.IntRange(min=0), help="Nonzeros over all parameters, at most.")
@click.option("--file-size", "file_percent", type=FiniteRange(min=0), help="Sparse file, percent of dense, at most.")
@click.option("--macs", "macs_percent", type=FiniteRange(min=0), help="Sparse MACs, percent of dense, at most.")
@click.option(
    "--cost",
    type=click.Choice(["size", "file", "macs"]),
    default="size",
    show_default=True,
    help="What --max-drop makes least.",
)
@click.option("--previous", help="Compounding: the table, or run, that the scanned model was pruned by.")
@click.option("--step", type=float, default=0.01, show_default=True, help="Optimal: between candidate sparsities.")
@click.option(
    "--caution",
    type=FiniteRange(min=0),
    default=1.0,
    show_default=True,
    help="Plan by each scanned accuracy less so many standard errors: the best of many is flattered.",
)
@click.option("--extrapolate", is_flag=True, help="Beyond the last point, fall to guessing at sparsity 1.")
@shared("workload")
@click.option("--checkpoint", type=FILE, help="The model to plan for; the one that was scanned.")
@shared("data", "device", "seed")
@click.option("--measure", is_flag=True, help="Prune by the plan and evaluate it on the test images.")
@click.option(
    "--refine",
    "rounds",
    type=click.IntRange(min=0),
    default=0,
    help="Optimal: rounds of measuring, correcting, planning again.",
)
@click.option(
    "--probes/--no-probes",
    default=True,
    show_default=True,
    help="Each round, measure the plan also with one layer at a time left alone; not with --finetune.",
)
@click.option(
    "--search",
    type=click.IntRange(min=0),
    default=0,
    help="After the rounds, so many measurements at most of a local search.",
)
@click.option("--finetune", is_flag=True, help="Fine-tune what is measured; plans are then judged by what comes out.")
@click.option("--budget", default="quick", show_default=True, help="Of fine-tuning: quick or full.")
@click.option(
    "--choose-on",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="Images that rounds and moves are chosen by: training images, which the base model may know by heart, or test "
    "images, at most half; what is reported is measured on the others.",
)
@click.option("--images", type=click.IntRange(min=1), default=2000, show_default=True, help="How many of those.")
@click.option("--output", type=FILE, help="Write the sparsity table (TOML) here.")
@click.option("--json", "json_file", type=FILE, help="Keep the plan and every measurement here; taken up from there.")
def plan(**options: Any) -> None:
    """Plan a sparsity table: for every layer how much to prune, to meet a size or a largest drop of accuracy.

    Rules: optimal (integer program on the scan's curves), documented (largest sparsity within --max-drop, later layers
    first), compounding (on a scan of a pruned model), and the published allocators uniform, magnitude, erk and lamp,
    which need a size and no scan. Interrupt --refine any time: with --json, the same command goes on.

    Exits with 1 where no measured plan keeps within --max-drop.
    """
    request = Request(**options)
    _check(request)

    from prunebench.errors import PlanError
    from prunebench.planning import Curves, Inventory, make_plan
    from prunebench.progress import ProgressBar
    from prunebench.records.scans import read_any_scan
    from prunebench.report.plans import cost_table, plan_accuracy_table, plan_table, trials_table

    for path in (request.output, request.json_file):
        if path:
            check_target(path)
    _earlier(request)
    scan = read_any_scan(request.scan_file) if request.scan_file else None
    if scan and scan.compounding and request.rule == "compounding":
        raise PlanError(
            f"the sparsities of '{request.scan_file}' are compounded already (scan --compounding), and --rule "
            "compounding would do it again: take --rule documented, or a scan without --compounding"
        )
    curves = Curves.of_scan(scan, caution=request.caution, extrapolate=request.extrapolate) if scan else None
    with ProgressBar() as progress:
        loaded = _load(request, scan, progress) if request.needs_model else None
        if curves:
            inventory = curves.inventory
        else:
            assert loaded is not None, "without a scan the model is loaded"
            inventory = Inventory.of_model(loaded.model, tuple(loaded.data.test.images.shape[1:]))  # type: ignore[arg-type]
        refinement = None
        if request.rounds:
            assert curves is not None
            assert loaded is not None
            refinement = _refine(request, curves, loaded, progress)
            sparsity = refinement.best.sparsity
        else:
            sparsity = _sparsity(request, inventory, curves, loaded)
        made = make_plan(
            request.rule,
            sparsity,
            inventory,
            model=loaded.workload.model if loaded else scan.model if scan else "",
            source=_source(request, scan),
            curves=curves,
            interaction=refinement.interaction if refinement else None,
        )
        tested = _test(request, made, curves, loaded, progress) if request.measure or refinement else None
    click.echo(f"{plan_table(made)}\n\n{cost_table(made, inventory)}")
    if request.rule == "optimal" and (unused := _unused_limit(request, inventory, sparsity)):
        click.echo(f"\n{unused}")
    if refinement:
        count = len(loaded.choosing) if loaded else 0
        click.echo(f"\nMeasured on {count:,} {request.choose_on} images:\n")
        click.echo(trials_table(refinement.trials, elements=inventory.elements, best=refinement.best))
    if tested and loaded:
        click.echo(f"\n{plan_accuracy_table(**tested, images=_images(loaded))}")
    elif made.base_accuracy is not None:
        predicted = made.predicted_accuracy
        click.echo(f"\n{plan_accuracy_table(base=made.base_accuracy, predicted=predicted, images='scanned images')}")
    _write(request, made, loaded, refinement, tested)
    if refinement and refinement.best.kind == "base" and request.max_drop is not None:
        click.echo(f"\nNo plan measured keeps within {request.max_drop:g} points: what is shown is the base model.")
        sys.exit(1)


def _check(request: Request) -> None:
    """Which options go together.

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


def _limit(request: Request, inventory: Inventory) -> tuple[Cost, float] | None:
    """The cost that is limited, and to how many bits, bytes or MACs."""
    from prunebench.planning.costs import BITS

    target = request.target
    if target is None:
        return None
    cost: Any = TARGETS[target]
    if request.nonzeros is not None:
        return cost, BITS * request.nonzeros
    return cost, getattr(request, target) / 100 * inventory.dense_total(cost)


def _unused_limit(request: Request, inventory: Inventory, sparsity: dict[str, float]) -> str | None:
    """That a plan stays far within its limit, which looks like a mistake and is none."""
    limit = _limit(request, inventory)
    if limit is None or (spent := inventory.total(limit[0], inventory.kept(sparsity))) > 0.95 * limit[1]:
        return None
    spelled, most = 100 * spent / inventory.dense_total(limit[0]), 100 * limit[1] / inventory.dense_total(limit[0])
    return (
        f"{spelled:.2f} % of dense is enough: by these curves nothing is won between it and the limit of {most:.2f} %."
    )


def _goal(request: Request, inventory: Inventory) -> Goal:
    from prunebench.planning import Goal

    limit = _limit(request, inventory)
    if limit is None:
        return Goal(cost=request.cost, max_drop=request.max_drop)
    return Goal(cost=limit[0], limit=limit[1])


def _sparsity(request: Request, inventory: Inventory, curves: Curves | None, loaded: Loaded | None) -> dict[str, float]:
    from prunebench.planning import compounding, documented_reading, optimal_plan

    limit = _limit(request, inventory)
    if request.rule in FROM_SCAN:
        assert curves is not None
        if request.rule == "optimal":
            return optimal_plan(curves, _goal(request, inventory), step=request.step)
        assert request.max_drop is not None
        if request.rule == "documented":
            cost, most = limit or ("size", None)
            return documented_reading(curves, max_drop=request.max_drop, cost=cost, limit=most)
        return compounding(curves, max_drop=request.max_drop, previous=_previous(request))
    from prunebench.planning import allocate_to_limit

    assert limit is not None
    kept = allocate_to_limit(_allocator(request, loaded), inventory, cost=limit[0], limit=limit[1])
    return inventory.sparsity(kept)


def _previous(request: Request) -> dict[str, float] | None:
    from prunebench.tables import find_run

    return dict(find_run(request.previous).sparsity) if request.previous else None


def _allocator(request: Request, loaded: Loaded | None) -> Any:
    from prunebench.models import prunable_parameters
    from prunebench.planning import erk, global_magnitude, lamp, uniform

    if request.rule in FROM_WEIGHTS:
        assert loaded is not None
        weights = prunable_parameters(loaded.model)
        return global_magnitude(weights) if request.rule == "magnitude" else lamp(weights)
    return {"uniform": uniform, "erk": erk}[request.rule]


def _load(request: Request, scan: Scan | None, progress: ProgressBar) -> Loaded:
    from prunebench.data import split_validation
    from prunebench.devices import resolve_device
    from prunebench.errors import PlanError
    from prunebench.workloads import find_workload

    workload = find_workload(request.workload)
    workload.budget(request.budget)
    device = resolve_device(request.device)
    progress.stage("data")
    data = workload.load(request.data, progress.loading)
    progress.stage("base model")
    base = workload.dense_model(data, checkpoint=request.checkpoint, device=device, progress=progress)
    if scan and scan.model_digest != base.digest:
        raise PlanError(
            f"the scan '{request.scan_file}' is of other weights ({scan.model_digest[:12]}) than {base.origin} "
            f"({base.digest[:12]}): give the scanned model with --checkpoint, or scan this one"
        )
    training, reporting, seed = data.train, data.test, request.seed
    if request.choose_on == "validation":
        training, choosing = split_validation(training, size=min(request.images, len(training) // 2), seed=seed)
    else:
        reporting, choosing = split_validation(reporting, size=min(request.images, len(reporting) // 2), seed=seed)
    return Loaded(
        workload=workload,
        model=base.model,
        digest=base.digest,
        data=data,
        training=training,
        choosing=choosing,
        reporting=reporting if request.rounds or request.finetune else data.test,
    )


def _finetune(request: Request, loaded: Loaded, progress: ProgressBar) -> FineTune | None:
    from prunebench.files import cache_folder
    from prunebench.training import train

    if not request.finetune:
        return None
    protocol = _protocol(request, loaded)

    def finetune(model: Any, masks: Any) -> None:
        progress.stage("fine-tuning")
        train(
            model,
            loaded.training,
            protocol,
            selection=loaded.choosing,
            seed=request.seed,
            masks=masks,
            state_folder=cache_folder() / "training",
            progress=progress,
        ).discard()

    return finetune


def _protocol(request: Request, loaded: Loaded) -> Any:
    from prunebench.runs import DocumentedRun

    undocumented = DocumentedRun(name="plan", sparsity={}, source="prunebench plan")
    return loaded.workload.budget(request.budget).protocol_for(undocumented)


def _refine(request: Request, curves: Curves, loaded: Loaded, progress: ProgressBar) -> Refinement:
    from prunebench.planning import measure_on, refine
    from prunebench.report.plans import trial_line

    finished = _finished(request, loaded)
    new: list[Trial] = []

    def keep(trial: Trial) -> None:
        new.append(trial)
        progress.line(trial_line(trial))
        if request.json_file:
            _keep(request, loaded, [*finished, *new])

    progress.stage("measuring plans")
    return refine(
        curves,
        _goal(request, curves.inventory),
        measure_on(
            loaded.model, loaded.choosing, finetune=_finetune(request, loaded, progress), progress=progress.evaluated
        ),
        rounds=request.rounds,
        probes=request.probes and not request.finetune,
        starts=_starts(request, curves.inventory, loaded),
        search=request.search,
        step=request.step,
        finished=finished,
        on_trial=keep,
    )


def _starts(request: Request, inventory: Inventory, loaded: Loaded) -> list[dict[str, float]]:
    """At a fixed cost, what ERK and LAMP would do."""
    from prunebench.models import prunable_parameters
    from prunebench.planning import allocate_to_limit, erk, lamp

    limit = _limit(request, inventory)
    if limit is None:
        return []
    allocators = (erk, lamp(prunable_parameters(loaded.model)))
    return [
        inventory.sparsity(allocate_to_limit(allocator, inventory, cost=limit[0], limit=limit[1]))
        for allocator in allocators
    ]


def _settings(request: Request, loaded: Loaded) -> str:
    return f"{_protocol(request, loaded)}, seed {request.seed}" if request.finetune else "not fine-tuned"


def _finished(request: Request, loaded: Loaded) -> list[Trial]:
    """What an earlier command measured of the same model on the same images in the same way."""
    record = _earlier(request)
    if record is None:
        return []
    ours = (loaded.digest, loaded.choosing.digest, _settings(request, loaded))
    if not record.trials or (record.base_digest, record.choosing_digest, record.settings) == ours:
        return list(record.trials)
    raise _of_another_model(request)


def _keep(request: Request, loaded: Loaded, trials: list[Trial], **results: Any) -> None:
    from prunebench.planning import PlanRecord, write_plan

    assert request.json_file is not None
    record = PlanRecord(
        base_digest=loaded.digest,
        choosing_digest=loaded.choosing.digest if trials else None,
        settings=_settings(request, loaded) if trials else "",
        trials=trials,
        **results,
    )
    write_plan(record, request.json_file)


def _keep_plan(request: Request, loaded: Loaded | None, **results: Any) -> None:
    """A plan that nothing was measured for, beside what its file keeps of a refinement: that may be hours of work."""
    from prunebench.planning import PlanRecord, write_plan

    assert request.json_file is not None
    digest = loaded.digest if loaded else None
    earlier = _earlier(request)
    if earlier is None or not earlier.trials:
        earlier = PlanRecord(base_digest=digest)
    elif digest not in (None, earlier.base_digest):
        raise _of_another_model(request)
    write_plan(earlier.model_copy(update={"measured": None, "finetuned": None, **results}), request.json_file)


def _earlier(request: Request) -> PlanRecord | None:
    """What the file of --json holds from before.

    Raises:
        RecordError: something else than a plan, which is not to be overwritten.
    """
    from prunebench.planning import read_plan

    path = request.json_file
    return read_plan(path) if path is not None and path.is_file() else None


def _of_another_model(request: Request) -> Exception:
    from prunebench.errors import PlanError

    return PlanError(
        f"'{request.json_file}' keeps what was measured of another model, on other images or with other fine-tuning: "
        "choose another file for --json, or delete it"
    )


def _test(
    request: Request, made: Plan, curves: Curves | None, loaded: Loaded | None, progress: ProgressBar
) -> dict[str, Any]:
    """Base model and plan on the images that are reported, beside what the curves predict for these images."""
    from prunebench.evaluation import evaluate
    from prunebench.planning import measure_on, predicted_accuracy

    assert loaded is not None
    progress.stage("evaluation of the base model")
    base = evaluate(loaded.model, loaded.reporting, progress=progress.evaluated).accuracy
    progress.stage("evaluation of the plan")
    finetune = _finetune(request, loaded, progress)
    measured = measure_on(loaded.model, loaded.reporting, finetune=finetune, progress=progress.evaluated)(made.sparsity)
    predicted = None
    if curves and made.interaction:
        predicted = predicted_accuracy(curves, made.sparsity, made.interaction, base=base)
    return {"base": base, "predicted": predicted, "measured": measured.accuracy, "finetuned": measured.finetuned}


def _images(loaded: Loaded) -> str:
    return f"{len(loaded.reporting):,} test images"


def _source(request: Request, scan: Scan | None) -> list[str]:
    """Where the plan comes from, for people."""
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
    lines = [f"--rule {request.rule}{target}{drop}{least}{refined}{searched}"]
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
) -> None:
    lines = list(made.source)
    if made.predicted_accuracy is not None:
        lines.append(f"predicted accuracy, on the scanned images: {made.predicted_accuracy:.2f} %")
    if tested and loaded:
        lines.append(f"measured on {_images(loaded)}: {tested['measured']:.2f} %, base model {tested['base']:.2f} %")
    made = made.model_copy(update={"source": lines})
    if request.output:
        write_text(request.output, made.as_toml)
        click.echo(f"\nTable: {request.output}")
    if request.json_file:
        results = {"plan": made}
        if tested:
            results |= {"measured": tested["measured"], "finetuned": tested["finetuned"]}
        if refinement and loaded:
            _keep(request, loaded, _with_earlier(request, loaded, refinement), **results)
        else:
            _keep_plan(request, loaded, **results)
        click.echo(f"Record: {request.json_file}")


def _with_earlier(request: Request, loaded: Loaded, refinement: Refinement) -> list[Trial]:
    """The refinement's measurements, then those that its file kept for other goals: they may be wanted again."""
    ours = [trial.sparsity for trial in refinement.trials]
    return [*refinement.trials, *(trial for trial in _finished(request, loaded) if trial.sparsity not in ours)]
