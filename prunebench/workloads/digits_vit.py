"""`digits-vit`: a small attention model on the digits, so that nothing here is about convolutions alone; hermetic."""

from __future__ import annotations

from dataclasses import replace

from prunebench.data import load_digits
from prunebench.training import Recipe
from prunebench.workloads.digits import SHIFTED
from prunebench.workloads.hermetic import needs_no_data
from prunebench.workloads.workload import DENSE, ComposedWorkload

FULL = Recipe(
    epochs=10,
    batch_size=64,
    learning_rate=5e-4,
    optimizer="adamw",
    weight_decay=0.01,
    learning_rate_schedule="cosine",
    augmentation=SHIFTED,
)

DIGITS_VIT = ComposedWorkload(
    name="digits-vit",
    builder="vit",
    input_shape=(3, 16, 16),
    load=needs_no_data("digits-vit", load_digits),
    trains_itself=True,
    keep_dense=("positions.weight",),
    recipes={
        "quick": replace(FULL, epochs=4),
        "full": FULL,
        DENSE: replace(FULL, epochs=40, learning_rate=2e-3, weight_decay=0.05, learning_rate_schedule="one_cycle"),
    },
)
