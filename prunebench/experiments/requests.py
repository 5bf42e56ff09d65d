"""Runs from what a user asked for: names, parts of a method, patterns and totals become a sparsity of every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from prunebench.data import Dataset
from prunebench.documented.runs import Run
from prunebench.errors import PlanError, UnknownNameError
from prunebench.experiments.methods import at_work, folder_of
from prunebench.models import prunable_parameters
from prunebench.planning.allocations import find_allocation
from prunebench.planning.methods import method_plan
from prunebench.workloads import RequestedRun, Workload, find_requested_run, find_workload
from prunebench.workloads.configuration import check_method


def requested_run(
    name: str | None, workload: str | None, parts: Mapping[str, Any], *, source: str
) -> tuple[Run | RequestedRun, Workload]:
    """A run and its workload: the run called `name`, or one of the `total` in `parts`, with those parts of a method.

    Args:
        name, workload: as `prunebench.workloads.find_requested_run` takes them.
        parts: attributes of `prunebench.Method`.
        source: where a total was asked for.

    Raises:
        PrunebenchError: something cannot be found or used; says which.
    """
    found: Run | RequestedRun
    if name is not None:
        found, chosen = find_requested_run(name, workload)
    else:
        chosen = find_workload(workload)
        parts = {"allocation": "uniform", **parts}
        called = f"{parts['allocation']}-{parts['total']:g}"
        called += f"-{of}" if (of := parts.get("total_of", "elements")) != "elements" else ""
        called += "-limited" if parts.get("limits") else ""
        found = RequestedRun(name=called, workload=chosen.name, source=source)
    method = replace(found.method, **parts)
    check_method(method, folder=folder_of(chosen))
    if method.allocation is not None:
        find_allocation(method.allocation, folder=folder_of(chosen))
    return replace(found, method=method), chosen


def resolve(requested: Run | RequestedRun, workload: Workload, model: nn.Module, data: Dataset, *, seed: int) -> Run:
    """The run that a request comes to on the dense `model`; evidence is of training examples drawn by `seed`.

    Raises:
        PlanError, UnknownNameError: a pattern that matches nothing, a layer that is kept dense and pruned, a total that
            cannot be had.
    """
    if isinstance(requested, Run):
        return requested
    weights = prunable_parameters(model)
    dense = kept_dense(workload, weights)
    if requested.sparsity is not None:
        sparsity = by_pattern(requested.sparsity, weights, dense)
    else:
        asked, example = requested.method, data.test.fed(data.test.inputs[:1])
        assert asked.allocation is not None, "the request was checked"
        assert asked.total is not None, "the request was checked"
        method = at_work(asked, workload, data.train, example, seed=seed)
        plan, _ = method_plan(
            model,
            example,
            criterion=method.criterion,
            granularity=method.units,
            allocation=asked.allocation,
            total=asked.total,
            of=asked.total_of,
            limits=_matched(asked.limits, weights),
            keep_dense=dense,
            evidence=method.dense_evidence(model),
            folder=folder_of(workload),
        )
        sparsity = dict(plan)
    return Run(
        name=requested.name,
        model=workload.model or type(model).__name__,
        sparsity=sparsity,
        method=requested.method,
        early=requested.early,
        measures=requested.measures,
        floors=requested.floors,
        source=requested.source,
    )


def kept_dense(workload: Workload, weights: Mapping[str, object]) -> set[str]:
    """The parameters that the workload keeps dense.

    Raises:
        UnknownNameError: a pattern that matches none.
    """
    found: set[str] = set()
    for pattern in workload.keep_dense:
        matching = {name for name in weights if fnmatchcase(name, pattern)}
        if not matching:
            raise UnknownNameError("layer in keep_dense", pattern, weights)
        found |= matching
    return found


def by_pattern(sparsity: Mapping[str, float], weights: Mapping[str, object], dense: set[str]) -> dict[str, float]:
    """A sparsity for every parameter: of the patterns that match it, the last counts; 0 for those kept dense.

    Raises:
        UnknownNameError: a pattern that matches none.
        PlanError: one that no pattern matches; or one that is kept dense, and pruned by its full name.
    """
    for pattern, value in sparsity.items():
        if pattern in dense and value > 0:
            raise PlanError(f"'{pattern}' is kept dense by its workload (keep_dense), got sparsity {value:g}")
    found = _matched(sparsity, weights) | dict.fromkeys(dense, 0.0)
    if missing := [name for name in weights if name not in found]:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise PlanError(f"no sparsity for '{missing[0]}'{more}: \"*\" = 0 as the first pattern keeps the rest dense")
    return {name: found[name] for name in weights}


def _matched(patterns: Mapping[str, float], weights: Mapping[str, object]) -> dict[str, float]:
    """The value of every parameter that a pattern matches; of several, the last counts."""
    found: dict[str, float] = {}
    for pattern, value in patterns.items():
        matching = [name for name in weights if name == pattern or fnmatchcase(name, pattern)]
        if not matching:
            raise UnknownNameError("layer", pattern, weights)
        found |= dict.fromkeys(matching, value)
    return found
