"""`study.toml`: the runs that a user wants compared, in their order, each with an id that follows from it alone.

Runs that a search chooses come as it suggests them: `study_search`.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, ValidationError
from scipy.stats import qmc

from prunebench.documented.method import TotalOf
from prunebench.documented.runs import Run, run_digest
from prunebench.errors import PrunebenchError, StudyError
from prunebench.experiments.requests import requested_run
from prunebench.experiments.rows import RunRow, add_rows, read_rows, record_stamps, row_of
from prunebench.experiments.study_search import Dimension, Search, SearchSection, dimensions_of, with_each_value
from prunebench.machine.devices import Precision
from prunebench.records import FailedRun, RunRecord, name_case
from prunebench.records.record import parse_kept
from prunebench.storage.documents import read_document, render, verified
from prunebench.storage.files import write_text
from prunebench.workloads import UNDOCUMENTED_EPOCHS, find_recipe
from prunebench.workloads.configuration import (
    ALLOCATING,
    Fraction,
    Positive,
    ScheduleSection,
    Section,
    Sparsities,
    first_problem,
    read_toml,
    with_name,
)

_ASKED = "search.json"

STUDIES = Path(".prunebench/studies")
"""Where studies are kept, from the folder a command runs in."""

T = TypeVar("T")
Listed = Annotated[
    tuple[T, ...], Field(min_length=1), BeforeValidator(lambda given: given if isinstance(given, list) else [given])
]
Natural = Annotated[StrictInt, Field(ge=0)]


class GridSection(Section):
    """`[study.grid]`, or one of `[[study.runs]]`: a key has one value or a list; all combinations are runs.

    Where there is `[search]`, a list is a choice, and a range may stand in the place of a value.
    """

    run: Listed[str] | None = None
    criterion: Listed[str] | None = None
    granularity: Listed[str] | None = None
    allocation: Listed[str] | None = None
    total: Listed[Fraction] | None = None
    total_of: Listed[TotalOf] | None = None
    limits: Listed[Sparsities] | None = None
    pruning_schedule: Listed[Annotated[ScheduleSection, BeforeValidator(with_name)]] | None = None
    evidence_examples: Listed[Positive] | None = None
    recalibrate: Listed[StrictBool] | None = None

    @property
    def axes(self) -> dict[str, Sequence[Any]]:
        """The values of each key that is there."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: values for name, values in found.items() if values is not None}


class SampleSection(Section):
    """`sample`: so many of the grid's runs, each with every seed."""

    kind: Literal["random", "sobol"]
    runs: Positive
    seed: Natural = 0


class ResourcesSection(Section):
    """`resources`: what a cluster keeps for each run; by default a core a thread, and a GPU where the device is one."""

    cpus: Annotated[float, Field(gt=0)] | None = None
    gpus: Annotated[float, Field(ge=0)] | None = None
    memory_gib: Annotated[float, Field(gt=0)] | None = None


