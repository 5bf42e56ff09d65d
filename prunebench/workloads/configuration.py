"""`prunebench.toml`: a user's workloads, recipes, runs and floors."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from prunebench.data import Augmentation, Normalization
from prunebench.documented.floors import Floor
from prunebench.documented.method import ELEMENT, ONE_SHOT, Method, TotalOf
from prunebench.documented.runs import check_measures
from prunebench.errors import PrunebenchError, UnknownNameError, WorkloadError, did_you_mean
from prunebench.pruning import as_sparsity, find_criterion, find_granularity
from prunebench.pruning.schedules import find_pruning_schedule
from prunebench.tasks import find_task
from prunebench.training import Distillation, LearningRateSchedule, Optimizer, Recipe, check_recipe
from prunebench.workloads.sources import load_data
from prunebench.workloads.weights import Weights
from prunebench.workloads.workload import DENSE, ComposedWorkload, LoadingProgress, Workload

FILE = "prunebench.toml"
PYPROJECT = "pyproject.toml"

Number = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[StrictInt, Field(ge=1)]


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _for_all(value: object) -> object:
    return {"*": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


def with_name(value: object) -> object:
    """A table of a bare name."""
    return {"name": value} if isinstance(value, str) else value


def _with_path(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


Patterns = Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]
Sparsities = Annotated[dict[str, Fraction], BeforeValidator(_for_all)]


class Section(BaseModel):
    """A table of a TOML file: no other key than these."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AugmentationSection(Section):
    """`augmentation`: what training does to an image."""

    crop_padding: Annotated[StrictInt, Field(ge=0)] = 4
    flip: StrictBool = True


class DistillationSection(Section):
    """`distillation`: learning from the dense model's answers."""

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0
    weight: Fraction = 0.9


class RecipeSection(Section):
    """`[workload.NAME.recipe.NAME]`: how to train; every key is a setting of `prunebench.Recipe`."""

    epochs: Positive
    learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    batch_size: Positive = 64
    optimizer: Optimizer = "sgd"
    momentum: Fraction = 0.9
    nesterov: StrictBool = False
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    epsilon: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    decay_weights_only: StrictBool = False
    learning_rate_schedule: LearningRateSchedule = "cosine"
    warmup: Fraction = 0.2
    label_smoothing: Fraction = 0.0
    augmentation: AugmentationSection | None = None
    images_per_epoch: Positive | None = None
    averaging: Fraction = 0.0
    distillation: DistillationSection | None = None

    def recipe(self) -> Recipe:
        """The recipe."""
        parts: dict[str, Callable[..., object]] = {"augmentation": Augmentation, "distillation": Distillation}
        settings: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        settings |= {name: part(**settings[name].model_dump()) for name, part in parts.items() if settings[name]}
        made = Recipe(**settings)
        check_recipe(made)
        return made


class NormalizeSection(Section):
    """`normalize`: mean and std of each channel."""

    mean: tuple[Number, ...]
    std: tuple[Number, ...]


class CheckpointSection(Section):
    """`checkpoint`, where more than its path is said of it."""

    path: str
    source: str = ""
    licence: str = ""


class WorkloadSection(Section):
    """`[workload.NAME]`: a model, data and recipes."""

    model: str
    model_arguments: dict[str, Any] = Field(default_factory=dict)
    data: str
    checkpoint: Annotated[CheckpointSection, BeforeValidator(_with_path)] | None = None
    task: str = "classification"
    normalize: NormalizeSection | None = None
    keep_dense: Patterns = ()
    trains_itself: StrictBool | None = None
    recipe: dict[str, RecipeSection] = Field(default_factory=dict)


