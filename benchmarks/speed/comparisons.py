"""The comparisons: what against what, how often, the target, and what must be equal. Jobs live in `jobs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jobs
import numpy as np
from sides import PLAIN, Comparison, Entry, Job

TIE = 1e-3
"""Logits nearer than this are a tie within fp32 rounding over the thousands of terms of a sum: either may be larger."""

Agree = Callable[[list[Any], list[Any], str], str]


def equal_masks(expected: list[Any], found: list[Any], _: str) -> str:
    """The same elements, but for those equal to the threshold, of which either may prune others. Reference: and those.

    The lab's loop prunes all of them.
    """
    ties = 0
    for (one, tied), other in zip(expected, found, strict=True):
        for a, b, equal in zip(one, other, tied, strict=True):
            differing = int(((a != b) & ~equal).sum())
            assert not differing, f"{differing} elements of the masks differ that are not equal to the threshold"
            ties += int((a != b).sum())
    return f"masks equal, but for {ties} elements equal to the threshold" if ties else "masks equal"


def equal_answers(expected: list[Any], found: list[Any], label: str) -> str:
    """fp32: the same images right, but for ties. bf16: within 0.1 points. Reference: (logits, right)."""
    logits = np.concatenate([one for one, _ in expected])
    predictions = np.concatenate([one for one, _ in found])
    right, also_right = (sum(count for _, count in side) for side in (expected, found))
    differing = np.flatnonzero(logits.argmax(1) != predictions)
    said = f"{also_right:,} of {len(predictions):,} right, reference {right:,}; {len(differing)} predictions differ"
    if "bf16" in label:
        assert abs(right - also_right) <= 0.001 * len(predictions), said
        return said
    gaps = logits.max(1)[differing] - logits[differing, predictions[differing]]
    assert (gaps < TIE).all(), f"{said}, by up to {gaps.max():.2g} in the logits"
    return said if not len(differing) else f"{said}, all ties within {gaps.max():.1g} in the logits"


def equal_predictions(expected: list[Any], found: list[Any], label: str) -> str:
    """fp32 against fp32: (predictions, right). Another order of summation may turn ties, one image in 1,000 at most."""
    differing = sum(int((one != other).sum()) for (one, _), (other, _) in zip(expected, found, strict=True))
    total = sum(len(one) for one, _ in expected)
    assert differing <= total / 1000, f"{differing} of {total:,} predictions differ"
    return f"{differing} of {total:,} predictions differ"


def equal_losses(expected: list[Any], found: list[Any], _: str) -> str:
    assert expected == found, f"{found[0]}, expected {expected[0]}"
    return "losses equal to the bit"


def equal_counts(expected: list[list[int]], found: list[list[int]], label: str) -> str:
    """Images right at every point of a scan: in fp32 one a point may turn, since the lab's model is contiguous."""
    gaps = [abs(one - other) for side in zip(expected, found, strict=True) for one, other in zip(*side, strict=True)]
    differing = sum(gap > 0 for gap in gaps)
    said = f"{differing} of {len(gaps)} counts differ, by at most {max(gaps)}"
    assert "bf16" in label or max(gaps) <= 1, said
    return said


def like_losses(expected: list[Any], found: list[Any], _: str) -> str:
    """Masks are checked in the jobs. Order and crops are drawn apart, so losses agree only as samples do."""
    losses, others = ([one["loss"] for one in side] for side in (expected, found))
    lab_loss, loss = float(np.mean(losses)), float(np.mean(others))
    assert abs(lab_loss - loss) < 0.1 * lab_loss, f"loss {loss:.3f}, reference {lab_loss:.3f}"
    denormals = max(int(one["denormals"]) for one in (*expected, *found))
    return f"masks kept; loss {loss:.3f}, reference {lab_loss:.3f}; at most {denormals} denormal weights"


def equal_sizes(expected: list[Any], found: list[Any], _: str) -> str:
    """Nonzeros of every run are equal, once those are added that were equal to the threshold and pruned beyond it.

    Accuracy after one epoch agrees as trainings of other seeds do.
    """
    for one, other in zip(expected, found, strict=True):
        sizes, others = ([nonzeros + too_many for nonzeros, too_many, _ in side] for side in (one, other))
        assert sizes == others, f"sizes differ: {others}, expected {sizes}"
    ties = sum(too_many for _, too_many, _ in expected[0])
    but = f", but for {ties} elements equal to a threshold, which the reference prunes" if ties else ""
    lowest, reference = (min(percent for round_ in side for *_, percent in round_) for side in (found, expected))
    return f"nonzeros equal in every run{but}; lowest accuracy {lowest:.1f} %, reference {reference:.1f} %"


def answered(expected: list[Any], found: list[str], _: str) -> str:
    assert all(found), "the command printed nothing"
    return f"{len(found[0].splitlines())} lines printed"


def _mask(name: str, title: str, peer: Entry, target: float) -> Comparison:
    return Comparison(
        name=name,
        title=title,
        reference=peer,
        others=(Entry("prunebench", jobs.mask_by_prunebench, target=target),),
        agree=equal_masks,
        rounds=11,
    )


def _answers_of_either(expected: list[Any], found: list[Any], label: str) -> str:
    """As `equal_answers`, also where the other side gives logits; TF32 is held to the bound of bf16."""
    if "TF32" in label:
        found, label = [(logits.argmax(1), right) for logits, right in found], "bf16"
    return equal_answers(expected, found, label)