class StudySection(Section):
    """`[study]`: what is compared, on which workloads, by which recipes, with which seeds."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}$")] | None = None
    workload: Listed[str] | None = None
    recipe: Listed[str] | None = None
    seeds: Listed[Natural] = (0,)
    grid: GridSection | None = None
    runs: tuple[GridSection, ...] = ()
    sample: SampleSection | None = None
    reference: GridSection | None = None
    finetune: StrictBool = True
    select_on: Literal["test", "validation"] = "test"
    test_images: Positive | None = None
    precision: Precision = "fp32"
    device: str = "cpu"
    threads: Positive = 1
    resources: ResourcesSection = ResourcesSection()
    failure_limit: Natural = 10


class StudyFile(Section):
    """The whole TOML file."""

    study: StudySection
    search: SearchSection | None = None


_TABLES: Mapping[str, type[Section]] = {
    "study": StudySection, "grid": GridSection, "runs": GridSection, "reference": GridSection, "sample": SampleSection,
    "resources": ResourcesSection, "search": SearchSection,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that the runs of a study share. Threads are of one process: the bytes of a result depend on them."""

    finetune: bool
    select_on: Literal["test", "validation"]
    test_images: int | None
    precision: Precision
    device: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a study, as it goes to the process that executes it.

    Attributes:
        id: of the file of its record.
        group: the same for runs that differ in their seed alone.
        run: the run's name, where it has one; else `asked` has a total.
        asked: the parts of the method that the study names, as `requested_run` takes them.
        parts: all parts, by the keys of `GridSection`, in words.
        epochs: of fine-tuning, in one round of a pruning schedule.
    """

    id: str
    group: str
    case: str
    workload: str
    recipe: str
    run: str | None
    asked: Mapping[str, Any]
    parts: Mapping[str, Any]
    seed: int
    epochs: int
    settings: Settings

    @property
    def kind(self) -> tuple[object, ...]:
        """The same for runs that take about equally long."""
        return self.workload, self.recipe, self.run, self.parts["pruning_schedule"]


@dataclass(frozen=True, kw_only=True)
class Study:
    """The runs of a TOML file.

    Attributes:
        runs: in the file's order, the last key that has several values changing fastest, and then the seed; of a search
            those that were suggested.
        workloads: on which the runs are.
        seeds: how many.
        resources: of a cluster that a run needs, by Ray's names: CPU, GPU, memory in bytes.
        reference: parts of a method; each run is compared with the one that differs from it in these alone.
        measured: names of what runs measure beside size and accuracy.
        search: what chooses the runs; None where the file names them all.
        asked: suggestions of the search until now, as `Search.file` takes them.
    """

    path: Path
    name: str
    runs: tuple[PlannedRun, ...]
    workloads: tuple[str, ...]
    seeds: int
    reference: Mapping[str, Any]
    settings: Settings
    resources: Mapping[str, float]
    failure_limit: int
    measured: frozenset[str]
    search: Search | None = None
    asked: tuple[Mapping[str, Any], ...] = ()

    @property
    def count(self) -> int:
        """Runs in all, those included that a search may yet suggest."""
        later = max(0, self.search.section.runs - len(self.asked)) if self.search else 0
        return len(self.runs) + later * self.seeds

    @property
    def at_once(self) -> int:
        """Runs that can be executed at once; of a search, those of a batch."""
        return self.search.section.batch * self.seeds if self.search else len(self.runs)

    @property
    def folder(self) -> Path:
        """The folder of its records and its lock."""
        return STUDIES / self.name

    def record_path(self, planned: PlannedRun) -> Path:
        """The file of a run's record."""
        return self.folder / "records" / f"{planned.id}.json"

    @property
    def table(self) -> Path:
        """The file of the rows of its records."""
        return self.folder / "rows.jsonl"

    def suggested(self, values: Mapping[str, Any]) -> list[PlannedRun]:
        """The runs of a suggestion, one a seed."""
        assert self.search is not None, "only a search suggests"
        section = StudyFile.model_validate(self.search.file(values)).study
        return [planned for planned, _ in _runs(section, self.path)]

    def asking(self, asked: Iterable[Mapping[str, Any]]) -> Study:
        """The study with the runs that a search suggests."""
        asked = tuple(asked)
        runs = {planned.id: planned for values in asked for planned in self.suggested(values)}
        return replace(self, asked=asked, runs=tuple(runs.values()))

    def keep_asked(self) -> None:
        """Write down the suggestions, so that their records are found without a sampler."""
        write_text(self.folder / _ASKED, render({"schema_version": 1, "asked": list(self.asked)}))

    def _with_kept(self) -> Study:
        """The study with the suggestions that were written down."""
        if self.search is None or not (path := self.folder / _ASKED).is_file():
            return self
        asked = verified(read_document(path), path=path, newest=1)["asked"]
        if any(each.keys() != {dimension.name for dimension in self.search.dimensions} for each in asked):
            raise StudyError(f"the search of '{path}' chose other keys: give the study another name")
        return self.asking(asked)

    def kept(self) -> dict[str, RunRow | FailedRun]:
        """The rows of the records that are there, and failures, by id, in the order of the runs.

        Raises:
            RecordError: a record is damaged.
            StudyError: they are of several data sets or dense models of one workload.
        """
        stamps = record_stamps(self.folder / "records")
        rows, new = read_rows(self.table, stamps), dict[str, RunRow]()
        found: dict[str, RunRow | FailedRun] = {}
        started: dict[str, tuple[str, str]] = {}
        try:
            for planned in self.runs:
                if planned.id not in stamps:
                    continue
                row = found[planned.id] = rows.get(planned.id) or self._read(planned)
                if isinstance(row, FailedRun):
                    continue
                if planned.id not in rows:
                    new[planned.id] = row
                if started.setdefault(planned.workload, (row.data, row.dense)) != (row.data, row.dense):
                    raise StudyError(
                        f"'{self.record_path(planned)}' is of other data or dense weights of '{planned.workload}' than "
                        "those before it: expected one study of them; remove it, or give the study another name"
                    )
        finally:
            if new:
                add_rows(self.table, new, stamps)
        return found

    def _read(self, planned: PlannedRun) -> RunRow | FailedRun:
        path = self.record_path(planned)
        record = parse_kept(read_document(path), path=path)
        assert isinstance(record, RunRecord | FailedRun), "a study keeps nothing else"
        return row_of(record) if isinstance(record, RunRecord) else record

    @cached_property
    def varied(self) -> list[str]:
        """The parts that are not the same in all runs."""
        names = self.runs[0].parts
        return [name for name in names if len({planned.parts[name] for planned in self.runs}) > 1]

    def label(self, planned: PlannedRun, *, ranges: bool = True) -> str:
        """The method of a run, but for its total, by what sets it apart in this study; with `ranges` or without."""
        left = {"total"}
        if self.search and not ranges:
            left |= {name for each in self.search.dimensions if each.ordered for name in each.path}
        names = [name for name in self.varied if name not in left] or ["run" if planned.run else "criterion"]
        said = {"evidence_examples": "{} examples", "recalibrate": "recalibrated", "total_of": "of {}"}
        parts = [said.get(name, "{}").format(planned.parts[name]) for name in names if planned.parts[name]]
        return ", ".join(parts) or "as it is"


