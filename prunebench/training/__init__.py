"""Training, fine-tuning under masks, and pruning while training, resumable after every epoch."""

from prunebench.training.distillation import Distillation
from prunebench.training.pruner import ByMagnitude, Chooser, MaskChange, Pruner
from prunebench.training.recalibration import recalibrate_
from prunebench.training.recipe import LearningRateSchedule, Optimizer, Recipe, check_recipe
from prunebench.training.train import Epoch, Training, TrainingProgress, train

__all__ = [
    "ByMagnitude",
    "Chooser",
    "Distillation",
    "Epoch",
    "LearningRateSchedule",
    "MaskChange",
    "Optimizer",
    "Pruner",
    "Recipe",
    "Training",
    "TrainingProgress",
    "check_recipe",
    "recalibrate_",
    "train",
]
