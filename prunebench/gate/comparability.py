"""Comparability of two records: what differs, and keeps them from being compared. Empty lists: nothing that matters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain

from prunebench.records import Record, RunRecord
from prunebench.sensitivity import Scan

MACHINE = ("torch", "device", "cpu_capability", "threads", "cuda", "cudnn", "cpu", "cores")
"""Keys of an environment that bytes and times depend on: those of `exact_fingerprint`, and the cores."""

ALWAYS_KNOWN = ("torch", "device", "cpu_capability", "threads")


def case_differences(baseline: RunRecord, record: RunRecord) -> list[str]:
    """Differences that make two records two cases, so that no figure of one says anything about the other."""
    fields = [
        _difference("run", baseline.run, record.run),
        _difference("workload", baseline.workload, record.workload),
        _difference("model", baseline.model, record.model),
        _digests("architecture", baseline.architecture, record.architecture),
        _difference("task", baseline.task, record.task),
        _difference("recipe", baseline.recipe, record.recipe),
        _difference("precision", baseline.precision, record.precision),
        _digests("data", baseline.data.digest, record.data.digest),
        _difference("training images", baseline.data.train_images, record.data.train_images),
        _difference("test images", baseline.data.test_images, record.data.test_images),
    ]
    found = list(chain.from_iterable(fields))
    if baseline.run_digest != record.run_digest:
        found += sparsity_differences(baseline, record) or _digests("run", baseline.run_digest, record.run_digest)
    return found


def sparsity_differences(baseline: RunRecord, record: RunRecord) -> list[str]:
    """Layers whose sparsity in the run's table is not the same."""
    before = {layer.name: layer.sparsity for layer in baseline.layers}
    after = {layer.name: layer.sparsity for layer in record.layers}
    names = dict.fromkeys([*before, *after])
    return list(chain.from_iterable(_difference(f"sparsity of {n}", before.get(n), after.get(n)) for n in names))


def dense_differences(baseline: RunRecord, record: RunRecord) -> list[str]:
    """Differences between the dense weights that two records started from."""
    before, after = baseline.checkpoints, record.checkpoints
    course = _difference("course checkpoint", before.is_course_checkpoint, after.is_course_checkpoint)
    return _digests("dense checkpoint", before.dense, after.dense) + course


def training_differences(baseline: RunRecord, record: RunRecord, *, seed_matters: bool = True) -> list[str]:
    """Differences that make two fine-tunings two experiments, beyond the case and the dense weights."""
    before, after = baseline.finetuning, record.finetuning
    if before is None or after is None:
        made = ("no", "yes")
        return _difference("fine-tuned", made[before is not None], made[after is not None])
    keys = sorted({*before.settings, *after.settings})
    found = [_difference(f"recipe {key}", before.settings.get(key), after.settings.get(key)) for key in keys]
    found.append(_difference("epoch chosen on", before.selected_on, after.selected_on))
    if seed_matters:
        found.append(_difference("seed", baseline.seed, record.seed))
    return list(chain.from_iterable(found))


def environment_differences(baseline: Record, record: Record, keys: Iterable[str]) -> list[str]:
    """Those of `keys` that differ between two environments; one that every record must carry and does not, differs."""
    found = []
    for key in keys:
        before, after = baseline.environment.get(key), record.environment.get(key)
        unknown = before is None and after is None and key in ALWAYS_KNOWN
        found += [f"{key} unknown"] if unknown else _difference(key, before, after)
    return found


def same_recipe_elsewhere(baseline: RunRecord, record: RunRecord) -> bool:
    """True where other dense weights are explained: one recipe, trained on two machines, builds or thread counts."""
    before, after = baseline.checkpoints, record.checkpoints
    # A workload's own are named by a digest of all that determines them but the machine.
    own = before.is_own and after.is_own and before.origin == after.origin
    return own and bool(environment_differences(baseline, record, MACHINE))


def same_own_checkpoint(before: str, after: str) -> bool:
    """True where two origins are one workload's own checkpoint, named by a digest of its recipe and data."""
    return before == after and re.fullmatch(r".+-[0-9a-f]{16}\.safetensors", after) is not None


def scan_differences(baseline: Scan, scan: Scan) -> list[str]:
    """Differences that keep two scans from being compared, beyond the weights they were made on.

    Not the mode, nor the size of the batches: points that were answered in full are the same points in all of them.
    """
    fields = [
        _digests("data", baseline.data_digest, scan.data_digest),
        _difference("images", baseline.images, scan.images),
        _difference("criterion", baseline.criterion, scan.criterion),
        _difference("granularity", baseline.granularity, scan.granularity),
        _difference("precision", baseline.precision, scan.precision),
        _difference("elements", baseline.elements, scan.elements),
    ]
    before, after = ({layer.name: layer for layer in each.layers} for each in (baseline, scan))
    for name in dict.fromkeys([*before, *after]):
        if (old := before.get(name)) is None or (new := after.get(name)) is None:
            fields.append([f"layer {name} {'is new' if name in after else 'is gone'}"])
        else:
            fields.append(_difference(f"shape of {name}", old.shape, new.shape))
            fields.append(_difference(f"MACs of {name}", old.macs, new.macs))
    return list(chain.from_iterable(fields))


def _difference(name: str, before: object, after: object) -> list[str]:
    return [] if before == after else [f"{name} {before} -> {after}"]


def _digests(name: str, before: str, after: str) -> list[str]:
    return [] if before == after else [f"{name} digest {before[:12]} -> {after[:12]}"]