def read_study(path: str | Path) -> Study:
    """Read the runs of a study; workloads and methods are looked for, models and data are not loaded.

    Raises:
        StudyError: the file cannot be read; a key that is unknown, missing or out of range, which is named; a workload,
            recipe, run or part of a method that does not exist.
    """
    path = Path(path)
    try:
        content = read_toml(path) or {}
        dimensions = dimensions_of(content) if "search" in content else []
        files = [StudyFile.model_validate(each) for each in with_each_value(content, dimensions)]
        section, search = files[0].study, _search(files[0], dimensions, content)
        runs, measured = zip(*(each for file in files for each in _runs(file.study, path)), strict=True)
        reference = _reference(section.reference, runs)
        study = Study(
            path=path,
            name=section.name or re.sub(r"[^A-Za-z0-9_.-]", "-", path.stem)[:80],
            runs=() if search else tuple({planned.id: planned for planned in runs}.values()),
            workloads=tuple(dict.fromkeys(planned.workload for planned in runs)),
            seeds=len(section.seeds),
            reference=reference,
            settings=runs[0].settings,
            resources=_resources(section),
            failure_limit=section.failure_limit,
            measured=frozenset[str]().union(*measured),
            search=search,
        )
        return study._with_kept()
    except ValidationError as error:
        raise StudyError(f"'{path}': {first_problem(error, _keys)}") from error
    except PrunebenchError as error:
        said = str(error)
        raise StudyError(said if f"'{path}'" in said else f"'{path}': {said}") from error