def _passes(
    name: str, title: str, *, ours: Job, labs: Job, what: str, agree: Agree, images: int, rounds: int, gpu: bool = False
) -> Comparison:
    """Images through the VGG, fp32 and bf16 against the lab's fp32; on a GPU the lab's TF32 beside them."""
    settings = {"images": images, **({"device": "cuda"} if gpu else {})}
    fp32, bf16 = (10.0, 10.0) if gpu else {"evaluate": (1.5, 3.4), "train": (1.4, 3.0)}[what]
    tf32 = (Entry(f"the lab's {what}, TF32", labs, {**settings, "tf32": True}),)
    return Comparison(
        name=name,
        title=title,
        reference=Entry(f"the lab's {what}, fp32", labs, settings, process=PLAIN),
        others=(
            Entry("fp32", ours, settings, target=fp32),
            Entry("bf16", ours, {**settings, "precision": "bf16"}, target=bf16),
            *(tf32 if gpu else ()),
        ),
        agree=agree,
        rounds=rounds,
        images=images,
        needs="cuda" if gpu else None,
    )


_evaluation = partial(_passes, ours=jobs.evaluate_by_prunebench, labs=jobs.evaluate_by_lab, what="evaluate")
_epoch = partial(_passes, ours=jobs.train_by_prunebench, labs=jobs.train_by_lab, what="train", agree=like_losses)


SOME, STEP, SCANNED = {"images": 500}, {"images": 256}, {"images": 200}

WITHIN: Sequence[Comparison] = (
    Comparison(
        name="memory-evaluation",
        title="keeping freed memory, evaluation of 500 images a round",
        reference=Entry("giving it back", jobs.evaluate_by_prunebench, SOME, process=PLAIN),
        others=(Entry("fp32", jobs.evaluate_by_prunebench, SOME),),
        agree=equal_predictions,
        rounds=2,
    ),
    Comparison(
        name="memory-training",
        title="keeping freed memory, a training step of 256 images",
        reference=Entry("giving it back", jobs.train_by_prunebench, STEP, process=PLAIN),
        others=(Entry("fp32", jobs.train_by_prunebench, STEP),),
        agree=equal_losses,
        rounds=2,
    ),
)
"""Parts of the way against the same way without them."""

PEERS: Sequence[Comparison] = (
    _mask(
        "mask-torch",
        "threshold + mask of a 512x512x3x3 weight, against torch.nn.utils.prune",
        Entry("l1_unstructured + remove", jobs.mask_by_torch_prune, process=PLAIN),
        40,
    ),
    _mask(
        "mask-kthvalue",
        "threshold + mask of a 512x512x3x3 weight, against kthvalue and compare",
        Entry("kthvalue", jobs.mask_by_kthvalue, process=PLAIN),
        12,
    ),
    Comparison(
        name="pruning",
        title="pruning the whole VGG by run5's table",
        reference=Entry("the lab's loop over layers", jobs.prune_by_lab, process=PLAIN),
        others=(Entry("prunebench", jobs.prune_by_prunebench, target=12),),
        agree=equal_masks,
        rounds=9,
    ),
    Comparison(
        name="commands",
        title="commands, against python -c 'import torch'",
        reference=Entry("import torch", jobs.import_torch, process=PLAIN),
        others=(
            Entry("prunebench --help", jobs.command, {"arguments": ("--help",)}, target=3),
            Entry("prunebench runs", jobs.command, {"arguments": ("runs",)}, target=3),
        ),
        agree=answered,
        rounds=5,
    ),
    _evaluation(
        "evaluation",
        "evaluation of 10,000 images, 1,000 a round",
        agree=equal_answers,
        images=1000,
        rounds=10,
    ),
    _epoch("epoch", "a fine-tuning epoch of 512 images, masks kept", images=512, rounds=2),
    Comparison(
        name="scan",
        title="an exact sensitivity scan, nine layers at six sparsities, 200 images a round",
        reference=Entry("the lab's loop, fp32", jobs.scan_by_lab, SCANNED, process=PLAIN),
        others=(
            Entry("fp32", jobs.scan_by_prunebench, SCANNED, target=2.2),
            Entry("bf16", jobs.scan_by_prunebench, {**SCANNED, "precision": "bf16"}, target=6),
        ),
        agree=equal_counts,
        rounds=2,
        warm_up=False,
    ),
    Comparison(
        name="runs",
        title="the five runs on digits, prune to evaluation, one epoch of 192 images each",
        reference=Entry("the lab's loop, fp32", jobs.runs_by_lab, process=PLAIN),
        others=(
            Entry("fp32", jobs.runs_by_prunebench),
            Entry("bf16", jobs.runs_by_prunebench, {"precision": "bf16"}, target=3),
        ),
        agree=equal_sizes,
        rounds=2,
        warm_up=False,
    ),
    _evaluation(
        "gpu-evaluation",
        "GPU: evaluation of 10,000 images",
        agree=_answers_of_either,
        images=10_000,
        rounds=5,
        gpu=True,
    ),
    _epoch("gpu-epoch", "GPU: a fine-tuning epoch of 10,240 images", images=10_240, rounds=5, gpu=True),
)
"""Against what a user would run instead."""

COMPARISONS = (*PEERS, *WITHIN)
