"""The exact tier: integers and digests, where any change is a change.

Shapes, nonzeros, sizes and MACs follow from the model and the run's table alone. Masks and pruned weights follow from
the dense weights too, by one rounding rule and one tie rule on the bits of the weights, so on equal dense weights they
are equal on every machine. Predictions and trained weights are arithmetic: they repeat byte for byte on one machine,
and may differ by rounding elsewhere. A difference on one machine is no fault by itself, so it is never a FAIL: it says
that something in between has changed, and the accuracy tier says whether that matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from prunebench.gate.comparability import (
    MACHINE,
    dense_differences,
    environment_differences,
    training_differences,
)
from prunebench.gate.verdicts import Status, Tier, Verdict
from prunebench.records import RunRecord

RULE = "exact: any change fails"
SHOWN = 3
"""How many of the changed entries a message names."""

Entries = Mapping[str, int | str]


def compare_exact(case: str, baseline: RunRecord, record: RunRecord) -> Iterator[Verdict]:
    """Compare two records exactly: one verdict for each quantity."""
    other_dense = dense_differences(baseline, record)
    for check, unit, before, after in _quantities(baseline, record):
        verdict = exact_verdict(case, record.run, check, unit, before, after)
        by_weights = baseline.dense_nonzeros != record.dense_nonzeros or record.method.allocation is not None
        if verdict.status is Status.FAIL and other_dense and by_weights:
            verdict = _on_other_weights(verdict, other_dense)
        yield verdict
    if not other_dense:
        for check, old, new in (
            ("masks, on equal dense weights", baseline.masks_digest, record.masks_digest),
            ("pruned weights, from equal dense weights", baseline.checkpoints.pruned, record.checkpoints.pruned),
        ):
            yield exact_verdict(
                case, record.run, check, "digest", {"digest": old[:12]}, {"digest": new[:12]}, same=old == new
            )


def compare_packed(case: str, baseline: RunRecord, record: RunRecord) -> Iterator[Verdict]:
    """Compare the bytes of the sparse files of equal weights, packed by equal versions; nothing for others."""
    before, after = baseline.packed, record.packed
    if before is None or after is None or before.versions != after.versions:
        return
    if baseline.checkpoints.pruned == record.checkpoints.pruned:
        sizes = {"pruned": before.pruned}, {"pruned": after.pruned}
        yield exact_verdict(case, record.run, "packed file, of equal weights", "bytes", *sizes)


def compare_repetition(case: str, baseline: RunRecord, record: RunRecord) -> Iterator[Verdict]:
    """Judge whether one machine computed the same bytes twice; nothing for two machines or other dense weights."""
    if environment_differences(baseline, record, MACHINE) or dense_differences(baseline, record):
        return
    digests = dict(_repeated(baseline, record))
    changed = [what for what, (before, after) in digests.items() if before != after]
    yield Verdict(
        case=case,
        run=record.run,
        check="repeats byte for byte",
        tier=Tier.EXACT,
        status=Status.INCONCLUSIVE if changed else Status.PASS,
        expected="equal digests on an equal machine",
        measured=", ".join(f"other {what}" for what in changed) or f"{len(digests)} digests, all equal",
        shortfall=0.0,
        rule="equal input, machine and seed give equal bytes: what lies in between changed, or does not repeat",
        evidence={"digests": len(digests), "changed": ", ".join(changed)},
        smallest_effect="any difference",
    )


def _repeated(baseline: RunRecord, record: RunRecord) -> Iterator[tuple[str, tuple[str, str]]]:
    """Digests that have the same input on both sides."""
    before, after = baseline.checkpoints, record.checkpoints
    answers = baseline.dense_accuracy.predictions_digest, record.dense_accuracy.predictions_digest
    yield "answers of the dense model", answers
    if before.pruned != after.pruned:
        return
    answers = baseline.pruned_accuracy.predictions_digest, record.pruned_accuracy.predictions_digest
    yield "answers of the pruned model", answers
    old, new = baseline.finetuning, record.finetuning
    on_cpu = record.environment.get("device") == "cpu"  # a GPU adds in an order of its own choosing
    if on_cpu and old is not None and new is not None and not training_differences(baseline, record):
        yield "weights of the best epoch", (str(before.best), str(after.best))
        yield "weights of the last epoch", (str(before.last), str(after.last))
        yield "answers of the best epoch", (old.best.predictions_digest, new.best.predictions_digest)
        yield "answers of the last epoch", (old.last.predictions_digest, new.last.predictions_digest)


def changed_nonzeros(case: str, baseline: RunRecord, record: RunRecord) -> Iterator[Verdict]:
    """The verdict on nonzeros if they changed: for two records that differ in the run's table and are else alike."""
    verdict = exact_verdict(case, record.run, "nonzeros", "elements", baseline.nonzeros, record.nonzeros)
    if verdict.status is Status.FAIL:
        yield verdict


