"""prunebench: a benchmark and regression suite for neural-network pruning.

    import prunebench as pb

    setting = pb.prepare(pb.find_workload("digits"))
    record = pb.execute(pb.RUNS["run3"], setting)
    failed = [verdict for verdict in pb.check_record(record) if verdict.status == pb.Status.FAIL]

Each public name is imported when it is first used: `import prunebench` imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunebench.baselines.approval import approve
    from prunebench.baselines.shelf import Baseline, read_baseline
    from prunebench.data import Augmentation, Dataset, Examples, Normalization, load_cifar10, load_digits, load_shapes
    from prunebench.documented.floors import Floor
    from prunebench.documented.runs import RUNS, DocumentedRun, Run
    from prunebench.documented.tables import find_run
    from prunebench.errors import PrunebenchError
    from prunebench.experiments.flow import Progress, Setting, execute, prepare
    from prunebench.experiments.inspection import inspect
    from prunebench.experiments.requests import resolve
    from prunebench.gate import Status, Thresholds, Verdict, check_record, compare_records
    from prunebench.history import collect_history, find_curves
    from prunebench.measure import count_macs, file_size_bytes, nominal_size_bits, nonzeros
    from prunebench.models import build_model, load_checkpoint_, prunable_parameters, save_state
    from prunebench.packing import pack, unpack
    from prunebench.planning import (
        Allocation,
        Curves,
        Goal,
        Inventory,
        find_allocation,
        method_masks,
        optimal_plan,
    )
    from prunebench.pruning import (
        Criterion,
        Evidence,
        Granularity,
        Masks,
        SparsityPlan,
        find_criterion,
        find_granularity,
        gather_evidence,
        prune_,
    )
    from prunebench.pruning.schedules import PruningSchedule, find_pruning_schedule
    from prunebench.records import RunRecord, keep_record, read_record, write_record
    from prunebench.report.plots import (
        plot_epochs,
        plot_frontier,
        plot_history,
        plot_parameters,
        plot_sensitivity,
        plot_weights,
    )
    from prunebench.sensitivity import Scan, read_scan, sensitivity_scan, write_scan
    from prunebench.shrink import shrunk
    from prunebench.tasks import CLASSIFICATION, Evaluation, Task, evaluate
    from prunebench.training import Distillation, Pruner, Recipe, Training, recalibrate_, train
    from prunebench.workloads import (
        ComposedWorkload,
        Configuration,
        InMemoryWorkload,
        RequestedRun,
        Workload,
        dense_model,
        find_workload,
        read_configuration,
        train_dense,
    )

_WHERE = {
    "Allocation": "prunebench.planning",
    "Augmentation": "prunebench.data",
    "Baseline": "prunebench.baselines.shelf",
    "CLASSIFICATION": "prunebench.tasks",
    "ComposedWorkload": "prunebench.workloads",
    "Configuration": "prunebench.workloads",
    "Criterion": "prunebench.pruning",
    "Curves": "prunebench.planning",
    "Dataset": "prunebench.data",
    "Distillation": "prunebench.training",
    "DocumentedRun": "prunebench.documented.runs",
    "Evaluation": "prunebench.tasks",
    "Evidence": "prunebench.pruning",
    "Examples": "prunebench.data",
    "Floor": "prunebench.documented.floors",
    "Goal": "prunebench.planning",
    "Granularity": "prunebench.pruning",
    "InMemoryWorkload": "prunebench.workloads",
    "Inventory": "prunebench.planning",
    "Masks": "prunebench.pruning",
    "Normalization": "prunebench.data",
    "Progress": "prunebench.experiments.flow",
    "PrunebenchError": "prunebench.errors",
    "Pruner": "prunebench.training",
    "PruningSchedule": "prunebench.pruning.schedules",
    "RUNS": "prunebench.documented.runs",
    "Recipe": "prunebench.training",
    "RequestedRun": "prunebench.workloads",
    "Run": "prunebench.documented.runs",
    "RunRecord": "prunebench.records",
    "Scan": "prunebench.sensitivity",
    "Setting": "prunebench.experiments.flow",
    "SparsityPlan": "prunebench.pruning",
    "Status": "prunebench.gate",
    "Task": "prunebench.tasks",
    "Thresholds": "prunebench.gate",
    "Training": "prunebench.training",
    "Verdict": "prunebench.gate",
    "Workload": "prunebench.workloads",
    "approve": "prunebench.baselines.approval",
    "build_model": "prunebench.models",
    "check_record": "prunebench.gate",
    "collect_history": "prunebench.history",
    "compare_records": "prunebench.gate",
    "count_macs": "prunebench.measure",
    "dense_model": "prunebench.workloads",
    "evaluate": "prunebench.tasks",
    "execute": "prunebench.experiments.flow",
    "file_size_bytes": "prunebench.measure",
    "find_allocation": "prunebench.planning",
    "find_criterion": "prunebench.pruning",
    "find_curves": "prunebench.history",
    "find_granularity": "prunebench.pruning",
    "find_pruning_schedule": "prunebench.pruning.schedules",
    "find_run": "prunebench.documented.tables",
    "find_workload": "prunebench.workloads",
    "gather_evidence": "prunebench.pruning",
    "inspect": "prunebench.experiments.inspection",
    "keep_record": "prunebench.records",
    "load_checkpoint_": "prunebench.models",
    "load_cifar10": "prunebench.data",
    "load_digits": "prunebench.data",
    "load_shapes": "prunebench.data",
    "method_masks": "prunebench.planning",
    "nominal_size_bits": "prunebench.measure",
    "nonzeros": "prunebench.measure",
    "optimal_plan": "prunebench.planning",
    "pack": "prunebench.packing",
    "plot_epochs": "prunebench.report.plots",
    "plot_frontier": "prunebench.report.plots",
    "plot_history": "prunebench.report.plots",
    "plot_parameters": "prunebench.report.plots",
    "plot_sensitivity": "prunebench.report.plots",
    "plot_weights": "prunebench.report.plots",
    "prepare": "prunebench.experiments.flow",
    "prunable_parameters": "prunebench.models",
    "prune_": "prunebench.pruning",
    "read_baseline": "prunebench.baselines.shelf",
    "read_configuration": "prunebench.workloads",
    "read_record": "prunebench.records",
    "read_scan": "prunebench.sensitivity",
    "recalibrate_": "prunebench.training",
    "resolve": "prunebench.experiments.requests",
    "save_state": "prunebench.models",
    "sensitivity_scan": "prunebench.sensitivity",
    "shrunk": "prunebench.shrink",
    "train": "prunebench.training",
    "train_dense": "prunebench.workloads",
    "unpack": "prunebench.packing",
    "write_record": "prunebench.records",
    "write_scan": "prunebench.sensitivity",
}
"""Where each public name is defined."""

__all__ = [
    "CLASSIFICATION",
    "RUNS",
    "Allocation",
    "Augmentation",
    "Baseline",
    "ComposedWorkload",
    "Configuration",
    "Criterion",
    "Curves",
    "Dataset",
    "Distillation",
    "DocumentedRun",
    "Evaluation",
    "Evidence",
    "Examples",
    "Floor",
    "Goal",
    "Granularity",
    "InMemoryWorkload",
    "Inventory",
    "Masks",
    "Normalization",
    "Progress",
    "PrunebenchError",
    "Pruner",
    "PruningSchedule",
    "Recipe",
    "RequestedRun",
    "Run",
    "RunRecord",
    "Scan",
    "Setting",
    "SparsityPlan",
    "Status",
    "Task",
    "Thresholds",
    "Training",
    "Verdict",
    "Workload",
    "approve",
    "build_model",
    "check_record",
    "collect_history",
    "compare_records",
    "count_macs",
    "dense_model",
    "evaluate",
    "execute",
    "file_size_bytes",
    "find_allocation",
    "find_criterion",
    "find_curves",
    "find_granularity",
    "find_pruning_schedule",
    "find_run",
    "find_workload",
    "gather_evidence",
    "inspect",
    "keep_record",
    "load_checkpoint_",
    "load_cifar10",
    "load_digits",
    "load_shapes",
    "method_masks",
    "nominal_size_bits",
    "nonzeros",
    "optimal_plan",
    "pack",
    "plot_epochs",
    "plot_frontier",
    "plot_history",
    "plot_parameters",
    "plot_sensitivity",
    "plot_weights",
    "prepare",
    "prunable_parameters",
    "prune_",
    "read_baseline",
    "read_configuration",
    "read_record",
    "read_scan",
    "recalibrate_",
    "resolve",
    "save_state",
    "sensitivity_scan",
    "shrunk",
    "train",
    "train_dense",
    "unpack",
    "write_record",
    "write_scan",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'prunebench' has no attribute {name!r}")
    found = getattr(import_module(_WHERE[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
