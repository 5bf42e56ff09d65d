"""The training signature: whether fine-tuning was done as for the baseline, and moved the weights as far.

What was done (steps, images, labels, rates) follows from data, seed and recipe, so it is exact on every machine. How
far the weights moved, and the losses, depend on the dense weights and on rounding: they are held to a tolerance, which
`benchmarks/studies/signatures.py` measured over seeds, dense models, thread counts and arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from prunebench.gate.comparability import training_differences
from prunebench.gate.verdicts import Status, Tier, Verdict
from prunebench.records import RunRecord, Signature

Figures = Mapping[str, float]

SAME_RATE = 1e-6
"""Relative difference of learning rates that torch versions may compute differently."""


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """Factors by which figures of the signature may differ, either way.

    Attributes:
        loss: mean training loss of an epoch.
        weights: how far a prunable weight moved, of its length.
        others: how far another parameter moved: a bias, batch norm's scale and shift.
        length: length of a prunable weight, of that before.
        statistics: how far batch norm's statistics moved, of their size before.
    """

    loss: float
    weights: float
    others: float
    length: float
    statistics: float


CALIBRATED: Mapping[str, Tolerances] = MappingProxyType(
    {
        "shapes/quick": Tolerances(loss=1.35, weights=1.55, others=4.2, length=1.01, statistics=4.2),
        "digits/quick": Tolerances(loss=23, weights=7, others=7, length=1.01, statistics=5),
    }
)
"""By workload and recipe of prunebench's own; from docs/measurements/gate.md."""

ELSEWHERE = Tolerances(loss=2.0, weights=2.0, others=5.0, length=1.05, statistics=5.0)
"""Where nothing was calibrated: outside is INCONCLUSIVE there."""

CHECKS = {
    "loss": "training loss by epoch",
    "weights": "how far the weights moved",
    "others": "how far biases and batch norm's parameters moved",
    "length": "length of the weights",
    "statistics": "how far batch norm's statistics moved",
}

HINT = "look at the losses by epoch, at the optimizer and at what training does to the images and the weights"


def compare_signatures(case: str, baseline: RunRecord, record: RunRecord) -> Iterator[Verdict]:
    """One verdict on what was done and one on each kind of figure; none where the fine-tunings are two experiments."""
    before, after = baseline.finetuning, record.finetuning
    if before is None or after is None or training_differences(baseline, record):
        return
    yield _as_done(case, record.run, before.signature, after.signature)
    family = f"{record.workload}/{record.recipe}"
    calibrated = family in CALIBRATED
    tolerances = CALIBRATED.get(family, ELSEWHERE)
    old, new = figures(baseline), figures(record)
    for kind, check in CHECKS.items():
        if old[kind] or new[kind]:
            factor = getattr(tolerances, kind)
            yield _within(case, record.run, check, old[kind], new[kind], factor=factor, calibrated=calibrated)


def figures(record: RunRecord) -> Mapping[str, Figures]:
    """The figures of a fine-tuned record's signature, by the kind that `Tolerances` has one for."""
    assert record.finetuning is not None, "callers look"
    signature, weights = record.finetuning.signature, {layer.name for layer in record.layers}
    return {
        "loss": {f"epoch {epoch}": loss for epoch, loss in enumerate(record.finetuning.losses, start=1)},
        "weights": {name: value for name, value in signature.distance.items() if name in weights},
        "others": {name: value for name, value in signature.distance.items() if name not in weights},
        "length": {name: value for name, value in signature.length.items() if name in weights},
        "statistics": signature.statistics,
    }


def largest_factor(before: Figures, after: Figures) -> tuple[str, float]:
    """The name of the figure that differs most, and by which factor; infinite where it is on one side only, or 0."""
    return max(((name, _factor(before.get(name), after.get(name))) for name in {**before, **after}), key=lambda x: x[1])


def facts_that_differ(before: Signature, after: Signature) -> list[str]:
    """Differences, in words, between what two trainings of one recipe, seed and data did."""
    found = [
        f"{what} {old} -> {new}"
        for what, old, new in (
            ("optimizer steps", before.steps, after.steps),
            ("images seen", before.images, after.images),
            ("scores in", before.scores_dtype, after.scores_dtype),
            ("images, as trained on:", before.images_digest[:12], after.images_digest[:12]),
            ("labels, as trained on:", before.labels_digest[:12], after.labels_digest[:12]),
        )
        if old != new
    ]
    found += [
        f"{name} {before.optimizer.get(name)} -> {after.optimizer.get(name)}"
        for name in {**before.optimizer, **after.optimizer}
        if before.optimizer.get(name) != after.optimizer.get(name)
    ]
    for epoch, (old, new) in enumerate(zip(before.learning_rates, after.learning_rates, strict=False), start=1):
        if not math.isclose(old, new, rel_tol=SAME_RATE):
            found.append(f"learning rate of epoch {epoch}, mean {old:.6g} -> {new:.6g}")
            break
    return found


def _as_done(case: str, run: str, before: Signature, after: Signature) -> Verdict:
    found = facts_that_differ(before, after)
    return Verdict(
        case=case,
        run=run,
        check="training as it was done",
        tier=Tier.SIGNATURE,
        status=Status.FAIL if found else Status.PASS,
        expected="equal steps, images, labels, rates and optimizer",
        measured="; ".join(found) or "the same",
        shortfall=float(len(found)),
        rule="exact: they follow from data, seed and recipe on every machine",
        hint=HINT,
        evidence={"differences": "; ".join(found), "steps": after.steps, "images": after.images},
        smallest_effect="one image, label or step",
    )


def _within(
    case: str, run: str, check: str, before: Figures, after: Figures, *, factor: float, calibrated: bool
) -> Verdict:
    name, worst = largest_factor(before, after)
    outside = Status.FAIL if calibrated else Status.INCONCLUSIVE
    old, new = before.get(name), after.get(name)
    return Verdict(
        case=case,
        run=run,
        check=check,
        tier=Tier.SIGNATURE,
        status=outside if worst > factor else Status.PASS,
        expected=f"{_figure(old)} within a factor of {factor:g}",
        measured=f"{_figure(new)} ({name})",
        shortfall=min(worst, 1e9) / factor - 1,
        rule=f"a tolerance that was {'measured on this workload' if calibrated else 'not measured on this workload'}",
        hint=HINT,
        evidence={
            "figure": name,
            "baseline": old,
            "new": new,
            "factor": worst if math.isfinite(worst) else "infinite",
            "allowed_factor": factor,
        },
        smallest_effect=f"a factor of {factor:g}",
    )


def _factor(before: float | None, after: float | None) -> float:
    if before == after:
        return 1.0
    if before is None or after is None or min(before, after) <= 0:
        return math.inf
    return max(before / after, after / before)


def _figure(value: float | None) -> str:
    return "absent" if value is None else f"{value:.4g}"