class ScheduleSection(BaseModel):
    """`pruning_schedule`, where more than its name is said of it: its settings."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """All keys but the name."""
        return dict(self.__pydantic_extra__ or {})


class FloorSection(Section):
    """`floor`: what a run promises. Accuracies in percent, changes in points, sizes at most, times as fast as dense."""

    change: Number | None = None
    accuracy: Number | None = None
    accuracy_before: Number | None = None
    size_percent: Annotated[float, Field(ge=0, le=100)] | None = None
    size_mib: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    file_mib: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    latency_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def floors(self) -> tuple[Floor, ...]:
        """The floors."""
        least = {"change": self.change, "accuracy_best": self.accuracy, "accuracy_before": self.accuracy_before,
                 "latency_ratio": self.latency_ratio}  # fmt: skip
        most = {"size_percent": self.size_percent, "size_mib": self.size_mib, "file_mib": self.file_mib}
        found = [Floor.model_validate({"figure": name, "least": value, "rule": f"floor of {FILE}"})
                 for name, value in least.items() if value is not None]  # fmt: skip
        found += [Floor.model_validate({"figure": name, "most": value, "rule": f"floor of {FILE}"})
                  for name, value in most.items() if value is not None]  # fmt: skip
        return tuple(found)


class RunSection(Section):
    """`[run.NAME]`: what to prune, on which workload, and what is promised."""

    workload: str
    recipe: str | None = None
    sparsity: Sparsities | None = None
    allocation: str | None = None
    total: Fraction | None = None
    total_of: TotalOf = "elements"
    limits: Sparsities = Field(default_factory=dict)
    criterion: str = "magnitude"
    granularity: str = ELEMENT
    pruning_schedule: Annotated[ScheduleSection, BeforeValidator(with_name)] = ScheduleSection(name=ONE_SHOT)
    evidence_examples: Positive | None = None
    recalibrate: StrictBool = False
    early: str | None = None
    measure: Patterns = ()
    floor: FloorSection = FloorSection()
    seed: Annotated[StrictInt, Field(ge=0)] = 0

    def method(self) -> Method:
        """The method."""
        return Method(
            criterion=self.criterion,
            granularity=self.granularity,
            allocation=self.allocation or ("uniform" if self.total is not None else None),
            total=self.total,
            total_of=self.total_of,
            limits=self.limits,
            pruning_schedule=self.pruning_schedule.name,
            schedule_settings=self.pruning_schedule.settings,
            evidence_examples=self.evidence_examples,
            recalibrated=self.recalibrate,
        )


ALLOCATING = frozenset({"allocation", "total", "total_of", "limits"})
"""Keys and attributes that say how much is pruned in the place of a table."""


class Sections(Section):
    """The whole TOML file, as its sections."""

    workload: dict[str, WorkloadSection] = Field(default_factory=dict)
    run: dict[str, RunSection] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RequestedRun:
    """A run as a user wrote it: which layers it prunes is known once the model is there.

    Attributes:
        sparsity: by pattern of parameter names, as `fnmatch` reads them; the last that matches counts.
        method: by which it prunes; with an allocation and a total in the place of `sparsity`.
        early: a checkpoint that pruning schedule `weight-rewinding` goes back to.
        measures: what is measured beside size and accuracy, as `prunebench.documented.runs.MEASURES` names it.
    """

    name: str
    workload: str
    recipe: str | None = None
    sparsity: Mapping[str, float] | None = None
    method: Method = Method()
    early: Path | None = None
    measures: tuple[str, ...] = ()
    floors: tuple[Floor, ...] = ()
    seed: int = 0
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The workloads and runs that a TOML file describes.

    Attributes:
        path: the file.
        workloads, runs: by name, in the file's order.
    """

    path: Path
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    runs: Mapping[str, RequestedRun] = field(default_factory=dict)


def find_file(folder: Path | None = None) -> Path | None:
    """The `prunebench.toml` of a folder, else its `pyproject.toml` where that has a table `[tool.prunebench]`."""
    folder = folder or Path()
    if (path := folder / FILE).is_file():
        return path
    path = folder / PYPROJECT
    return path if path.is_file() and read_toml(path) is not None else None


def read_configuration(path: str | Path) -> Configuration:
    """Read the workloads and runs of a TOML file; models and data are looked for when they are used.

    Raises:
        WorkloadError: it cannot be read; a key that is unknown, missing or out of range, which is named; a run of a
            recipe that does not exist.
    """
    path = Path(path)
    return _configuration(path, path.resolve().parent, _text(path))


@lru_cache(maxsize=8)  # a study of many runs asks for each
def _configuration(path: Path, folder: Path, text: str) -> Configuration:
    content = _toml(path, text)
    if content is None:
        raise WorkloadError(f"'{path}' has no [tool.prunebench] table")
    try:
        sections = Sections.model_validate(content)
    except ValidationError as error:
        raise WorkloadError(f"'{path}': {first_problem(error, _keys)}") from error
    if not sections.workload and not sections.run:
        raise WorkloadError(f"'{path}' describes nothing: expected [workload.NAME] with model and data, or [run.NAME]")
    workloads = {name: _workload(name, section, folder, path) for name, section in sections.workload.items()}
    runs = {name: _run(name, section, workloads, path) for name, section in sections.run.items()}
    return Configuration(path=path, workloads=workloads, runs=runs)


