"""A run's method at work on a setting: its evidence, its masks, its pruner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from prunebench.data import Examples
from prunebench.documented.method import Method
from prunebench.pruning import (
    Criterion,
    Evidence,
    Granularity,
    Masks,
    SparsityPlan,
    evidence_count,
    find_criterion,
    find_granularity,
    gather_evidence,
    plan_masks,
    prune_,
)
from prunebench.tasks import Task
from prunebench.workloads import Workload
from prunebench.workloads.workload import ComposedWorkload

_GATHERED: WeakKeyDictionary[nn.Module, dict[object, Evidence]] = WeakKeyDictionary()
"""Evidence of dense models, which stay as they are: an allocation and several runs read the same."""


@dataclass(frozen=True, kw_only=True)
class MethodAtWork:
    """Criterion and granularity, with all they need to choose masks: the `Chooser` of a training too.

    Attributes:
        training: the examples that evidence is drawn from, by `seed`.
        example: a batch of inputs (n, ...), which shows how layers are connected.
        examples: how many evidence is of; None for the default.
    """

    criterion: Criterion
    units: Granularity
    training: Examples
    task: Task
    example: Tensor
    seed: int
    examples: int | None = None

    @property
    def key(self) -> str:
        """All that determines the masks beside the model."""
        kinds = [
            f"{one.name} ({type(one).__module__}.{type(one).__qualname__})" for one in (self.criterion, self.units)
        ]
        return f"{', '.join(kinds)}, {self.examples} examples of {self.training.digest} by {self.seed}"

    def evidence(self, model: nn.Module, movement: Mapping[str, Tensor] | None = None) -> Evidence:
        """The evidence of `model` as it is now, gathered but for a `movement` that is given; the seed at least."""
        needs = self.criterion.needs - ({"movement"} if movement is not None else set())
        found = Evidence(seed=self.seed)
        if needs:
            found = gather_evidence(
                model, self.training, needs=needs, task=self.task, examples=self.examples, seed=self.seed
            )
        return replace(found, movement=movement) if movement is not None else found

    def dense_evidence(self, dense: nn.Module) -> Evidence:
        """The evidence of a dense model that nobody changes; gathered once."""
        gathered = _GATHERED.setdefault(dense, {})
        key = self.key, self.criterion.needs
        if key not in gathered:
            gathered[key] = self.evidence(dense)
        return gathered[key]

    def prune_(self, model: nn.Module, plan: SparsityPlan, evidence: Evidence) -> Masks:
        """Prune `model` in place, by `evidence` of it."""
        return prune_(
            model, plan, criterion=self.criterion, granularity=self.units, example=self.example, evidence=evidence
        )

    def kept(self, shape: Sequence[int], sparsity: float) -> int:
        """Elements that a weight of `shape` keeps."""
        return prod(shape) - self.units.pruned_elements(shape, sparsity)

    @property
    def reads_movement(self) -> bool:
        """True where the criterion does."""
        return "movement" in self.criterion.needs

    def choose(
        self, model: nn.Module, plan: SparsityPlan, alive: Masks | None, movement: Mapping[str, Tensor] | None
    ) -> Masks:
        """The masks for `plan` on the model as it is now; what is pruned already goes before all others.

        Movement is that of the training; before its first step that of a pass over the evidence.
        """
        return plan_masks(
            model,
            plan,
            criterion=self.criterion,
            granularity=self.units,
            example=self.example,
            evidence=self.evidence(model, movement),
            alive=alive,
        )


def at_work(method: Method, workload: Workload, training: Examples, example: Tensor, *, seed: int) -> MethodAtWork:
    """The method at work on a workload.

    Raises:
        UnknownNameError, ImportedNameError, PlanError: its criterion or granularity cannot be found.
        DataError: its evidence takes more examples than there are.
    """
    folder = folder_of(workload)
    criterion = find_criterion(method.criterion, folder=folder)
    if criterion.needs:
        evidence_count(training, method.evidence_examples)
    return MethodAtWork(
        criterion=criterion,
        units=find_granularity(method.granularity, folder=folder),
        training=training,
        task=workload.task,
        example=example,
        seed=seed,
        examples=method.evidence_examples,
    )


def folder_of(workload: Workload) -> Path | None:
    """The folder of the file that describes a workload, where its modules are looked for."""
    return workload.folder if isinstance(workload, ComposedWorkload) else None
