"""Workloads and runs by name: prunebench's own, installed packages', a TOML file's, and a user's own objects."""

from __future__ import annotations

from pathlib import Path

from prunebench.documented.runs import RUNS, Run
from prunebench.documented.tables import Architecture, find_run, table_file
from prunebench.errors import UnknownNameError, WorkloadError
from prunebench.storage.imports import entry_point_names, load_extension
from prunebench.workloads.cifar10 import CIFAR10
from prunebench.workloads.cifar10_resnets import RESNET20, RESNET20_PADDING, RESNET56, RESNET56_PADDING
from prunebench.workloads.configuration import Configuration, RequestedRun, find_file, read_configuration
from prunebench.workloads.dense import built
from prunebench.workloads.digits import DIGITS
from prunebench.workloads.digits_vit import DIGITS_VIT
from prunebench.workloads.shapes import SHAPES
from prunebench.workloads.workload import Workload, check_workload

BUILT_IN: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        SHAPES,
        DIGITS,
        DIGITS_VIT,
        CIFAR10,
        RESNET20,
        RESNET20_PADDING,
        RESNET56,
        RESNET56_PADDING,
    )
}
DEFAULT_WORKLOAD = SHAPES.name
GROUP = "prunebench.workloads"
"""The entry-point group in which packages name workloads of theirs."""


def workload_names() -> list[str]:
    """Prunebench's own workloads, those of installed packages, and those of the current folder's file."""
    here = _here()
    return [*dict.fromkeys([*BUILT_IN, *entry_point_names(GROUP), *(here.workloads if here else ())])]


def find_workload(name: str | None = None) -> Workload:
    """The workload called `name`.

    Args:
        name: a name of prunebench's, of an installed package's or of the current folder's `prunebench.toml`;
            `FILE.toml`, or `FILE.toml:NAME` where it describes several; or `package.module:object`. Without one, what
            the current folder's file describes, where that is one, else `shapes`.

    Raises:
        UnknownNameError: no such workload.
        WorkloadError, ImportedNameError: it cannot be read, imported, or used.
    """
    if name is None:
        here = _here()
        return _only(here, None) if here and here.workloads else BUILT_IN[DEFAULT_WORKLOAD]
    file, colon, inside = name.partition(".toml")
    if colon and (not inside or inside.startswith(":")):
        return _only(read_configuration(Path(file + colon)), inside[1:] or None)
    if name in BUILT_IN:
        return BUILT_IN[name]
    here = _here()
    if here and name in here.workloads:
        return here.workloads[name]
    known = [*BUILT_IN, *(here.workloads if here else ())]
    return check_workload(load_extension(name, kind="workload", group=GROUP, known=known), called=name)


def workload_of(run: RequestedRun, described: Configuration) -> Workload:
    """The workload of a run: one of its file's, or any other by its name.

    Raises:
        UnknownNameError, WorkloadError, ImportedNameError: as `find_workload`.
    """
    return described.workloads[run.workload] if run.workload in described.workloads else find_workload(run.workload)


def _here() -> Configuration | None:
    path = find_file()
    return read_configuration(path) if path else None


def _only(configuration: Configuration, name: str | None) -> Workload:
    workloads = configuration.workloads
    if name is None and len(workloads) != 1:
        names = ", ".join(workloads)
        raise WorkloadError(f"'{configuration.path}' describes {len(workloads)} workloads, {names}: name one")
    if name is None:
        return next(iter(workloads.values()))
    if name not in workloads:
        raise UnknownNameError(f"workload of '{configuration.path}'", name, workloads)
    return workloads[name]


def find_requested_run(name: str, workload: str | None = None) -> tuple[Run | RequestedRun, Workload]:
    """A run and the workload that it is executed on.

    Args:
        name: a run of the current folder's file (or of `workload`, where that is a file), a documented run, or the path
            of a TOML table.
        workload: as `find_workload`; without one a run of a file has its own, and any other the default.

    Raises:
        UnknownNameError: neither.
        WorkloadError: a run of a file, and another workload than its own.
    """
    file, colon, inside = (workload or "").partition(".toml")
    path = Path(file + colon) if colon and (not inside or inside.startswith(":")) else find_file()
    here = read_configuration(path) if path else None
    if here and name in here.runs:
        run, own = here.runs[name], workload_of(here.runs[name], here)
        if workload is not None and find_workload(workload).name != own.name:
            raise WorkloadError(f"run '{name}' of '{here.path}' is of workload '{own.name}', got '{workload}'")
        return run, own
    if here and name not in RUNS and table_file(name) is None:
        raise UnknownNameError("run", name, [*here.runs, *RUNS])
    chosen = find_workload(workload)
    return find_run(name, architecture_of(chosen)), chosen


def architecture_of(workload: Workload) -> Architecture:
    """The architecture that sparsity tables for a workload are for."""
    return Architecture(name=workload.model or type(built(workload)).__name__, build=lambda: built(workload))


def runs_of(workload: Workload, name: str | None = None) -> list[RequestedRun]:
    """The runs that a TOML file describes for `workload`, which was named `name` on the command line."""
    file, colon, inside = (name or "").partition(".toml")
    path = Path(file + colon) if colon and (not inside or inside.startswith(":")) else find_file()
    described = read_configuration(path) if path else None
    if described is None:
        return []
    return [run for run in described.runs.values() if workload_of(run, described).name == workload.name]
