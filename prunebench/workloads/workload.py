"""The protocol of a workload, and the one that is put together from parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from prunebench.data import Dataset
from prunebench.documented.floors import Floor
from prunebench.errors import UnknownNameError, WorkloadError
from prunebench.models import build_model, model_label
from prunebench.tasks import CLASSIFICATION, Task
from prunebench.training import Recipe
from prunebench.workloads.weights import Weights

if TYPE_CHECKING:
    from prunebench.records import RunRecord

DENSE = "dense"
"""The name of the recipe that makes the dense model."""

LoadingProgress = Callable[[int], None]
"""Called while data is read, with the number of examples so far."""


class Workload(Protocol):
    """A model, data, a task, a checkpoint and recipes, under one name.

    A class that names this one as its base needs `name`, `recipes`, `build` and `data`; the others have defaults.

    Attributes:
        name: as records and the command line call it.
        recipes: how to fine-tune, by name, the first being the default; `dense` says how to make the dense model.
        model: what records call the architecture; by default the class of what `build` gives.
        task: what the model's outputs mean; classification by default.
        trains_itself: make the dense model by the recipe `dense` where there is no checkpoint, instead of asking for
            one.
        pretrained: `build` gives a trained model, which needs no checkpoint; `origin` says of people where it is from.
        weights: what is known of the weights that `checkpoint` names.
        keep_dense: patterns of parameters that are never pruned, as `fnmatch` reads them.
        input_shape: of one float input, where it is known before the data is loaded.
    """

    name: str
    recipes: Mapping[str, Recipe]
    model: str = ""
    input_shape: tuple[int, ...] | None = None
    pretrained: bool = False
    origin: str = ""
    weights: Weights | None = None
    task: Task = CLASSIFICATION
    trains_itself: bool = False
    keep_dense: tuple[str, ...] = ()

    def build(self) -> nn.Module:
        """The model with fresh weights."""
        ...

    def data(self, source: Path | None = None, progress: LoadingProgress | None = None) -> Dataset:
        """Training and test examples; `source` is what `--data` names, where the workload reads from a path."""
        ...

    def checkpoint(self) -> Path | None:
        """The file of the dense model's weights; None for none."""
        return None

    def floors(self, record: RunRecord) -> Iterable[Floor]:  # noqa: ARG002 - for those that have some
        """The floors that a record of this workload promises, beside its run's own."""
        return ()


@dataclass(frozen=True, kw_only=True)
class ComposedWorkload(Workload):
    """A workload put together from a model's name, a loader of data, and recipes.

    Attributes:
        builder: the model, as `build_model` takes it.
        arguments: of the builder, by name.
        load: gives the data.
        folder: where the modules of a user's own builder are looked for.
        limits: gives the floors of a record.
    """

    name: str
    recipes: Mapping[str, Recipe]
    builder: str
    load: Callable[[Path | None, LoadingProgress | None], Dataset]
    input_shape: tuple[int, ...] | None = None
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    weights: Weights | None = None
    pretrained: bool = False
    folder: Path | None = None
    task: Task = CLASSIFICATION
    trains_itself: bool = False
    keep_dense: tuple[str, ...] = ()
    limits: Callable[[RunRecord], Iterable[Floor]] = lambda _record: ()

    @property
    def model(self) -> str:  # type: ignore[override]
        """The builder and its arguments."""
        return model_label(self.builder, self.arguments)

    def build(self) -> nn.Module:
        """The model with fresh weights."""
        return build_model(self.builder, self.arguments, folder=self.folder)

    def data(self, source: Path | None = None, progress: LoadingProgress | None = None) -> Dataset:
        """Training and test examples."""
        return self.load(source, progress)

    def checkpoint(self) -> Path | None:
        """The file of the dense model's weights."""
        return self.weights.path if self.weights else None

    def floors(self, record: RunRecord) -> Iterable[Floor]:
        """The floors that a record promises."""
        return self.limits(record)


@dataclass(frozen=True, kw_only=True)
class InMemoryWorkload(Workload):
    """A trained model and a data set that are there already.

    Attributes:
        module: copied before anything is done to it; inside a wrapper (`torch.compile`, DataParallel, AveragedModel)
            the module itself is taken, and weights that are not float32 are made so, which the record's origin says.
        dataset: what it was trained for.
        origin: where the weights are from, for people.
    """

    name: str
    recipes: Mapping[str, Recipe]
    module: nn.Module
    dataset: Dataset
    model: str = ""
    task: Task = CLASSIFICATION
    origin: str = ""
    keep_dense: tuple[str, ...] = ()
    pretrained: bool = True

    def build(self) -> nn.Module:
        """The model itself."""
        return self.module

    def data(self, source: Path | None = None, progress: LoadingProgress | None = None) -> Dataset:  # noqa: ARG002
        """The data set."""
        return self.dataset


def recipe_names(workload: Workload) -> list[str]:
    """The recipes that fine-tune, the default first."""
    return [name for name in workload.recipes if name != DENSE]


def find_recipe(workload: Workload, name: str | None = None) -> tuple[str, Recipe]:
    """The recipe called `name`, and its name; the workload's first without one.

    That of the dense training is taken by its name alone: pruning schedules that rewind go through it again.

    Raises:
        UnknownNameError: no such recipe.
        WorkloadError: the workload has none that fine-tunes.
    """
    names = recipe_names(workload)
    if not names:
        raise WorkloadError(f"workload '{workload.name}' has no recipe: expected one at least, beside '{DENSE}'")
    if name is None:
        name = names[0]
    if name not in names and not (name == DENSE and DENSE in workload.recipes):
        raise UnknownNameError("recipe", name, names)
    return name, workload.recipes[name]


def check_workload(found: object, *, called: str) -> Workload:
    """`found` itself, or what it makes where it is a class, once it has what a workload needs.

    Raises:
        WorkloadError: something is missing.
    """
    needed = [name for name in ("name", "recipes", "build", "data") if not hasattr(found, name)]
    others = ("model", "task", "pretrained", "weights", "trains_itself", "keep_dense", "checkpoint",
              "floors")  # fmt: skip
    missing = needed or [name for name in others if not hasattr(found, name)]
    if missing:
        raise WorkloadError(
            f"'{called}' is no workload: it has no {', '.join(missing)}; expected a class that names "
            "prunebench.Workload as its base"
        )
    return found  # type: ignore[return-value]
