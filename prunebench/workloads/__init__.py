"""Workloads: a model, data, a task, a checkpoint and recipes under one name."""

from prunebench.workloads.cifar10 import DOCUMENTED_RECIPE, UNDOCUMENTED_EPOCHS
from prunebench.workloads.configuration import Configuration, RequestedRun, find_file, read_configuration
from prunebench.workloads.dense import DenseModel, dense_model, find_checkpoint, is_current, own_checkpoint, train_dense
from prunebench.workloads.registry import (
    BUILT_IN,
    DEFAULT_WORKLOAD,
    find_requested_run,
    find_workload,
    workload_names,
)
from prunebench.workloads.weights import Weights
from prunebench.workloads.workload import DENSE, ComposedWorkload, InMemoryWorkload, Workload, find_recipe, recipe_names

__all__ = [
    "BUILT_IN",
    "DEFAULT_WORKLOAD",
    "DENSE",
    "DOCUMENTED_RECIPE",
    "UNDOCUMENTED_EPOCHS",
    "ComposedWorkload",
    "Configuration",
    "DenseModel",
    "InMemoryWorkload",
    "RequestedRun",
    "Weights",
    "Workload",
    "dense_model",
    "find_checkpoint",
    "find_file",
    "find_recipe",
    "find_requested_run",
    "find_workload",
    "is_current",
    "own_checkpoint",
    "read_configuration",
    "recipe_names",
    "train_dense",
    "workload_names",
]
