"""`cifar10-resnet20` and `-resnet56`: what the literature measures most (He et al. 2016), both shortcut variants.

The `-padding` variants take the public weights of Yerlan Idelbayev (github: akamaster/pytorch_resnet_cifar10 at
d5489e8, 2021, BSD-2-Clause; published test errors 8.27 and 6.61 %), with `--checkpoint` or among the cached
checkpoints. All of them normalise images as those do.
"""

from __future__ import annotations

from dataclasses import replace

from prunebench.data import Augmentation, Normalization, load_cifar10
from prunebench.training import Recipe
from prunebench.workloads.weights import Weights
from prunebench.workloads.workload import DENSE, ComposedWorkload

SOURCE = "Yerlan Idelbayev, github: akamaster/pytorch_resnet_cifar10 at d5489e8, 2021"
NORMALIZATION = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

FULL = Recipe(
    epochs=5,
    batch_size=128,
    learning_rate=0.01,
    learning_rate_schedule="cosine",
    augmentation=Augmentation(crop_padding=4, flip=True),
)


def _workload(depth: int, shortcut: str, *, published: str = "") -> ComposedWorkload:
    return ComposedWorkload(
        name=f"cifar10-resnet{depth}" + ("" if shortcut == "projection" else f"-{shortcut}"),
        builder=f"resnet{depth}",
        arguments={"shortcut": shortcut},
        input_shape=(3, 32, 32),
        load=lambda path, progress: load_cifar10(path, progress=progress).normalized(NORMALIZATION),
        weights=Weights.in_cache(published, source=SOURCE, licence="BSD-2-Clause") if published else None,
        recipes={
            "quick": replace(FULL, epochs=1, batch_size=64, images_per_epoch=3072),
            "full": FULL,
            DENSE: Recipe(
                epochs=24,
                batch_size=128,
                learning_rate=0.4,
                nesterov=True,
                weight_decay=5e-4,
                decay_weights_only=True,
                learning_rate_schedule="one_cycle",
                augmentation=Augmentation(crop_padding=4, flip=True),
            ),
        },
    )


RESNET20 = _workload(20, "projection")
RESNET56 = _workload(56, "projection")
RESNET20_PADDING = _workload(20, "padding", published="resnet20-12fca82f.th")
RESNET56_PADDING = _workload(56, "padding", published="resnet56-4bfd9763.th")
