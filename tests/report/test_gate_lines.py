"""What a comparison says on a terminal: sentences, commands that can be copied, and what may have gone unseen."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate.scan_documents import make_scan
from record_factory import digest, make_record

from prunebench.documented.floors import Floor
from prunebench.gate import Verdict, check_record, compare_records
from prunebench.records import RunRecord, case_id
from prunebench.report.verdicts import failure_lines, gate_lines
from prunebench.sensitivity import Scan

BASE = make_record()
CASE = case_id(BASE)
ELSEWHERE = {**BASE.environment, "torch": "9.9"}
OTHER_WEIGHTS = BASE.checkpoints.model_copy(update={"dense": digest("other")})
TWICE_AS_SLOW = BASE.timings.model_copy(update={"evaluate": [2 * seconds for seconds in BASE.timings.evaluate]})
TUNED = BASE.finetuning
assert TUNED is not None
ANOTHER_RATE = TUNED.model_copy(update={"settings": {**TUNED.settings, "learning_rate": 0.2}})
RECORDS = {CASE: Path(".prunebench/records/1.json")}


def judged(*new: RunRecord | Scan, old: tuple[RunRecord | Scan, ...] = (BASE,)) -> list[Verdict]:
    return compare_records({case_id(each): each for each in old}, {case_id(each): each for each in new})


def text(verdicts: list[Verdict]) -> str:
    """The summary in one line, as somebody reads it."""
    return " ".join(" ".join(gate_lines(verdicts, records=RECORDS)).split())


APPROVE = f"prunebench baseline approve .prunebench/records --only {CASE}"
SAID = {
    "equal": (judged(BASE), "PASS Nothing got worse. A drop in accuracy of 6.44 points or more would have been found"),
    "less accurate": (
        judged(make_record(wrong=200)),
        f"FAIL {CASE} Accuracy of the pruned model fell by 95.00 points, from 95.00 to 0.00 %: of 200 images, 190 were "
        "right and are wrong now, 0 the other way round. Chance alone would do this less than once in a million times.",
    ),
    "perhaps less accurate": (
        judged(make_record(wrong=14)),
        "That may be chance, or a true drop of up to 5.87 points (99 % sure): too few images to tell.",
    ),
    "bigger": (
        judged(make_record(extra_nonzeros=3)),
        "Number of nonzero weights changed: classifier.weight 20 became 23 elements. Any change fails. "
        f"next: Mend it; if it is meant, commit, run again, and approve it: {APPROVE} --reason '...'",
    ),
    "slower": (
        judged(make_record(timings=TWICE_AS_SLOW)),
        "Evaluation takes 2.00 times as long as before: 0.55 s then, 1.1 s now.",
    ),
    "other masks": (
        judged(make_record(masks_digest=digest("other"))),
        "Masks are not the baseline's, though the dense weights are.",
    ),
    "other data": (
        judged(make_record(data=BASE.data.model_copy(update={"digest": digest("other")}))),
        "This is not the experiment that the baseline is of: data cc6b6bad became d9298a10. next: Undo the difference, "
        f"and run again; if it is meant, commit, run again, and approve it: {APPROVE} --incomparable {CASE}",
    ),
    "other weights": (
        judged(make_record(checkpoints=OTHER_WEIGHTS)),
        "Accuracy was not compared: the dense model is not the baseline's (dense checkpoint d6a98598 became d9298a10).",
    ),
    "another recipe": (
        judged(make_record(finetuning=ANOTHER_RATE)),
        "Accuracy after fine-tuning was not compared: recipe learning_rate ",
    ),
    "new": (judged(BASE, old=()), "Nobody has approved a baseline yet, so there was nothing to compare with."),
    "vanished": (
        judged(),
        "There is a baseline, but nothing was measured this time. next: Run it again; if it is gone for good, remove "
        f"its baseline: prunebench baseline remove --only {CASE}",
    ),
    "another machine": (
        judged(make_record(environment=ELSEWHERE)),
        f"Noted, without a say in the result: {CASE}: Times were not compared: this is another machine (torch 2.0 "
        "became 9.9).",
    ),
    "a floor": (
        check_record(make_record(floors=[Floor(figure="change", least=-0.9, rule="a rule")])),
        "Change of accuracy, best epoch: -1.00 points. Promised: at least -0.90 (a rule). next: A floor is a promise",
    ),
    "fewer points of a scan": (
        judged(make_scan(points=make_scan().points[:-1]), old=(make_scan(),)),
        "is in the baseline, but was not scanned this time.",
    ),
}


@pytest.mark.parametrize(("verdicts", "said"), SAID.values(), ids=SAID)
def test_a_verdict_is_said_in_sentences(verdicts: list[Verdict], said: str) -> None:
    assert said in text(verdicts)


def test_the_worst_comes_first_and_what_decides_nothing_last() -> None:
    found = text(judged(make_record(wrong=200, environment=ELSEWHERE)))
    order = [
        "Worse than the baseline: 1 check failed",
        f"FAIL {CASE}",
        "Noted,",
        "checks passed, 1 case",
        "too few test",
    ]
    assert order == sorted(order, key=found.index)


def test_cases_that_say_the_same_say_it_once() -> None:
    many = [make_record(run=f"a{number}") for number in range(6)]
    found = text(judged(*many, old=()))
    assert 1 == found.count("Nobody has approved")
    assert "NO_BASELINE digits/a0-quick, digits/a1-quick, digits/a2-quick and 3 more" in found
    assert f"--only {','.join(map(case_id, many))} " in found
    assert "0 of 6 checks passed, 6 cases. The others: 6 NO_BASELINE." in found


def test_of_many_findings_with_one_next_step_a_few_are_shown() -> None:
    scan = make_scan()
    fewer = judged(make_scan(points=[]), old=(scan,))
    missing = len(scan.points)
    shown = [line for line in gate_lines(fewer) if "was not scanned" in " ".join(line.split())]
    assert len(shown) < missing
    assert f"... and {missing - 6} more" in text(fewer)


def test_accuracy_that_was_not_compared_is_named_and_none_is_where_there_is_none() -> None:
    assert f"Accuracy was not compared in {CASE}." in text(judged(make_record(checkpoints=OTHER_WEIGHTS)))
    assert "ccuracy was not compared" not in text(judged(BASE))
    assert "ccuracy" not in text(judged(BASE, old=()))


@pytest.mark.parametrize(("asked", "width"), [(40, 60), (80, 80), (100, 100), (300, 120)])
def test_lines_are_as_wide_as_the_terminal_and_commands_stay_whole(
    asked: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(asked))
    lines = gate_lines(judged(make_record(wrong=200)), records=RECORDS)
    commands = [line.strip() for line in lines if line.startswith("    prunebench")]
    assert [f"{APPROVE} --reason '...'"] == commands
    assert width - 16 < max(len(line) for line in lines if not line.startswith("    ")) <= width


def test_statuses_alone_are_coloured() -> None:
    lines = gate_lines(judged(make_record(wrong=200)), paint=lambda word, colour: f"<{colour} {word}>")
    assert "<red FAIL>  Worse than the baseline: 1 check failed in digits/tiny-quick." == lines[0]
    assert ["<red FAIL>", "<red FAIL>", "<yellow INCONCLUSIVE>"] == [
        line.partition("  ")[0] for line in lines if line.startswith("<")
    ]


def test_a_failing_test_names_its_record_before_the_command() -> None:
    lines = failure_lines([each for each in judged(make_record(extra_nonzeros=3)) if each.status == "FAIL"], RECORDS)
    assert [
        f"FAIL  {CASE}",
        "record: .prunebench/records/1.json",
        "  next: Mend it; if it is meant, commit, run again, and approve it:",
        f"    {APPROVE} --reason '...'",
    ] == [line for line in lines if not line.startswith("  ") or "next" in line or line.startswith("    ")]
