"""`[search]` of a study's file: keys that vary, and a sampler that chooses their values by what became of others.

The samplers are optuna's: Akiba, Sano, Yanase, Ohta, Koyama, Optuna: A Next-generation Hyperparameter Optimization
Framework, KDD (2019).
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, ValidationError

from prunebench.errors import StudyError
from prunebench.experiments.rows import RunRow
from prunebench.records import FailedRun
from prunebench.storage.imports import import_extra
from prunebench.workloads.configuration import Positive, Section, first_problem

POPULATION = 10
"""Of NSGA-II: optuna's 50 would be a whole search here."""

MOST_VALUES = 10_000

_OBJECTIVES = {"accuracy": 1, "accuracy and size": 2}
"""Figures of each."""

_VARIED = {("study", "recipe"), ("study", "grid")}

Number = Annotated[float, Field(allow_inf_nan=False)]


class SearchSection(Section):
    """`[search]`: the sampler, what it is to find, and how much it may try."""

    sampler: Literal["tpe", "random", "nsga-ii", "cma-es"] = "tpe"
    objective: Literal["accuracy", "accuracy and size"] = "accuracy"
    runs: Positive
    batch: Positive = 1
    seed: Annotated[StrictInt, Field(ge=0, lt=2**32)] = 0


class RangeSection(Section):
    """A range of `[search]`, in the place of a value; by default in steps of 0.01 up to 1, and of 1 beyond."""

    start: StrictInt | Number = Field(alias="from")
    to: StrictInt | Number
    step: Annotated[StrictInt | Number, Field(gt=0)] | None = None


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A key that a search varies.

    Attributes:
        path: of the key in the file.
        values: all that it may have.
        ordered: a range, in which near values are alike; else a list.
    """

    path: tuple[str, ...]
    values: Sequence[Any]
    ordered: bool

    @property
    def name(self) -> str:
        """The key as it is called in suggestions."""
        return ".".join(self.path[2:] or self.path[1:])


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search that a file describes; `content` is the file with its lists and ranges."""

    section: SearchSection
    dimensions: Sequence[Dimension]
    content: Mapping[str, Any]

    def file(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The file of a study of one combination of values, by name."""
        return _placed(self.content, {each.path: values[each.name] for each in self.dimensions})


def dimensions_of(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[Dimension]:
    """The lists and ranges in a file's grid and its recipe, in its order; what else is wrong with it is not looked for.

    Raises:
        StudyError: a range that is none.
    """
    found = []
    for name, value in table.items():
        at = (*path, name)
        if at != ("study",) and at[:2] not in _VARIED:
            continue
        if isinstance(value, list) and len(value) > 1:
            found.append(Dimension(path=at, values=value, ordered=False))
        elif isinstance(value, dict) and "from" in value:
            found.append(Dimension(path=at, values=_range(".".join(at), value), ordered=True))
        elif isinstance(value, dict):
            found += dimensions_of(value, at)
    return found


def with_each_value(content: Mapping[str, Any], dimensions: Sequence[Dimension]) -> Iterator[dict[str, Any]]:
    """Files of single combinations, in which each value of a list and both ends of a range are once at least."""
    tried = {each.path: each.values[:: len(each.values) - 1] if each.ordered else each.values for each in dimensions}
    for place in range(max(map(len, tried.values()), default=1)):
        yield _placed(content, {path: values[min(place, len(values) - 1)] for path, values in tried.items()})


def objectives(section: SearchSection, kept: Sequence[RunRow | FailedRun]) -> list[float] | None:
    """Means over the seeds of a suggestion: percent right, and nominal size in percent; None where a run failed."""
    rows = [row for row in kept if isinstance(row, RunRow)]
    if len(rows) < len(kept):
        return None
    accuracy = fmean(row.accuracy for row in rows)
    return [accuracy, fmean(row.size_percent for row in rows)][: _OBJECTIVES[section.objective]]


class Sampler:
    """Suggestions, one after the other; it is told of each in the order it made them. Equal answers, equal suggestions.

    Raises:
        MissingExtraError: optuna is not installed; or cmaes, which its CMA-ES needs.
    """

    def __init__(self, search: Search) -> None:
        optuna, section = import_extra("optuna", extra="search"), search.section
        if section.sampler == "cma-es":
            import_extra("cmaes", extra="search")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        samplers = optuna.samplers
        make = {
            "tpe": samplers.TPESampler,
            "random": samplers.RandomSampler,
            "nsga-ii": partial(samplers.NSGAIISampler, population_size=POPULATION),
            "cma-es": partial(samplers.CmaEsSampler, warn_independent_sampling=False),
        }[section.sampler]
        directions = ["maximize", "minimize"][: _OBJECTIVES[section.objective]]
        self._study = optuna.create_study(sampler=make(seed=section.seed), directions=directions)
        self._failed = optuna.trial.TrialState.FAIL
        self._values = {each.name: each.values for each in search.dimensions}
        self._space = {
            each.name: optuna.distributions.IntDistribution(0, len(each.values) - 1)
            if each.ordered
            else optuna.distributions.CategoricalDistribution(range(len(each.values)))
            for each in search.dimensions
        }
        self._asked: deque[Any] = deque()

    def ask(self) -> dict[str, Any]:
        """The next suggestion: a value for each dimension, by name."""
        self._asked.append(trial := self._study.ask(self._space))
        return {name: values[trial.params[name]] for name, values in self._values.items()}

    def tell(self, figures: list[float] | None) -> None:
        """The objectives of the earliest suggestion that was not told of; None where it failed."""
        self._study.tell(self._asked.popleft(), figures, state=self._failed if figures is None else None)


def _range(name: str, value: Mapping[str, Any]) -> list[float]:
    """All values, the ends included."""
    try:
        section = RangeSection.model_validate(value)
    except ValidationError as error:
        raise StudyError(f"'{name}': {first_problem(error, lambda _: {'from', 'to', 'step'})}") from error
    step = section.step or (0.01 if section.to <= 1 else 1)
    count = int((section.to - section.start) / step + 1e-9) + 1
    if not 1 < count <= MOST_VALUES:
        raise StudyError(f"'{name}': expected a range of 2 to {MOST_VALUES:,} values, got {max(count, 0):,}")
    return [round(section.start + place * step, 10) for place in range(count)]


def _placed(content: Mapping[str, Any], values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """A copy of the file with these values at these places."""
    copied = copy.deepcopy(dict(content))
    for (*tables, key), value in values.items():
        table = copied
        for name in tables:
            table = table[name]
        table[key] = value
    return copied
