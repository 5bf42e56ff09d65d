"""Pruning schedules: when masks change while a model is trained, and to which sparsities. One family a file."""

from prunebench.pruning.schedules.gradual import Gradual
from prunebench.pruning.schedules.iterative import Iterative
from prunebench.pruning.schedules.one_shot import OneShot
from prunebench.pruning.schedules.registry import find_pruning_schedule, pruning_schedule_names
from prunebench.pruning.schedules.regrowing import RigL, SparseEvolution
from prunebench.pruning.schedules.rewinding import LearningRateRewinding, WeightRewinding
from prunebench.pruning.schedules.schedule import PruningSchedule, settings_of

__all__ = [
    "Gradual",
    "Iterative",
    "LearningRateRewinding",
    "OneShot",
    "PruningSchedule",
    "RigL",
    "SparseEvolution",
    "WeightRewinding",
    "find_pruning_schedule",
    "pruning_schedule_names",
    "settings_of",
]
