"""Checks of a record without a baseline: exact sizes, and the floors that it promises."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from prunebench.documented.floors import Figure, Floor
from prunebench.documented.method import ELEMENT
from prunebench.documented.runs import is_documented_run
from prunebench.gate.deployment import check_deployed, check_latency_floor
from prunebench.gate.verdicts import Status, Tier, Verdict, stated
from prunebench.pruning import granularity_names, known_granularity
from prunebench.records import RunRecord, case_id

FIGURES: Mapping[Figure, str] = MappingProxyType(
    {
        "accuracy_dense": "dense accuracy, %",
        "accuracy_before": "accuracy before fine-tuning, %",
        "accuracy_best": "accuracy after fine-tuning, best epoch, %",
        "change": "change of accuracy, best epoch, points",
        "size_percent": "size, % of dense",
        "size_mib": "size, MiB",
        "file_mib": "packed file, MiB",
        "latency_ratio": "latency, times as fast as dense",
    }
)
"""What floors limit, as verdicts call it."""

SIZES: tuple[Figure, ...] = ("size_percent", "size_mib", "file_mib")

LOOK_AT_SIZES = "look closer with 'prunebench lint {}' and 'prunebench run {} --no-finetune'"
LOOK_AT_EPOCHS = "look closer with 'prunebench run {}', which prints every epoch"


def check_record(record: RunRecord) -> list[Verdict]:
    """Everything that can be checked without a baseline."""
    return [*check_sizes(record), *check_floors(record), *check_deployed(record)]


def check_sizes(record: RunRecord) -> Iterator[Verdict]:
    """Nonzeros of every layer and in total, exactly what its sparsities leave of the dense model.

    By another granularity than element, biases and batch norms are pruned too, and a zero of the dense model may be in
    a unit that is kept: then layers are checked that had no zeros.
    """
    hint = _hint(record, LOOK_AT_SIZES)
    if (units := known_granularity(record.method.granularity)) is None:
        yield stated(
            case_id(record), record.run, "nonzeros", Status.INCOMPARABLE, "nonzeros by a known granularity",
            record.method.granularity, rule=f"the granularities known here are {', '.join(granularity_names())}",
        )  # fmt: skip
        return
    expected = dict(record.dense_nonzeros)
    by_element = record.method.granularity == ELEMENT
    for layer in record.layers:
        if not by_element and expected[layer.name] < layer.numel:
            continue
        kept = layer.numel - units.pruned_elements(layer.shape, layer.sparsity, name=layer.name)
        expected[layer.name] = min(kept, expected[layer.name])  # a zero of the dense model is pruned first
        yield _exact(record, f"nonzeros of {layer.name}", expected[layer.name], layer.nonzeros, hint)
    if not by_element:
        return
    yield _exact(record, "nonzeros of all parameters", sum(expected.values()), sum(record.nonzeros.values()), hint)


def check_floors(record: RunRecord, figures: Collection[Figure] = tuple(FIGURES)) -> Iterator[Verdict]:
    """Each floor on one of `figures` that was measured; those of sizes first."""
    for floor in sorted(record.floors, key=lambda floor: floor.figure not in SIZES):
        if floor.figure == "latency_ratio":
            if floor.figure in figures and floor.least is not None:
                yield check_latency_floor(record, floor.least, floor.rule)
        elif floor.figure in figures and (measured := record.figure(floor.figure)) is not None:
            yield _floor(record, floor, measured)
        elif floor.figure == "file_mib" and floor.figure in figures:
            yield _unpacked(record, floor)


def _unpacked(record: RunRecord, floor: Floor) -> Verdict:
    return stated(
        case_id(record), record.run, FIGURES["file_mib"], Status.INCOMPARABLE, f"at most {floor.most}", "not measured",
        rule=f"{floor.rule}; it is measured where prunebench[pack] is installed", tier=Tier.FLOOR,
    )  # fmt: skip


def _floor(record: RunRecord, floor: Floor, measured: float) -> Verdict:
    size = floor.figure in SIZES
    missed = max(
        -math.inf if floor.least is None else floor.least - measured,
        -math.inf if floor.most is None else measured - floor.most,
    )
    limits = []
    if floor.least is not None:
        limits.append(f"at least {floor.least:.{4 if size else 2}f}")
    if floor.most is not None:
        limits.append(f"at most {floor.most:.{4 if size else 2}f}")
    rule, zeros = floor.rule, record.elements - sum(record.dense_nonzeros.values())
    if size and zeros:
        rule += f"; the dense checkpoint has {zeros:,} zeros of its own"
    return Verdict(
        run=record.run,
        case=case_id(record),
        check=FIGURES[floor.figure],
        status=Status.PASS if missed <= 0 else Status.FAIL,
        expected=", ".join(limits),
        measured=f"{measured:.{4 if size else 2}f}",
        shortfall=missed,
        rule=rule,
        hint=_hint(record, LOOK_AT_SIZES if size else LOOK_AT_EPOCHS),
        evidence={"least": floor.least, "most": floor.most, "measured": measured},
        smallest_effect="anything outside the limit",
    )


def _hint(record: RunRecord, text: str) -> str:
    """Fill a hint with the name of a documented run; any other is named as its user did, by a file or a name in one."""
    if is_documented_run(record.run, record.run_digest):
        return text.replace("{}", record.run)
    return text.replace("prunebench lint {}", "prunebench check").replace("{}", "RUN")


def _exact(record: RunRecord, check: str, expected: int, measured: int, hint: str) -> Verdict:
    return Verdict(
        run=record.run,
        case=case_id(record),
        check=check,
        status=Status.PASS if measured == expected else Status.FAIL,
        expected=f"{expected:,}",
        measured=f"{measured:,}",
        shortfall=abs(measured - expected) or -math.inf,
        rule="exact" if measured == expected else f"exact, off by {measured - expected:+,}",
        hint=hint,
        evidence={"expected": expected, "measured": measured},
        smallest_effect="1 element",
    )
