"""The shrunk and the exported model answer as the masked one; latency ratios keep floors; doubt never fails."""

from __future__ import annotations

from typing import Any

import pytest
from record_factory import IMAGES, accuracy, digest, make_record

from prunebench.documented.floors import Floor
from prunebench.errors import RecordError
from prunebench.gate import Status, Tier, check_record, compare_records
from prunebench.records import Accuracy, ExportedModel, LatencyRatio, RunRecord, ShrunkModel, case_id
from prunebench.report.sentences import findings, headline

LATENCY = "latency in eager, times as fast as dense"
KEPT = make_record().kept_accuracy


def shrunk(*, answers: Accuracy = KEPT, difference: float = 1e-6, elements: int = 100, macs: int = 50) -> ShrunkModel:
    return ShrunkModel(elements=elements, macs=macs, file_bytes=400, answers=answers, difference=difference)


def latency(ratio: float, *, half: float = 0.05, runtime: str = "eager") -> LatencyRatio:
    return LatencyRatio(runtime=runtime, threads=1, ratio=ratio, lower=ratio - half, upper=ratio + half, launches=12)


def statuses(record: RunRecord, name: str) -> list[Status]:
    return [verdict.status for verdict in check_record(record) if name in verdict.check]


def compared(before: RunRecord, after: RunRecord, name: str) -> list[tuple[Status, bool]]:
    verdicts = compare_records({case_id(before): before}, {case_id(after): after})
    return [(verdict.status, verdict.advisory) for verdict in verdicts if name in verdict.check]


def test_a_shrunk_model_that_answers_the_same_passes() -> None:
    assert [Status.PASS] * 2 == statuses(make_record(shrunk=shrunk()), "the shrunk model")


@pytest.mark.parametrize("difference", [0.0, 1e-6, 2e-4])
def test_a_shortfall_above_0_is_a_fail(difference: float) -> None:
    verdicts = check_record(make_record(shrunk=shrunk(difference=difference)))
    assert {True: Status.FAIL, False: Status.PASS}[difference > 1e-4] is verdicts[-2].status
    assert all((each.shortfall > 0) == (each.status is Status.FAIL) for each in verdicts)


def test_an_exported_model_goes_by_its_runtime() -> None:
    exported = ExportedModel(format="onnx", runtime="ONNX Runtime 1", file_bytes=1, answers=KEPT, difference=1e-6)
    assert [Status.PASS] * 2 == statuses(make_record(exported=exported), "of the model in ONNX Runtime 1")


def test_outputs_further_apart_than_rounding_fail() -> None:
    assert [Status.FAIL, Status.PASS] == statuses(make_record(shrunk=shrunk(difference=2e-4)), "the shrunk model")


def test_wrong_answers_of_a_shrunk_or_an_exported_model_fail_and_say_what_to_do() -> None:
    worse = accuracy(wrong=IMAGES // 2)
    exported = ExportedModel(format="onnx", runtime="ONNX Runtime 1", file_bytes=1, answers=worse, difference=1e-6)
    for changes in ({"shrunk": shrunk(answers=worse)}, {"exported": exported}):
        verdicts = [each for each in check_record(make_record(**changes)) if each.status is Status.FAIL]
        assert [Tier.FLOOR] == [verdict.tier for verdict in verdicts]
        (found,) = findings(verdicts)
        assert "Mend what makes the file: the weights are the same, and the answers have to be." == found.next_step
        assert headline(verdicts).text.startswith("Not as promised")


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (latency(1.40), Status.PASS),
        (latency(1.32), Status.INCONCLUSIVE),
        (latency(1.20), Status.FAIL),
        (None, Status.INCOMPARABLE),
    ],
)
def test_the_whole_interval_decides_on_a_floor(found: LatencyRatio | None, status: Status) -> None:
    floors = [Floor(figure="latency_ratio", least=1.3, rule="promised")]
    record = make_record(latency=found, floors=floors)
    assert [status] == statuses(record, "times as fast as dense")
    assert {case_id(record)} == {verdict.case for verdict in check_record(record)}


def test_equal_weights_shrink_to_equal_sizes() -> None:
    before = make_record(shrunk=shrunk())
    assert [(Status.PASS, False)] * 2 == compared(before, before, "of the shrunk model")
    after = make_record(shrunk=shrunk(elements=99))
    assert [(Status.FAIL, False), (Status.PASS, False)] == compared(before, after, "of the shrunk model")


@pytest.mark.parametrize(("macs", "status"), [(49, Status.PASS), (51, Status.FAIL)])
def test_other_weights_may_shrink_further_but_not_less(macs: int, status: Status) -> None:
    own: Any = make_record().checkpoints.model_dump() | {"best": digest("other"), "last": digest("other")}
    after = make_record(shrunk=shrunk(macs=macs), checkpoints=own)
    assert [(status, False)] == compared(make_record(shrunk=shrunk()), after, "MACs of the shrunk model")


@pytest.mark.parametrize(
    ("after", "status"), [(1.52, Status.PASS), (1.44, Status.PASS), (1.30, Status.FAIL), (1.90, Status.IMPROVED)]
)
def test_a_lost_speed_up_fails_where_the_intervals_do_not_touch(after: float, status: Status) -> None:
    before = make_record(latency=latency(1.5))
    assert [(status, False)] == compared(before, make_record(latency=latency(after)), LATENCY)


def test_another_machine_or_runtime_decides_nothing() -> None:
    before = make_record(latency=latency(1.5))
    elsewhere = make_record(latency=latency(1.0), environment=before.environment | {"cpu": "another"})
    assert [(Status.INCOMPARABLE, True)] == compared(before, elsewhere, LATENCY)
    other = make_record(latency=latency(1.0, runtime="onnx"))
    assert [(Status.INCOMPARABLE, True)] == compared(before, other, "latency in onnx")


def test_what_is_no_longer_measured_is_no_pass() -> None:
    before = make_record(shrunk=shrunk(), latency=latency(1.5))
    assert [(Status.INCOMPARABLE, False)] == compared(before, make_record(latency=latency(1.5)), "shrunk model")
    assert [(Status.INCOMPARABLE, False)] == compared(before, make_record(shrunk=shrunk()), "latency")


@pytest.mark.parametrize(
    "changes",
    [
        {"shrunk": shrunk(elements=10**9)},
        {"latency": LatencyRatio(runtime="eager", threads=1, ratio=2, lower=1, upper=1.5, launches=12)},
    ],
)
def test_a_record_that_contradicts_itself_cannot_be_built(changes: Any) -> None:
    with pytest.raises(RecordError, match=r"the shrunk model has|outside its interval"):
        make_record(**changes)