def _search(file: StudyFile, dimensions: Sequence[Dimension], content: Mapping[str, Any]) -> Search | None:
    study, search = file.study, file.search
    if search is None:
        return None
    for name in ("runs", "sample", "reference"):
        if getattr(study, name):
            raise StudyError(f"'study.{name}': [search] chooses the runs of [study.grid]: expected no '{name}'")
    by_cma, alone = search.sampler == "cma-es", search.objective == "accuracy"
    few_ranges = len(dimensions) < 2 or not all(each.ordered for each in dimensions)
    for is_there, problem in (
        (len(study.workload or ()) > 1, "'study.workload': a search is on one workload"),
        (not dimensions, "[search] has nothing to choose: expected a list or a range { from, to } in [study.grid]"),
        (by_cma and few_ranges, "'search.sampler': cma-es varies two ranges or more, and no lists"),
        (by_cma and not alone, "'search.sampler': cma-es has one objective: expected tpe, random or nsga-ii"),
        (
            alone and any(each.name == "total" for each in dimensions),
            "'search.objective': the least total is the most accurate: expected one total, or 'accuracy and size'",
        ),
    ):
        if is_there:
            raise StudyError(problem)
    return Search(section=search, dimensions=dimensions, content=content)


def _keys(where: list[str]) -> set[str]:
    names = [step for step in where if step in _TABLES]
    return set(_TABLES[names[-1]].model_fields) if names else set(StudyFile.model_fields)


def _reference(section: GridSection | None, runs: Sequence[PlannedRun]) -> dict[str, Any]:
    axes = section.axes if section else {}
    for name, values in axes.items():
        if len(values) > 1:
            raise StudyError(f"'study.reference.{name}' names {len(values)} values: expected the one to compare with")
    reference = {name: _word(values[0]) for name, values in axes.items()}
    if not any(reference.items() <= planned.parts.items() for planned in runs):
        raise StudyError(f"'study.reference': no run of the study has {_said(reference)}")
    return reference


def _resources(section: StudySection) -> dict[str, float]:
    asked = section.resources
    gpus = float(section.device.startswith("cuda")) if asked.gpus is None else asked.gpus
    return {"CPU": asked.cpus or section.threads, "GPU": gpus, "memory": round((asked.memory_gib or 0) * 2**30)}


def _said(parts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in parts.items())


def _word(value: Any) -> Any:
    """A value of the file as it is compared and shown."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} at most {most:g}" for name, most in value.items())
    if not isinstance(value, ScheduleSection):
        return value
    settings = ", ".join(f"{name} {setting}" for name, setting in sorted(value.settings.items()))
    return f"{value.name} ({settings})" if settings else value.name


def _runs(section: StudySection, path: Path) -> Iterator[tuple[PlannedRun, Sequence[str]]]:
    """Each run, and what it measures beside size and accuracy."""
    settings = Settings(**{name: getattr(section, name) for name in Settings.__dataclass_fields__})
    for cell in _cells(section):
        workload, recipe = cell.pop("workload"), cell.pop("recipe")
        run, asked = cell.pop("run", None), _asked(cell)
        found, chosen = requested_run(run, workload, asked, source=str(path))
        own = None if isinstance(found, Run) else found.recipe
        called, steps = find_recipe(chosen, recipe or own)
        method = found.method
        table = run_digest(found) if isinstance(found, Run) else found.sparsity
        measures = [*found.measures, *(floor.figure for floor in found.floors)]
        epochs = steps.for_epochs((isinstance(found, Run) and found.epochs) or UNDOCUMENTED_EPOCHS).epochs
        content = [chosen.name, called, asdict(steps), found.name, table, measures, asdict(method), asdict(settings)]
        group = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:10]
        schedule = ScheduleSection(name=method.pruning_schedule, **method.schedule_settings)
        parts = {
            "run": run,
            "criterion": method.criterion,
            "granularity": method.granularity,
            "allocation": method.allocation,
            "total": method.total,
            "total_of": method.total_of,
            "limits": _word(method.limits) or None,
            "pruning_schedule": _word(schedule),
            "evidence_examples": method.evidence_examples,
            "recalibrate": method.recalibrated,
        }
        for seed in section.seeds:
            case = name_case(
                workload=chosen.name, run=found.name, recipe=called, method=method, seed=seed,
                precision=settings.precision, select_on=settings.select_on, finetuned=settings.finetune,
            )  # fmt: skip
            planned = PlannedRun(
                id=f"{re.sub(r'[^A-Za-z0-9._-]', '-', case)[:120]}-{group}",
                group=group,
                case=case,
                workload=workload or chosen.name,
                recipe=called,
                run=run,
                asked=asked,
                parts=parts,
                seed=seed,
                epochs=epochs or 0,
                settings=settings,
            )
            yield planned, measures


def _asked(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a method that a combination of keys names."""
    asked = dict(cell)
    if schedule := asked.pop("pruning_schedule", None):
        asked |= {"pruning_schedule": schedule.name, "schedule_settings": schedule.settings}
    if "recalibrate" in asked:
        asked["recalibrated"] = asked.pop("recalibrate")
    return asked


