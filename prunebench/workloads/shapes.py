"""`shapes`: the VGG on generated pictures, 16x16; hermetic, and hard enough to tell. The default."""

from __future__ import annotations

from dataclasses import replace

from prunebench.data import Augmentation, load_shapes
from prunebench.training import Recipe
from prunebench.workloads.hermetic import needs_no_data, quick_floor
from prunebench.workloads.workload import DENSE, ComposedWorkload

QUICK = Recipe(
    epochs=2,
    batch_size=32,
    learning_rate=0.003,
    learning_rate_schedule="cosine",
    augmentation=Augmentation(crop_padding=1, flip=True),
    images_per_epoch=1024,
)

SHAPES = ComposedWorkload(
    name="shapes",
    builder="vgg",
    input_shape=(3, 16, 16),
    load=needs_no_data("shapes", load_shapes),
    trains_itself=True,
    recipes={
        "quick": QUICK,
        "full": replace(QUICK, epochs=None, images_per_epoch=None),
        DENSE: Recipe(
            epochs=4,
            batch_size=64,
            learning_rate=0.012,
            nesterov=True,
            weight_decay=5e-4,
            learning_rate_schedule="one_cycle",
            augmentation=Augmentation(crop_padding=1, flip=True),
        ),
    },
    limits=quick_floor(83.4),
)
