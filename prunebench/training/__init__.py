"""Training and fine-tuning under masks, resumable after every epoch."""

from prunebench.training.recipe import LearningRateSchedule, Optimizer, Recipe, check_recipe
from prunebench.training.train import Epoch, Training, TrainingProgress, train

__all__ = [
    "Epoch",
    "LearningRateSchedule",
    "Optimizer",
    "Recipe",
    "Training",
    "TrainingProgress",
    "check_recipe",
    "train",
]
