"""Synthetic records: as small as the schema allows, consistent in themselves, made in microseconds."""

from __future__ import annotations

import base64
import hashlib
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.baselines.shelf import Approval, Baseline, approved
from prunebench.records import (
    Accuracy,
    Checkpoints,
    Data,
    FineTuning,
    Histogram,
    Layer,
    Record,
    RunRecord,
    Signature,
    Timings,
)

IMAGES = 200
SHAPES = {"backbone.conv0.weight": [4, 3, 3, 3], "classifier.weight": [10, 4]}
BIAS = {"classifier.bias": 10}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def accuracy(wrong: int = 10, images: int = IMAGES) -> Accuracy:
    """Answers of which the first `wrong` are wrong."""
    return answered(np.arange(images) >= wrong)


def answered(correct: NDArray[np.bool_]) -> Accuracy:
    """Answers that are right where `correct` is, bool (images,)."""
    bits = np.packbits(correct).tobytes()
    return Accuracy(
        correct=int(correct.sum()),
        images=len(correct),
        correct_bits=base64.b64encode(bits).decode("ascii"),
        predictions_digest=hashlib.sha256(bits).hexdigest(),
    )


def answered_record(correct: NDArray[np.bool_], **changes: Any) -> RunRecord:
    """A record without fine-tuning, of a pruned model that is right where `correct` is."""
    data = Data(name="digits", digest=digest(f"{len(correct)} digits"), train_images=1000, test_images=len(correct))
    fields: dict[str, Any] = {
        "data": data,
        "dense_accuracy": answered(np.arange(len(correct)) % 25 > 0),
        "pruned_accuracy": answered(correct),
        "finetuning": None,
    }
    return make_record(**(fields | changes))


def make_signature(**changes: Any) -> Signature:
    fields: dict[str, Any] = {
        "steps": 32,
        "images": 2000,
        "learning_rates": [0.005, 0.005],
        "optimizer": {"momentum": 0.9, "weight_decay": 1e-4, "nesterov": 0.0},
        "scores_dtype": "float32",
        "images_digest": digest("images"),
        "labels_digest": digest("labels"),
        "distance": {"backbone.conv0.weight": 0.1, "classifier.weight": 0.2, "classifier.bias": 0.3},
        "length": {"backbone.conv0.weight": 1.0, "classifier.weight": 1.1, "classifier.bias": 1.0},
        "statistics": {},
    }
    return Signature(**(fields | changes))


def make_histogram(numel: int, kept: int, *, finetuned: bool = True) -> Histogram:
    """`numel` dense weights spread evenly over 40 bins, of which the `kept` furthest from zero are left."""
    bins = np.arange(numel) * 40 // numel
    left = bins[np.argsort(-np.abs(np.arange(numel) - (numel - 1) / 2), kind="stable")[:kept]]
    counts = {"dense": bins, "pruned": left} | ({"finetuned": left} if finetuned else {})
    texts = {name: " ".join(map(str, np.bincount(found, minlength=40))) for name, found in counts.items()}
    return Histogram(largest=0.5, **texts)


def make_record(
    *, sparsity: float = 0.5, wrong: int = 10, extra_nonzeros: int = 0, histograms: bool = False, **changes: Any
) -> RunRecord:
    """A record of a run `tiny` that no document knows.

    `wrong` images are answered wrong after pruning; `extra_nonzeros` of the last layer escaped the pruning.
    """
    numels = {name: math.prod(shape) for name, shape in SHAPES.items()}
    kept = {name: numel - round(sparsity * numel) for name, numel in numels.items()}
    kept["classifier.weight"] += extra_nonzeros
    dense, nonzeros = numels | BIAS, kept | BIAS
    is_oneshot = "finetuning" in changes and changes["finetuning"] is None
    fields: dict[str, Any] = {
        "created": "2026-01-02T03:04:05+00:00",
        "run": "tiny",
        "run_digest": digest(f"tiny {sparsity}"),
        "model": "vgg",
        "architecture": digest("vgg"),
        "workload": "digits",
        "task": "classification",
        "recipe": "quick",
        "as_documented": False,
        "seed": 0,
        "precision": "fp32",
        "data": Data(name="digits", digest=digest("digits"), train_images=1000, test_images=IMAGES),
        "checkpoints": Checkpoints(
            origin="dense.safetensors",
            is_course_checkpoint=False,
            is_own=True,
            dense=digest("dense"),
            pruned=digest(f"pruned {sparsity}"),
            best=None if is_oneshot else digest("tuned"),
            last=None if is_oneshot else digest("tuned"),
        ),
        "layers": [
            Layer(
                name=name,
                shape=shape,
                sparsity=sparsity,
                nonzeros=kept[name],
                macs=9 * numels[name],
                histogram=make_histogram(numels[name], kept[name], finetuned=not is_oneshot) if histograms else None,
            )
            for name, shape in SHAPES.items()
        ],
        "floors": [],
        "masks_digest": digest(f"masks {sparsity}"),
        "elements": sum(dense.values()),
        "dense_nonzeros": dense,
        "nonzeros": nonzeros,
        "dense_size_bits": 32 * sum(dense.values()),
        "pruned_size_bits": 32 * sum(nonzeros.values()),
        "dense_file_bytes": 4 * sum(dense.values()) + 100,
        "pruned_file_bytes": 4 * sum(dense.values()) + 100,
        "dense_accuracy": accuracy(4),
        "pruned_accuracy": accuracy(wrong),
        "finetuning": FineTuning(
            settings={"epochs": 2, "learning_rate": 0.01, "learning_rate_schedule": "cosine"},
            selected_on="test",
            losses=[0.5, 0.25],
            selection_accuracies=[96.0, 97.0],
            best_epoch=2,
            best=accuracy(6),
            last=accuracy(6),
            resumed_after=0,
            signature=make_signature(),
        ),
        "timings": Timings(prune=[0.001], evaluate=[0.5, 0.6], epochs=[1.5, 1.25]),
        "environment": {"torch": "2.0", "device": "cpu", "cpu": "a processor", "cpu_capability": "AVX2", "threads": 2},
        "revision": "0" * 40,
        "dirty": False,
        "prunebench_revision": "1" * 40,
    }
    return RunRecord(**(fields | changes))


def make_baseline(record: Record | None = None, *, reason: str = "first", replaced: str | None = None) -> Baseline:
    at = datetime(2026, 1, 3, tzinfo=UTC).isoformat()
    approval = Approval(by="Somebody <some@body.example>", at=at, reason=reason, replaced=replaced)
    return approved(record or make_record(), approval)