def _quantities(baseline: RunRecord, record: RunRecord) -> Iterator[tuple[str, str, Entries, Entries]]:
    yield "nonzeros", "elements", baseline.nonzeros, record.nonzeros
    yield "sparsities", "fractions", _sparsities(baseline), _sparsities(record)
    yield "layer shapes", "elements", _shapes(baseline), _shapes(record)
    yield "multiply-accumulates", "MACs", _macs(baseline), _macs(record)
    yield "elements of all parameters", "elements", {"all": baseline.elements}, {"all": record.elements}
    yield "nominal size", "bits", _bits(baseline), _bits(record)
    yield "file size", "bytes", _bytes(baseline), _bytes(record)


def _sparsities(record: RunRecord) -> Entries:
    return {layer.name: str(layer.sparsity) for layer in record.layers}


def _shapes(record: RunRecord) -> Entries:
    return {layer.name: "x".join(str(length) for length in layer.shape) for layer in record.layers}


def _macs(record: RunRecord) -> Entries:
    return {layer.name: layer.macs for layer in record.layers}


def _bits(record: RunRecord) -> Entries:
    return {"dense": record.dense_size_bits, "pruned": record.pruned_size_bits}


def _bytes(record: RunRecord) -> Entries:
    return {"dense": record.dense_file_bytes, "pruned": record.pruned_file_bytes}


def exact_verdict(
    case: str, run: str, check: str, unit: str, before: Entries, after: Entries, *, same: bool | None = None
) -> Verdict:
    """The verdict on figures by name: any change fails, or what `same` says."""
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    same = not changed if same is None else same
    total_before, total_after = _total(before), _total(after)
    return Verdict(
        case=case,
        run=run,
        check=check,
        tier=Tier.EXACT,
        status=Status.PASS if same else Status.FAIL,
        expected=f"{_figure(total_before)} {unit}" if same else _entries(before, changed),
        measured="the same" if same else _entries(after, changed),
        shortfall=0.0 if same else float(_shortfall(before, after, changed)),
        rule=RULE if same else f"{RULE}; {len(changed) or 1} of {len({**before, **after})} changed",
        hint="if this is what was meant, look at the diff and approve it as the new baseline",
        evidence={"baseline": total_before, "new": total_after, "changed": len(changed), "unit": unit},
        smallest_effect="any difference" if unit == "digest" else f"1 of {unit}",
    )


def _on_other_weights(verdict: Verdict, other_dense: list[str]) -> Verdict:
    """Turn a FAIL into INCOMPARABLE: dense models with other zeros prune to other counts, and nothing is wrong."""
    rule = f"dense models with other zeros: {'; '.join(other_dense)}"
    return replace(verdict, status=Status.INCOMPARABLE, shortfall=0.0, rule=rule)


def _total(entries: Entries) -> int | str:
    numbers = [value for value in entries.values() if isinstance(value, int)]
    return sum(numbers) if len(numbers) == len(entries) else ", ".join(str(value) for value in entries.values())


def _entries(entries: Entries, names: list[str]) -> str:
    shown = [f"{name} {_figure(entries.get(name))}" for name in names[:SHOWN] or entries]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _figure(value: int | str | None) -> str:
    return "absent" if value is None else f"{value:,}" if isinstance(value, int) else value


def _shortfall(before: Entries, after: Entries, changed: list[str]) -> int:
    """The amount of change; bounded, for a damaged record may hold any number."""
    return max(1, min(sum(_distance(before, after, name) for name in changed), 10**12))


def _distance(before: Entries, after: Entries, name: str) -> int:
    old, new = before.get(name, 0), after.get(name, 0)
    return abs(new - old) if isinstance(old, int) and isinstance(new, int) else 1