def read_toml(path: Path) -> dict[str, Any] | None:
    """The content of a TOML file; of `pyproject.toml` the table `[tool.prunebench]`, None where it has none.

    Raises:
        WorkloadError: it cannot be read.
    """
    return _toml(path, _text(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise WorkloadError(f"cannot read '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WorkloadError(f"'{path}' is not text in UTF-8: save it as UTF-8 ({error.reason})") from error


def _toml(path: Path, text: str) -> dict[str, Any] | None:
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise WorkloadError(f"'{path}' is not TOML: {error}") from error
    if path.name == PYPROJECT:
        table: dict[str, Any] | None = content.get("tool", {}).get("prunebench")
        return table
    return content


def first_problem(error: ValidationError, keys: Callable[[list[str]], Collection[str]]) -> str:
    """The first problem in words: the key, what it got, what it would take.

    Args:
        keys: gives the keys of the table at a place in the file.
    """
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")  # a misspelt key is also missing
    where = [str(step) for step in first["loc"]]
    key = ".".join(where)
    if first["type"] == "extra_forbidden":
        known = sorted(keys(where[:-1]))
        return f"unknown key '{key}': expected one of {', '.join(known)}{did_you_mean(where[-1], known)}"
    if first["type"] == "missing":
        return f"'{key}' is missing"
    message = first["msg"][:1].lower() + first["msg"][1:]
    value = first["input"]
    hint = ""
    if isinstance(value, int | float) and not isinstance(value, bool) and "less than or equal to 1" in first["msg"]:
        hint = f"; did you mean {value / 100:g}?" if 1 < value <= 100 else ""
    got = "" if isinstance(value, dict) else f", got {value!r:.80}"
    return f"'{key}': {message}{got}{hint}"


def _keys(where: list[str]) -> set[str]:
    """The keys of the section at a place in the file."""
    section: Any = Sections
    named = {"workload": WorkloadSection, "run": RunSection, "recipe": RecipeSection}
    plain = {"floor": FloorSection, "normalize": NormalizeSection, "augmentation": AugmentationSection,
             "distillation": DistillationSection, "checkpoint": CheckpointSection}  # fmt: skip
    steps = iter(where)
    for step in steps:
        if step in named:
            if next(steps, None) is not None:
                section = named[step]
        elif step in plain:
            section = plain[step]
    return set(section.model_fields)


def _workload(name: str, section: WorkloadSection, folder: Path, path: Path) -> Workload:
    where = f"'{path}': workload '{name}'"
    try:
        recipes = {called: each.recipe() for called, each in section.recipe.items()}
        normalization = Normalization(**section.normalize.model_dump()) if section.normalize else None
        task = find_task(section.task, folder=folder)
    except Exception as error:
        if type(error).__module__.startswith("prunebench."):
            raise WorkloadError(f"{where}: {error}") from error
        raise
    weights = None
    if (given := section.checkpoint) is not None:
        weights = Weights(file=folder / Path(given.path).expanduser(), source=given.source, licence=given.licence)
    trains_itself = section.trains_itself
    if trains_itself and DENSE not in recipes:
        raise WorkloadError(f"{where}: trains_itself needs a recipe: expected [workload.{name}.recipe.{DENSE}]")

    def load(given: Path | None, progress: LoadingProgress | None) -> Any:
        return load_data(section.data, folder=folder, given=given, progress=progress).normalized(normalization)

    return ComposedWorkload(
        name=name,
        builder=section.model,
        arguments=section.model_arguments,
        folder=folder,
        load=load,
        weights=weights,
        task=task,
        keep_dense=section.keep_dense,
        trains_itself=DENSE in recipes if trains_itself is None else trains_itself,
        recipes=recipes,
    )


def check_method(method: Method, *, folder: Path | None) -> None:
    """Check that everything a method names can be found.

    Raises:
        PrunebenchError: it cannot; says which part, and what it would take.
    """
    find_criterion(method.criterion, folder=folder)
    find_granularity(method.granularity, folder=folder)
    find_pruning_schedule(method.pruning_schedule, method.schedule_settings, folder=folder)
    for name, most in method.limits.items():
        as_sparsity(most, name=name)


def _run(name: str, section: RunSection, workloads: Mapping[str, Workload], path: Path) -> RequestedRun:
    where = f"'{path}': run '{name}'"
    if (described := workloads.get(section.workload)) is not None and section.recipe is not None:
        recipes = [each for each in described.recipes if each != DENSE]
        if section.recipe not in recipes:
            raise WorkloadError(f"{where}: {UnknownNameError('recipe', section.recipe, recipes)}")
    method = section.method()
    try:
        check_measures(section.measure)
        check_method(method, folder=path.resolve().parent)
    except PrunebenchError as error:
        raise WorkloadError(f"{where}: {error}") from error
    allocating = section.model_fields_set & ALLOCATING
    if (section.sparsity is None) == (not allocating):
        raise WorkloadError(f"{where} needs either sparsity, or total with an allocation")
    if section.sparsity is None and section.total is None:
        raise WorkloadError(f"{where}: {min(allocating)} needs total, the share to prune in [0, 1]")
    return RequestedRun(
        name=name,
        workload=section.workload,
        recipe=section.recipe,
        sparsity=section.sparsity,
        method=method,
        early=path.resolve().parent / Path(section.early).expanduser() if section.early else None,
        measures=section.measure,
        floors=section.floor.floors(),
        seed=section.seed,
        source=f"{path.name}, [run.{name}]",
    )
