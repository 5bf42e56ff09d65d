"""Baseline files: one a case, in its place, unchanged since it was approved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from gate.scan_documents import make_scan
from record_factory import make_baseline, make_record

from prunebench.baselines.collected import collect
from prunebench.baselines.shelf import list_baselines, read_baseline, write_baseline
from prunebench.documented.method import Method
from prunebench.documented.runs import DocumentedRun, run_digest
from prunebench.errors import RecordError
from prunebench.records import Record, case_id, chosen_cases, family, in_families, name_case
from prunebench.storage.documents import render


def test_what_was_written_is_read(tmp_path: Path) -> None:
    baseline = make_baseline()
    path = write_baseline(baseline, tmp_path)
    assert tmp_path / "digits" / "tiny-quick.json" == path
    assert baseline == read_baseline(path)
    assert baseline.digest == json.loads(path.read_text())["digest"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"reason": "first"', '"reason": "other"'),
        ('"correct": 190', '"correct": 189'),
        ('"by": "Somebody', '"by": "Nobody'),
        ('"dirty": false', '"dirty": null'),
    ],
)
def test_a_baseline_edited_by_hand_is_refused_by_name(tmp_path: Path, old: str, new: str) -> None:
    path = write_baseline(make_baseline(), tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(RecordError, match="was edited or damaged") as caught:
        read_baseline(path)
    assert str(path) in str(caught.value)
    assert "digits/tiny-quick" in collect(tmp_path).unusable


def test_a_baseline_of_another_case_is_refused(tmp_path: Path) -> None:
    path = write_baseline(make_baseline(), tmp_path)
    copy = path.with_name("other-quick.json")
    shutil.copy(path, copy)
    with pytest.raises(RecordError, match="holds the baseline of digits/tiny-quick"):
        read_baseline(copy)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    content = {**make_baseline().model_dump(mode="json"), "schema_version": 2}
    path = tmp_path / "digits" / "tiny-quick.json"
    path.parent.mkdir()
    path.write_text(render(content))
    with pytest.raises(RecordError, match="schema version 2, this prunebench reads up to 1"):
        read_baseline(path)


def test_the_case_names_what_departs_from_the_defaults() -> None:
    assert case_id(make_record()) == "digits/tiny-quick"
    assert case_id(make_record(seed=3, precision="bf16", finetuning=None)) == "digits/tiny-quick-seed3-bf16-oneshot"
    assert name_case(workload="w", run="r", recipe="full", select_on="validation") == "w/r-full-validation"


def test_a_sparsity_of_zero_is_one_sparsity_however_it_is_written() -> None:
    digests = {run_digest(DocumentedRun(name="r", sparsity={"w": zero}, source="")) for zero in (0, 0.0, -0.0)}
    assert 1 == len(digests)


def test_any_name_makes_a_path_inside_the_folder(tmp_path: Path) -> None:
    record = make_record(run="../../x y", workload="..")
    path = write_baseline(make_baseline(record), tmp_path / "baselines")
    assert tmp_path / "baselines" == path.parent.parent
    assert record == read_baseline(path).record


def test_a_family_is_one_workload_and_recipe(tmp_path: Path) -> None:
    for record in (
        make_record(),
        make_record(run="b", seed=1),
        make_record(recipe="full"),
        make_record(workload="cifar10"),
    ):
        write_baseline(make_baseline(record), tmp_path)
    assert ["digits/b-quick-seed1", "digits/tiny-quick"] == in_families(
        list_baselines(tmp_path), [family(make_record())]
    )
    long = name_case(workload="signs", run="half", recipe="long-ci")
    assert name_case(workload="signs", run="half-long", recipe="ci") != long
    assert 4 == len(list_baselines(tmp_path))


@pytest.mark.parametrize(
    ("method", "case"),
    [
        (Method(), "digits/tiny-quick"),
        (Method(granularity="channel"), "digits/tiny-quick~channel"),
        (Method(criterion="taylor", granularity="2:4"), "digits/tiny-quick~taylor~2%3A4"),
        (Method(pruning_schedule="learning-rate-rewinding"), "digits/tiny-quick~learning-rate-rewinding"),
        (Method(granularity="mine~x:Rows", recalibrated=True), "digits/tiny-quick~mine%7Ex%3ARows~recalibrated"),
    ],
)
def test_a_method_is_in_the_id_of_a_case_and_no_other_name_makes_it(method: Method, case: str) -> None:
    assert case == name_case(workload="digits", run="tiny", recipe="quick", method=method)
    assert [case] == in_families([case], [family(make_record())])
    name = case.removeprefix("digits/tiny-quick")
    for run, recipe in ((f"tiny-quick{name}", "quick"), ("tiny", f"quick{name}")):
        other = name_case(workload="digits", run=run, recipe=recipe)
        assert name == "" or other != case


@pytest.mark.parametrize(
    ("case", "record", "is_in"),
    [
        ("digits/quickly-full", make_record(), False),
        ("digits/lamp-full-quick", make_record(recipe="full"), False),
        ("digits/lamp-full-quick-seed1-bf16-validation", make_record(), True),
        ("digits/scan-vgg-400-kept29-bf16-adaptive", make_scan(images=400), True),
        ("digits/scan-net-400-600", make_scan(images=400), False),
        ("digits/scan-net-400", make_record(recipe="400"), False),
        ("digits/half-400", make_scan(images=400), False),
        ("signs/half-ci", make_record(workload="signs", recipe="ci"), True),
        ("signs/half-ci~2%3A4-seed1", make_record(workload="signs", recipe="ci"), True),
        ("signs/half-ci~taylor~block4x1", make_record(workload="signs", recipe="ci"), True),
        ("signs/half-ci~my-rows-oneshot", make_record(workload="signs", recipe="ci"), True),
        ("signs/half-ci-quick~my", make_record(workload="signs", recipe="ci"), False),
        ("signs/half-ci-my", make_record(workload="signs", recipe="ci"), False),
        ("signs/half-long%2Dci", make_record(workload="signs", recipe="long-ci"), True),
        ("signs/half-long%2Dci", make_record(workload="signs", recipe="ci"), False),
    ],
)
def test_a_case_is_in_the_family_of_a_record(case: str, record: Record, is_in: bool) -> None:
    assert is_in == (case in in_families([case], [family(record)]))


def test_cases_are_chosen_in_full_or_by_their_end() -> None:
    known = ["digits/run3-quick", "cifar10/run3-quick", "digits/run4-quick"]
    assert ["digits/run4-quick", "digits/run3-quick"] == chosen_cases(["run4-quick", "digits/run3-quick"], known)
    for unclear in ("run3-quick", "run9"):
        with pytest.raises(Exception, match="unknown case"):
            chosen_cases([unclear], known)
