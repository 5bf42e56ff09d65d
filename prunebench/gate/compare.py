"""Records against baselines: the exact tier only, until the paired accuracy test and the time tier stand here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prunebench.gate.verdicts import Status, Verdict
from prunebench.records import RunRecord


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """`alpha`: the chance of a false alarm over the whole family of cases; `margin`: points that may be lost."""

    alpha: float = 0.01
    margin: float = 0.5


def compare_records(
    baselines: Mapping[str, RunRecord], records: Mapping[str, RunRecord], *, thresholds: Thresholds = Thresholds()
) -> list[Verdict]:
    """Verdicts by case: a record without a baseline is NO_BASELINE, a baseline without a record INCOMPARABLE."""
    verdicts: list[Verdict] = []
    for case in sorted({*baselines, *records}):
        if case not in baselines:
            verdicts.append(_verdict(case, "baseline", Status.NO_BASELINE, "a baseline", "none", "one was approved"))
        elif case not in records:
            verdicts.append(_verdict(case, "record", Status.INCOMPARABLE, "a record", "none", "one was made"))
        else:
            verdicts += _compare(case, baselines[case], records[case])
    return verdicts


def _compare(case: str, old: RunRecord, new: RunRecord) -> list[Verdict]:
    differing = [
        _verdict(case, what, Status.INCOMPARABLE, str(before), str(after), "must be the same")
        for what, before, after in (
            ("sparsities", old.run_digest, new.run_digest),
            ("model", old.model, new.model),
            ("data", old.data.digest, new.data.digest),
            ("dense weights", old.checkpoints.dense, new.checkpoints.dense),
            ("precision", old.precision, new.precision),
            ("test images", old.pruned_accuracy.images, new.pruned_accuracy.images),
        )
        if before != after
    ]
    return differing or [*_exact(case, old, new), *_accuracy(case, old, new)]


def _exact(case: str, old: RunRecord, new: RunRecord) -> Iterator[Verdict]:
    figures: list[tuple[str, object, object]] = [
        ("nonzeros", old.nonzeros, new.nonzeros),
        ("elements", old.elements, new.elements),
        ("dense size, bits", old.dense_size_bits, new.dense_size_bits),
        ("pruned size, bits", old.pruned_size_bits, new.pruned_size_bits),
        ("file size, bytes", old.pruned_file_bytes, new.pruned_file_bytes),
        ("MACs", [layer.macs for layer in old.layers], [layer.macs for layer in new.layers]),
        ("masks", old.masks_digest, new.masks_digest),
    ]
    for what, before, after in figures:
        status = Status.PASS if before == after else Status.FAIL
        yield _verdict(case, what, status, str(before)[:60], str(after)[:60], "exact")


def _accuracy(case: str, old: RunRecord, new: RunRecord) -> Iterator[Verdict]:
    before, after = old.pruned_accuracy, new.pruned_accuracy
    status = Status.PASS if before.predictions_digest == after.predictions_digest else Status.INCONCLUSIVE
    yield _verdict(case, "accuracy pruned, %", status, f"{before.percent:.2f}", f"{after.percent:.2f}", "same predictions")


def _verdict(case: str, check: str, status: Status, expected: str, measured: str, rule: str) -> Verdict:
    shortfall = 1.0 if status is Status.FAIL else 0.0
    return Verdict(
        run=case, check=check, status=status, expected=expected, measured=measured, shortfall=shortfall, rule=rule
    )
