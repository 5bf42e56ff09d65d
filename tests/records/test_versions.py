"""`compare --across`: a change planted into one version's convolution is named, equal versions are silent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from record_factory import accuracy, make_record
from small_project import DATA, call, invoke
from torch import Tensor, nn

from prunebench.baselines.collected import Collected
from prunebench.baselines.versions import SAME, AcrossVersions, compare_versions, read_versions
from prunebench.errors import RecordError
from prunebench.gate import Status, Thresholds
from prunebench.records import FailedRun, RunRecord, keep_record
from prunebench.report.versions import versions_table

NET = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
"""
TOML = """
[workload.mine]
model = "versions_net:build"
data = "small_data:load"
[workload.mine.recipe.dense]
epochs = 2
learning_rate = 0.1
[workload.mine.recipe.ci]
epochs = 1
learning_rate = 0.01
[run.half]
workload = "mine"
sparsity = 0.5
"""
CASE = "digits/tiny-quick"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(version: str = "2.9.1", **changes: Any) -> RunRecord:
    return make_record(environment={**make_record().environment, "torch": f"{version}+cpu"}, **changes)


def across(*records: RunRecord, **others: Any) -> AcrossVersions:
    versions = {f"v{number}": Collected(records={CASE: each}) for number, each in enumerate(records)}
    return compare_versions(versions | others, thresholds=Thresholds())


def differing(found: AcrossVersions) -> dict[str, list[str]]:
    return {row.thing: list(row.cells) for row in found.rows if not row.is_same}


@pytest.mark.usefixtures("one_thread", "own_cache")
def test_a_rounding_change_planted_into_one_versions_convolution_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"versions_net.py": NET, "small_data.py": DATA, "prunebench.toml": TOML}.items():
        Path(name).write_text(text)
    forward: Callable[[nn.Conv2d, Tensor], Tensor] = nn.Conv2d.forward

    def rounded(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
        return forward(layer, inputs).mul(4).round().div(4)

    for version, computes in (("2.9.1", forward), ("2.11.0", forward), ("2.13.0", rounded)):
        monkeypatch.setattr(torch, "__version__", version)
        with monkeypatch.context() as patched:
            if version != "2.9.1":  # one dense model for all
                patched.setattr(nn.Conv2d, "forward", computes)
            Path(version).mkdir()
            invoke("run", "half", "--json", f"{version}/record.json")

    silent = call("compare", "--across", "2.9.1", "2.11.0")
    assert "9 of 9 rows are the same in every version" in silent.output
    assert 0 == silent.exit_code, silent.output

    found = compare_versions(read_versions([Path("2.9.1"), Path("2.11.0"), Path("2.13.0")]), thresholds=Thresholds())
    named = differing(found)
    assert {"dense, right", "pruned, right", "last loss"} <= {*named} <= {*named, "tuned, right"}
    assert not {"masks", "weights", "nonzeros", "size, bytes"} & {*named}  # what arithmetic has no part in
    assert all(cells[1] == SAME != cells[2] for cells in named.values())


def test_equal_versions_are_silent() -> None:
    assert not differing(found := across(record(), record(), record()))
    assert {Status.PASS} == {each.status for each in found.verdicts if not each.advisory}


def test_an_exact_difference_fails_in_its_own_column_alone() -> None:
    found = across(record(), record(), record(extra_nonzeros=1))
    assert {"nonzeros": ["84", SAME, "85"], "size, bytes": ["336", SAME, "340"]} == differing(found)
    assert {(None, Status.PASS, Status.FAIL)} == {tuple(row.statuses) for row in found.rows if not row.is_same}


def test_lost_and_gained_answers_stand_beside_the_count() -> None:
    gained = accuracy(10).model_copy(update={"correct_bits": accuracy(10).correct_bits})
    found = across(record(pruned_accuracy=gained), record(wrong=60), record(wrong=8))
    assert {"pruned, right": ["190", "140 (-50 +0)", "192 (-0 +2)"]} == differing(found)


def test_holm_goes_over_all_versions() -> None:
    (verdict,) = [v for v in across(record(), record(wrong=17)).verdicts if v.check == "accuracy of the pruned model"]
    alone = verdict.evidence["p_holm"]
    others = [record(wrong=11 + number) for number in range(6)]
    checked = across(record(), record(wrong=17), *others).verdicts
    together = [v.evidence["p_holm"] for v in checked if v.check == verdict.check and v.case.endswith("@ v1")]
    assert isinstance(alone, float)
    assert [True] == [isinstance(p, float) and p > alone for p in together]


def test_a_version_without_a_case_or_with_a_failed_run_is_no_pass() -> None:
    missing = across(record(), v1=Collected(records={}, is_folder=True))
    assert {Status.INCOMPARABLE} == {each.status for each in missing.verdicts}
    assert ["-"] == list({row.cells[1] for row in missing.rows})
    failed = across(record(), v1=Collected(unusable={CASE: "its newest run failed"}))
    assert ["record: its newest run failed"] == [each.measured for each in failed.verdicts]


def test_columns_are_named_by_torch_and_else_by_path() -> None:
    for version in ("2.9.1", "2.11.0"):
        keep_record(record(version), Path(f"records/{version}"))
    keep_record(record("2.9.1"), Path("again"))
    paths = [Path("records/2.9.1"), Path("records/2.11.0")]
    assert ["2.9.1", "2.11.0"] == list(read_versions(paths))
    assert ["2.9.1", "again"] == list(read_versions([paths[0], Path("again")]))
    for wrong in ([], paths[:1], [paths[0], paths[0]]):
        with pytest.raises(RecordError, match="two or more different paths"):
            read_versions(wrong)


def test_more_versions_than_fit_go_on_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = str(versions_table(across(record(), *(record(wrong=60) for _ in range(9)))))
    assert max(map(len, table.splitlines())) <= 80
    assert 10 == sum(f"v{number}" in table for number in range(10))
    assert 2 <= table.count("tiny-quick masks")


def test_commands_write_the_table_and_exit_as_compare_does() -> None:
    for version, changes in {"2.9.1": {}, "2.11.0": {}, "2.13.0": {"extra_nonzeros": 1}}.items():
        keep_record(record(version, **changes), Path(version))
    assert 0 == call("compare", "--across", "2.9.1", "2.11.0").exit_code
    result = call(
        "compare", "--across", *(every := ["2.9.1", "2.11.0", "2.13.0"]), "--json", "c.json", "--markdown", "c.md"
    )
    assert 1 == result.exit_code
    assert "approve" not in result.output
    content = json.loads(Path("c.json").read_text())
    assert (1, every) == (content["exit_code"], content["across"]["versions"])
    assert "| tiny-quick nonzeros | 84 | &#61; | 85 FAIL |" in Path("c.md").read_text()
    assert 0 == call("report", "--across", *every, "-o", "page.html").exit_code
    assert "tiny-quick nonzeros" in Path("page.html").read_text()
    assert 0 == call("history", *every, "--json", "h.json").exit_code
    assert 3 == len(json.loads(Path("h.json").read_text())["across"]["versions"])
    keep_record(FailedRun(created="2026-02-02", case=CASE, error="no", revision=None, dirty=None), Path("2.11.0"))
    assert 2 == call("compare", "--across", "2.9.1", "2.11.0").exit_code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compare", "a", "b", "c"), "add --across"),
        (("compare", "--across", "a"), "two or more"),
        (("report", "--across", "a", "b", "--against", "c", "-o", "p.html"), "no --against"),
    ],
)
def test_misuse_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    result = call(*arguments)
    assert (2, 1) == (result.exit_code, len(result.stderr.splitlines()))
    assert said in result.stderr
