"""What becomes a baseline, and what is refused."""

from __future__ import annotations

import dataclasses
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from record_factory import IMAGES, accuracy, digest, make_baseline, make_record

from prunebench.baselines import approval
from prunebench.baselines.approval import approve, chosen_records, remove_baselines, superseded
from prunebench.baselines.collected import collect
from prunebench.baselines.shelf import Baseline, list_baselines, read_baseline, write_baseline
from prunebench.documented.runs import RUNS
from prunebench.errors import ApprovalError, RecordError
from prunebench.gate import Status, Verdict
from prunebench.records import FailedRun, RunRecord, case_id, keep_record
from prunebench.storage.revisions import provenance


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit, and nobody's own git settings."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "config", "user.name", "An Approver")
    git(folder, "config", "user.email", "approver@example.org")
    (folder / "code.py").write_text("a = 1\n")
    git(folder, "add", "code.py")
    git(folder, "commit", "-qm", "code")
    return folder


def approve_one(repository: Path, record: RunRecord, **options: object) -> None:
    options = {"reason": "a reason", **options}
    approve({case_id(record): record}, repository / "baselines", **options)  # type: ignore[arg-type]


def standing(repository: Path, case: str = "digits/tiny-quick") -> Baseline:
    return read_baseline(repository / "baselines" / f"{case}.json")


def test_an_approval_says_who_when_why_and_what_it_replaced(repository: Path) -> None:
    now = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
    approve_one(repository, make_record(), reason=" first ", now=now)
    first = standing(repository)
    assert ("An Approver <approver@example.org>", "2026-05-06T07:08:09+00:00", "first", None) == (
        first.approval.by,
        first.approval.at,
        first.approval.reason,
        first.approval.replaced,
    )
    approve_one(repository, make_record(wrong=12), reason="second")
    assert first.digest == standing(repository).approval.replaced


def test_a_worse_record_may_be_approved_for_a_reason(repository: Path) -> None:
    approve_one(repository, make_record())
    approve_one(repository, make_record(wrong=50))
    assert 50 == 200 - standing(repository).record.pruned_accuracy.correct


def test_a_changed_working_tree_is_refused(repository: Path) -> None:
    (repository / "code.py").write_text("a = 2\n")
    with pytest.raises(ApprovalError, match=r"working tree is dirty \(code.py\)"):
        approve_one(repository, make_record())
    assert {} == list_baselines(repository / "baselines")


