"""Data sets held whole as tensors, where they come from, and batches of them."""

from prunebench.data.batches import Augmentation, training_batches, whole_batches
from prunebench.data.cifar10 import CIFAR10_CLASSES, load_cifar10, verify_source
from prunebench.data.digits import load_digits
from prunebench.data.examples import Dataset, Examples, Normalization, split_validation, to_float
from prunebench.data.shapes import load_shapes

__all__ = [
    "CIFAR10_CLASSES",
    "Augmentation",
    "Dataset",
    "Examples",
    "Normalization",
    "load_cifar10",
    "load_digits",
    "load_shapes",
    "split_validation",
    "to_float",
    "training_batches",
    "verify_source",
    "whole_batches",
]
