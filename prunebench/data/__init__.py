"""Data sets as uint8 tensors held whole, where they come from, and batches of them."""

from prunebench.data.batches import Augmentation, to_float, training_batches, whole_batches
from prunebench.data.cifar10 import CIFAR10_CLASSES, load_cifar10, verify_source
from prunebench.data.digits import load_digits
from prunebench.data.images import Dataset, ImageSet, split_validation
from prunebench.data.shapes import load_shapes

__all__ = [
    "CIFAR10_CLASSES",
    "Augmentation",
    "Dataset",
    "ImageSet",
    "load_cifar10",
    "load_digits",
    "load_shapes",
    "split_validation",
    "to_float",
    "training_batches",
    "verify_source",
    "whole_batches",
]