def test_a_tree_that_git_does_not_tell_of_is_not_called_clean(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a folder that belongs to somebody else, which is usual in containers."""
    broken = repository / "bin"
    broken.mkdir()
    (broken / "git").write_text('#!/bin/sh\ncase "$*" in *status*) exit 128;; *) echo Somebody;; esac\n')
    (broken / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(broken), prepend=":")
    with pytest.raises(ApprovalError, match="git cannot tell whether the working tree is clean"):
        approve_one(repository, make_record())
    monkeypatch.chdir(repository)
    assert {"revision": "Somebody", "dirty": None} == {key: provenance()[key] for key in ("revision", "dirty")}


def test_changed_baselines_do_not_make_the_tree_dirty(repository: Path) -> None:
    approve_one(repository, make_record())
    git(repository, "add", "baselines/digits")
    git(repository, "commit", "-qm", "baseline")
    approve_one(repository, make_record(wrong=11))
    approve_one(repository, make_record(wrong=12))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (make_record(dirty=True), "made from a dirty tree"),
        (make_record(prunebench_revision=f"{'0' * 40}-dirty"), "made by a changed prunebench"),
        (make_record(extra_nonzeros=1), "below its floor: nonzeros of classifier.weight"),
        (make_record(run="run3"), "not those of the documented run3"),
    ],
)
def test_a_record_that_is_no_baseline_is_refused(repository: Path, record: RunRecord, message: str) -> None:
    with pytest.raises(ApprovalError, match=message):
        approve_one(repository, record)
    assert {} == list_baselines(repository / "baselines")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dense_size_bits": 0}, "contradicts itself: dense size is 0 bits"),
        ({"pruned_accuracy": accuracy(10, IMAGES - 1)}, "contradicts itself: pruned accuracy is over 199"),
        ({"nonzeros": {}}, "contradicts itself: pruned size is 2,688 bits"),
        (
            {"pruned_accuracy": accuracy().model_copy(update={"correct": 200})},
            "190 images are right, the record says 200",
        ),
    ],
)
def test_a_copy_that_contradicts_itself_is_refused(repository: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        approve_one(repository, make_record().model_copy(update=changes))
    assert {} == list_baselines(repository / "baselines")


def test_a_record_below_an_accuracy_floor_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = Verdict(
        run="tiny",
        check="accuracy",
        status=Status.FAIL,
        expected="at least 99",
        measured="95",
        shortfall=4,
        rule="floor",
    )
    monkeypatch.setattr(approval, "check_record", lambda record: [verdict])
    with pytest.raises(ApprovalError, match="below its floor: accuracy: 95, expected at least 99"):
        approve_one(repository, make_record())


def test_one_that_is_incomparable_with_its_baseline_has_to_be_named(repository: Path) -> None:
    approve_one(repository, make_record())
    old = make_record()
    other = make_record(data=old.data.model_copy(update={"digest": digest("other data")}))
    with pytest.raises(ApprovalError, match="is INCOMPARABLE with the baseline"):
        approve_one(repository, other)
    approve_one(repository, other, incomparable=["digits/tiny-quick"])
    assert other == standing(repository).record


def test_an_edited_baseline_is_not_replaced(repository: Path) -> None:
    approve_one(repository, make_record())
    path = repository / "baselines" / "digits" / "tiny-quick.json"
    path.write_text(path.read_text().replace("a reason", "another reason"))
    with pytest.raises(RecordError, match="was edited"):
        approve_one(repository, make_record(wrong=11))


def test_all_are_approved_or_none(repository: Path) -> None:
    good, bad = make_record(run="good"), make_record(run="bad", dirty=True)
    with pytest.raises(ApprovalError, match="digits/bad-quick is not approved"):
        approve({case_id(r): r for r in (good, bad)}, repository / "baselines", reason="both")
    assert {} == list_baselines(repository / "baselines")


def test_a_record_under_the_name_of_another_case_is_refused(repository: Path) -> None:
    with pytest.raises(ApprovalError, match="the record is of digits/tiny-quick"):
        approve({"digits/other-quick": make_record()}, repository / "baselines", reason="wrong")


@pytest.mark.parametrize("reason", ["", " \n"])
def test_an_approval_needs_a_reason(repository: Path, reason: str) -> None:
    with pytest.raises(ApprovalError, match="needs a reason"):
        approve_one(repository, make_record(), reason=reason)


def test_an_approval_names_somebody(repository: Path) -> None:
    git(repository, "config", "--unset", "user.name")
    with pytest.raises(ApprovalError, match="nobody to name"):
        approve_one(repository, make_record())


def test_a_failed_run_is_refused(tmp_path: Path) -> None:
    failed = FailedRun(
        created="2026-01-01T00:00:00+00:00", case="digits/tiny-quick", error="it broke", revision=None, dirty=None
    )
    path = keep_record(failed, tmp_path)
    for found in (collect(tmp_path), collect(path)):
        with pytest.raises(ApprovalError, match="its newest run failed: it broke"):
            chosen_records(found, ["digits/tiny-quick"])


def test_of_several_cases_those_meant_have_to_be_named(tmp_path: Path) -> None:
    for run in ("a", "b"):
        keep_record(make_record(run=run), tmp_path)
    with pytest.raises(ApprovalError, match="which of 2 cases"):
        chosen_records(collect(tmp_path))
    assert ["digits/b-quick"] == list(chosen_records(collect(tmp_path), ["b-quick"]))


def test_baselines_of_what_is_gone_are_superseded(repository: Path) -> None:
    folder = repository / "baselines"
    run3 = {"run": "run3", "run_digest": digest("run3 as it once was")}
    kept = (make_record(), make_record(workload="own"), make_record(recipe="ci"))  # a run of your own, on digits too
    for record in (*kept, make_record(**run3, recipe="gone"), make_record(**run3)):
        write_baseline(make_baseline(record), folder)
    found = superseded(list_baselines(folder))
    assert {"digits/run3-gone", "digits/run3-quick"} == found.keys()
    (folder / "digits" / ".tiny-quick.json.x.tmp").touch()
    remove_baselines([list_baselines(folder)[case] for case in found], folder)
    assert ["digits/tiny-ci", "digits/tiny-quick", "own/tiny-quick"] == sorted(list_baselines(folder))
    assert ["tiny-ci.json", "tiny-quick.json"] == sorted(path.name for path in (folder / "digits").iterdir())


def test_a_documented_run_with_its_own_sparsities_is_approved(repository: Path) -> None:
    """A full-size record of run3, made from its table alone."""
    import math

    from prunebench.documented.runs import run_digest
    from prunebench.models import build_model, prunable_parameters
    from prunebench.pruning import pruned_count
    from prunebench.records import Layer

    run, model = RUNS["run3"], build_model("vgg")
    dense = {name: parameter.numel() for name, parameter in model.named_parameters()}
    layers = []
    for name, weight in prunable_parameters(model).items():
        kept = weight.numel() - pruned_count(weight.numel(), run.sparsity[name], name=name)
        shape = list(weight.shape)
        layers.append(Layer(name=name, shape=shape, sparsity=run.sparsity[name], nonzeros=kept, macs=math.prod(shape)))
    nonzeros = dense | {layer.name: layer.nonzeros for layer in layers}
    record = make_record(
        run="run3",
        run_digest=run_digest(run),
        layers=layers,
        dense_nonzeros=dense,
        nonzeros=nonzeros,
        elements=sum(dense.values()),
        dense_size_bits=32 * sum(dense.values()),
        pruned_size_bits=32 * sum(nonzeros.values()),
    )
    approve_one(repository, record)
    assert record == standing(repository, "digits/run3-quick").record
    assert dataclasses.is_dataclass(run)