def _cells(section: StudySection) -> Iterator[dict[str, Any]]:
    """All combinations of the keys, or the sample of them."""
    grids = {"study.grid": section.grid} if section.grid else {}
    grids |= {f"study.runs.{number}": each for number, each in enumerate(section.runs)}
    if not grids:
        raise StudyError("no runs: expected [study.grid] with total, or run, or [[study.runs]]")
    if section.sample and len(grids) > 1:
        raise StudyError("'study.sample' takes runs of [study.grid]: expected no [[study.runs]]")
    for where, grid in grids.items():
        if "run" in grid.axes and (both := grid.axes.keys() & ALLOCATING):
            raise StudyError(f"'{where}.{min(both)}': a run says how much to prune: expected no 'run' beside it")
        if "run" not in grid.axes and "total" not in grid.axes:
            raise StudyError(f"'{where}' says nothing of how much to prune: expected 'total' or 'run'")
        axes = {"workload": section.workload or (None,), "recipe": section.recipe or (None,), **grid.axes}
        sizes = [len(values) for values in axes.values()]
        for index in _sampled(sizes, section.sample) if section.sample else range(math.prod(sizes)):
            yield {name: axes[name][place] for name, place in zip(axes, _places(index, sizes), strict=True)}


def _places(index: int, sizes: Sequence[int]) -> list[int]:
    """The place on each axis of the combination at `index`, the last axis changing fastest."""
    places = []
    for size in reversed(sizes):
        index, place = divmod(index, size)
        places.append(place)
    return places[::-1]


def _sampled(sizes: Sequence[int], sample: SampleSection) -> list[int]:
    """Some of the combinations, in their order; the same on every machine.

    `sobol`: a Sobol sequence moved by a random vector, modulo 1: Cranley and Patterson, Randomization of number
    theoretic methods for multiple integration, SIAM Journal on Numerical Analysis 13 (1976).
    """
    everything = math.prod(sizes)
    if sample.runs > everything:
        raise StudyError(f"'study.sample.runs' must be at most the {everything:,} of the grid, got {sample.runs:,}")
    numbers = random.Random(sample.seed)
    if sample.kind == "random":
        return sorted(numbers.sample(range(everything), sample.runs))
    shift = [numbers.random() for _ in sizes]
    points, found = qmc.Sobol(len(sizes), scramble=False), set[int]()
    while len(found) < sample.runs:
        index = 0
        for size, at, by in zip(sizes, points.random()[0], shift, strict=True):
            index = index * size + int((at + by) % 1 * size)
        found.add(index)
    return sorted(found)
