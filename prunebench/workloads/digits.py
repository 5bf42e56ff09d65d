"""`digits`: the VGG on scikit-learn's digits at 16x16; hermetic."""

from __future__ import annotations

from dataclasses import replace

from prunebench.data import Augmentation, load_digits
from prunebench.training import Recipe
from prunebench.workloads.cifar10 import DOCUMENTED_RECIPE
from prunebench.workloads.hermetic import needs_no_data, quick_floor
from prunebench.workloads.workload import DENSE, ComposedWorkload

SHIFTED = Augmentation(crop_padding=1, flip=False)
"""A mirrored digit is another digit."""

QUICK = replace(DOCUMENTED_RECIPE, batch_size=64, augmentation=SHIFTED, images_per_epoch=384)

DIGITS = ComposedWorkload(
    name="digits",
    builder="vgg",
    input_shape=(3, 16, 16),
    load=needs_no_data("digits", load_digits),
    trains_itself=True,
    recipes={
        "quick": QUICK,
        "full": replace(QUICK, images_per_epoch=None),
        DENSE: Recipe(
            epochs=8,
            batch_size=64,
            learning_rate=0.05,
            nesterov=True,
            weight_decay=5e-4,
            learning_rate_schedule="one_cycle",
            augmentation=SHIFTED,
        ),
    },
    limits=quick_floor(96.4),
)
