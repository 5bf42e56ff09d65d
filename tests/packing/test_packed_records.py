"""Packed bytes in a record: exact on equal weights, a floor where one is promised, and never a silent pass."""

from __future__ import annotations

from typing import Any

import pytest
from record_factory import digest, make_record

from prunebench.documented.floors import Floor
from prunebench.gate import Status, check_record, compare_records
from prunebench.records import Checkpoints, Packed, RunRecord, case_id

VERSIONS = {"constriction": "1", "zstandard": "1"}
CHECK = "packed file, of equal weights"


def packed(pruned: int, best: int | None = None, **versions: str) -> Packed:
    return Packed(pruned=pruned, best=best, versions=VERSIONS | versions)


def compared(before: RunRecord, after: RunRecord) -> list[tuple[str, Status]]:
    verdicts = compare_records({case_id(before): before}, {case_id(after): after})
    return [(verdict.check, verdict.status) for verdict in verdicts if verdict.check == CHECK]


def test_equal_weights_take_equal_bytes() -> None:
    before = make_record(packed=packed(1000))
    assert [(CHECK, Status.PASS)] == compared(before, make_record(packed=packed(1000)))
    assert [(CHECK, Status.FAIL)] == compared(before, make_record(packed=packed(1001)))


def test_other_weights_other_libraries_and_none_are_not_compared() -> None:
    before = make_record(packed=packed(1000))
    assert [] == compared(before, make_record(packed=packed(1001, zstandard="2")))
    assert [] == compared(before, make_record())
    own: Any = make_record().checkpoints.model_dump() | {"pruned": digest("other")}
    assert [] == compared(before, make_record(packed=packed(1001), checkpoints=Checkpoints(**own)))


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (packed(9 * 2**20), Status.PASS),
        (packed(9 * 2**20 + 1), Status.FAIL),
        (packed(2**30, best=9 * 2**20), Status.PASS),
        (None, Status.INCOMPARABLE),
    ],
)
def test_a_floor_is_on_the_file_that_is_kept(found: Packed | None, status: Status) -> None:
    record = make_record(packed=found, floors=[Floor(figure="file_mib", most=9.0, rule="promised")])
    (verdict,) = [verdict for verdict in check_record(record) if verdict.check == "packed file, MiB"]
    assert status == verdict.status
