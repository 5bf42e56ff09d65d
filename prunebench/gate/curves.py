"""Sensitivity scans: a scan against its baseline, point by point, each a pair of models on the same images.

One point is one layer at one sparsity, so both sides pruned the same weights alike, and the paired test of
`prunebench.gate.accuracy` applies as it does to a pruned model. All points of a scan and the base model are one family
(Holm). A point that was not answered in full has no answers to be paired and is compared with nothing: its interval
holds for its own scan, and two of them overlap long before a drop as small as the margin would be seen.

A scan of other base weights is another experiment. A point may then be lower because the base model is, and the
drop of each point against its own base is no way out: how far it scatters from one training to the next is not
known, so that any limit on it would be invented. So nothing is judged, and the largest difference is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prunebench.gate.accuracy import Pair, judge_pairs
from prunebench.gate.comparability import (
    MACHINE,
    environment_differences,
    same_own_checkpoint,
    scan_differences,
)
from prunebench.gate.paired import RightWrong
from prunebench.gate.thresholds import Thresholds
from prunebench.gate.timing import Samples, compare_times
from prunebench.gate.verdicts import Status, Tier, Verdict, different, stated
from prunebench.sensitivity import Point, Scan

Place = tuple[str, float]
"""A layer and a sparsity."""


def compare_scans(case: str, baseline: Scan, new: Scan, thresholds: Thresholds) -> list[Verdict]:
    """Every verdict on `new`: one a point of either scan, one on the base model, one on the seconds.

    Where the scans as wholes cannot be compared, the verdict on that is the only one.
    """
    run = case.rpartition("/")[2]
    if obstacles := _obstacles(case, run, baseline, new):
        return obstacles
    before, after = _by_place(baseline), _by_place(new)
    both = [place for place in after if place in before]
    full = [place for place in both if before[place].correct_bits is not None and after[place].correct_bits is not None]
    answers = {"accuracy of the base model": (_base_answers(baseline), _base_answers(new))}
    answers |= {
        _named(place): (_point_answers(before[place], baseline), _point_answers(after[place], new)) for place in full
    }
    timed = thresholds.times and before.keys() == after.keys() == set(full)
    hint = f"'prunebench baseline show {case}' prints the approved curves"
    pairs = [
        Pair(case=case, run=run, check=check, baseline=old, new=now, trained=False, hint=hint)
        for check, (old, now) in answers.items()
    ]
    return [
        *judge_pairs(pairs, thresholds=thresholds),
        *(_partial(case, run, place, before[place], after[place], new) for place in both if place not in full),
        *(_vanished(case, run, place) for place in before if place not in after),
        *(_unapproved(case, run, place) for place in after if place not in before),
        *(_seconds(case, run, baseline, new, thresholds) if timed else ()),
    ]


def _obstacles(case: str, run: str, baseline: Scan, new: Scan) -> list[Verdict]:
    """Differences that keep two whole scans from being compared."""
    if differences := scan_differences(baseline, new):
        return [different(case, run, "same experiment", differences)]
    return [_other_base(case, run, baseline, new)] if baseline.model_digest != new.model_digest else []


def _other_base(case: str, run: str, baseline: Scan, new: Scan) -> Verdict:
    """Advisory where the weights are the workload's own, trained by one recipe on another machine."""
    machine = environment_differences(baseline, new, MACHINE)
    elsewhere = bool(machine) and same_own_checkpoint(baseline.origin, new.origin)
    differences = [
        f"base weights digest {baseline.model_digest[:12]} -> {new.model_digest[:12]}",
        f"base accuracy {baseline.base_accuracy:.2f} -> {new.base_accuracy:.2f} %",
        *_largest_change(baseline, new),
        *(["one recipe", *machine] if elsewhere else []),
    ]
    check = "curves, same base weights"
    return different(case, run, check, differences, tier=Tier.ACCURACY, advisory=elsewhere)


def _largest_change(baseline: Scan, new: Scan) -> list[str]:
    """The point whose drop against its own base has grown the most, for people to look at."""
    before, after = _by_place(baseline), _by_place(new)
    drops = {
        place: (baseline.base_accuracy - before[place].accuracy, new.base_accuracy - after[place].accuracy)
        for place in after
        if place in before
    }
    if not drops:
        return []
    place = max(drops, key=lambda place: drops[place][1] - drops[place][0])
    old, now = drops[place]
    return [f"largest growth of a drop: {_named(place)}, {old:.2f} -> {now:.2f} points"]


def _partial(case: str, run: str, place: Place, before: Point, after: Point, scan: Scan) -> Verdict:
    counts = f"{before.images:,} -> {after.images:,} of {scan.images:,} images answered"
    differences = [counts, "only answers to every image can be paired: scan exactly"]
    return different(case, run, _named(place), differences, tier=Tier.ACCURACY)


def _vanished(case: str, run: str, place: Place) -> Verdict:
    return stated(
        case, run, f"vanished point: {_named(place)}", Status.INCOMPARABLE, "a point", "none",
        rule="a point of the baseline that was not scanned: nothing was measured", tier=Tier.ACCURACY,
    )  # fmt: skip


def _unapproved(case: str, run: str, place: Place) -> Verdict:
    return stated(
        case, run, f"new point: {_named(place)}", Status.NO_BASELINE, "a point of the baseline", "none",
        rule="a new point has to be approved once", tier=Tier.ACCURACY,
    )  # fmt: skip


def _seconds(case: str, run: str, baseline: Scan, new: Scan, thresholds: Thresholds) -> Iterable[Verdict]:
    """One sample a side, which shows no spread: never a FAIL."""
    elsewhere = environment_differences(baseline, new, MACHINE)
    samples = Samples(before=[baseline.seconds], after=[new.seconds])
    yield compare_times(case, run, "seconds, scan", samples, elsewhere, thresholds=thresholds)


def _base_answers(scan: Scan) -> RightWrong:
    return RightWrong(correct=scan.base_correct, images=scan.images, correct_bits=scan.base_bits)


def _point_answers(point: Point, scan: Scan) -> RightWrong:
    assert point.correct_bits is not None, "callers look"
    return RightWrong(correct=point.correct, images=scan.images, correct_bits=point.correct_bits)


def _by_place(scan: Scan) -> Mapping[Place, Point]:
    return {(point.layer, point.sparsity): point for point in scan.points}


def _named(place: Place) -> str:
    layer, sparsity = place
    return f"{layer} at {sparsity:g}"
